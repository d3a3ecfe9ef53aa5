"""What a source's process says to the recorder; ``rust/nvr-ingest/src/source/wire.rs`` reads it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO, Literal

__all__ = ["RecorderGoneError", "Sound", "Writer"]

_HEAD = Struct(">cI")
_PICTURE = Struct(">q")
_SOUND = Struct(">qI")
_MAX_TEXT = 500


class RecorderGoneError(Exception):
    """Nobody reads any more what the process writes."""


@dataclass(frozen=True, slots=True)
class Sound:
    """How sound is coded. ``config``: of AAC its AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)."""

    config: bytes
    sample_rate_hz: int
    channels: int
    codec: Literal["aac", "opus"] = "aac"


class Writer:
    """Writes messages. Blocks while the recorder does not read; raises :exc:`RecorderGoneError`."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output

    def ready(self) -> None:
        """The libraries are loaded."""
        self._write(b"R", b"")

    def begin(self, codec: str, parameter_sets: Sequence[bytes], sound: Sound | None, left_out: str) -> None:
        """Pictures come now. ``left_out``: sound that is offered and not recorded, for people."""
        audio = None
        if sound is not None:
            audio = {
                "codec": sound.codec,
                "extra_data": sound.config.hex(),
                "sample_rate": sound.sample_rate_hz,
                "channels": sound.channels,
            }
        video = self._video(codec, parameter_sets)
        self._json(b"B", {"video": video, "audio": audio, "left_out": left_out[:_MAX_TEXT]})

    def parameters(self, codec: str, parameter_sets: Sequence[bytes]) -> None:
        """The pictures that follow were coded with these."""
        self._json(b"P", self._video(codec, parameter_sets))

    def picture(self, pts_90k: int, units: bytes) -> None:
        """NAL units of one access unit, each after its length in 4 bytes; or a JPEG."""
        self._write(b"V", _PICTURE.pack(pts_90k) + units)

    def sound(self, pts: int, duration: int, frame: bytes) -> None:
        """One raw AAC frame or packet of Opus; times in ticks of the sample rate."""
        self._write(b"A", _SOUND.pack(pts, duration) + frame)

    def end(self, reason: str, detail: str) -> None:
        """It is over, for a gap reason, and in words."""
        self._json(b"E", {"reason": reason, "detail": detail[:_MAX_TEXT]})

    def _video(self, codec: str, parameter_sets: Sequence[bytes]) -> dict[str, object]:
        return {"codec": codec, "parameter_sets": [unit.hex() for unit in parameter_sets]}

    def _json(self, kind: bytes, content: dict[str, object]) -> None:
        self._write(kind, json.dumps(content).encode())

    def _write(self, kind: bytes, content: bytes) -> None:
        try:
            self._output.write(_HEAD.pack(kind, len(content)) + content)
            self._output.flush()
        except OSError as error:
            raise RecorderGoneError from error
