"""A node's uplink: whether it stands, what went over it, and what waits."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

__all__ = ["UplinkMetrics", "UplinkState"]

_PRIORITY = ("priority",)


@dataclass(frozen=True, slots=True)
class UplinkState:
    """An uplink now; the keys are classes: control, live, clips, bulk."""

    up: bool
    connects: int
    sent_bytes: Mapping[str, int]
    queued_bytes: Mapping[str, int]
    cap_bits_per_s: int | None
    rate_bits_per_s: float


class UplinkMetrics(Collector):
    """``state``: of the node's uplink; None where it has none, and then there are no metrics."""

    def __init__(self, state: Callable[[], UplinkState | None]) -> None:
        self._state = state

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known without asking."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them, read now."""
        state = self._state()
        if state is None:
            return
        yield GaugeMetricFamily(
            "nvr_uplink_up", "1 while the connection to the node above stands, else 0.", state.up
        )
        yield CounterMetricFamily(
            "nvr_uplink_connects",
            "Connections made to the node above since the node started.",
            state.connects,
        )
        sent = CounterMetricFamily(
            "nvr_uplink_sent_bytes", "Answers sent to the node above, by class.", labels=_PRIORITY
        )
        queued = GaugeMetricFamily(
            "nvr_uplink_queued_bytes", "Answers that wait to be sent, by class.", labels=_PRIORITY
        )
        for priority, count in state.sent_bytes.items():
            sent.add_metric([priority], count)
        for priority, count in state.queued_bytes.items():
            queued.add_metric([priority], count)
        yield from (sent, queued)
        if state.cap_bits_per_s is not None:
            yield GaugeMetricFamily(
                "nvr_uplink_cap_bytes_per_second",
                "The cap of this hour; absent without.",
                state.cap_bits_per_s / 8,
            )
        if state.rate_bits_per_s:
            yield GaugeMetricFamily(
                "nvr_uplink_rate_bytes_per_second",
                "What the line carried lately when there was enough to carry; absent before that.",
                state.rate_bits_per_s / 8,
            )
