"""Playing what is not live at its own pace."""

__all__ = ["Pacer"]

_STEP_S = 5.0
"""Media time that goes back, or on by more, has nothing to do with what came before."""
_MAX_LEAD_S = 10.0
"""What is so far ahead of time is not live, whatever it says."""
_CATCH_UP = 0.002
"""How much faster than time it is played: what waits in buffers gets less, also when the sender's
clock is slow (2,000 ppm; quartz is within 100)."""


class Pacer:
    """Says how long to hold a picture back.

    A live source is let through as it comes, until it shows that it is none. Of a
    recorded one, and of HLS, which brings seconds at once, each picture waits until as
    much time has passed as lies between it and the first. What comes late puts the
    pictures after it off by as much.
    """

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._anchor_s: float | None = None
        self._last_s = 0.0

    def hold(self, media_s: float, now_s: float) -> float:
        """Seconds until a picture is due. ``media_s``: its decoding time; ``now_s``: monotonic."""
        step = media_s - self._last_s
        self._last_s = media_s
        if self._anchor_s is None or not -1.0 <= step <= _STEP_S:
            self._anchor_s = now_s - media_s
            return 0.0
        lead = self._anchor_s + media_s - now_s
        if lead <= 0.0:
            self._anchor_s = now_s - media_s
            return 0.0
        if self._live:
            if lead > _MAX_LEAD_S:
                # From here on: to make up for the lead at once would be a stall.
                self._live = False
                self._anchor_s = now_s - media_s
            return 0.0
        self._anchor_s -= max(0.0, step) * _CATCH_UP
        return lead
