"""Interlaced H.264 whose fields are pictures of their own (PAFF): a file has frames.

No encoder here makes such streams, so this one is made bit by bit, of macroblocks that are coded as they are
(I_PCM, ITU-T H.264, 7.3.5): every decoder shows exactly what was put in.
"""

from pathlib import Path

import av
import numpy as np

from nvr import _core
from tests.e2e.media import assert_decodes
from tests.format.conftest import MIDNIGHT_US, SECOND

CAMERA = "0193143f-0000-7000-8000-000000000004"
FRAMES = 40
GROUP = 20
_IDR, _OTHER = 0x65, 0x61


class Bits:
    """A bit string, first one highest."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int) -> "Bits":
        self.bits += f"{value:0{count}b}"
        return self

    def ue(self, value: int) -> "Bits":
        """Exp-Golomb (9.1)."""
        code = f"{value + 1:b}"
        self.bits += "0" * (len(code) - 1) + code
        return self

    def raw(self, data: bytes) -> "Bits":
        """From the next byte on."""
        self.bits += "0" * (-len(self.bits) % 8) + "".join(f"{byte:08b}" for byte in data)
        return self

    def nal(self, head: int) -> bytes:
        """With stop bit and emulation prevention (7.4.1)."""
        bits = self.bits + "1"
        bits += "0" * (-len(bits) % 8)
        out, zeros = bytearray([head]), 0
        for at in range(0, len(bits), 8):
            byte = int(bits[at : at + 8], 2)
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return bytes(out)


def sps() -> bytes:
    """Main profile, 32 × 32, fields, no MBAFF; picture order is decoding order."""
    bits = Bits().u(8, 77).u(8, 0).u(8, 30).ue(0).ue(0).ue(2).ue(1).u(1, 0).ue(1).ue(0)
    return bits.u(1, 0).u(1, 0).u(1, 1).u(1, 0).u(1, 0).nal(0x67)


def pps() -> bytes:
    bits = Bits().ue(0).ue(0).u(1, 0).u(1, 0).ue(0).ue(0).ue(0).u(1, 0).u(2, 0)
    return bits.ue(0).ue(0).ue(0).u(3, 0).nal(0x68)


def field(number: int, *, bottom: bool, luma: int) -> bytes:
    """A field of one brightness, as an access unit."""
    idr = number % GROUP == 0 and not bottom
    bits = Bits().ue(0).ue(7).ue(0).u(4, number % GROUP % 16).u(1, 1).u(1, int(bottom))
    if idr:
        bits.ue(number // GROUP % 2).u(2, 0)
    else:
        bits.u(1, 0)
    # slice_qp_delta
    bits.ue(0)
    for _ in range(2):
        bits.ue(25).raw(bytes([luma]) * 256 + bytes([128]) * 128)
    unit = bits.nal(_IDR if idr else _OTHER)
    return len(unit).to_bytes(4, "big") + unit


def brightness(number: int) -> tuple[int, int]:
    return 40 + 2 * number, 220 - 3 * number


def test_both_fields_are_decoded_as_a_frame(tmp_path: Path) -> None:
    first, second = sps(), pps()
    sized = [len(each).to_bytes(2, "big") + each for each in (first, second)]
    record = b"\x01" + first[1:4] + b"\xff\xe1" + sized[0] + b"\x01" + sized[1]
    store = _core.Store([str(tmp_path / "store")])
    writer = store.writer(CAMERA, "main")
    writer.begin(codec="h264", extra_data=record, width=32, height=32)
    start_us = MIDNIGHT_US + 3 * 3600 * SECOND
    for number in range(FRAMES):
        top, bottom = brightness(number)
        at_us = start_us + number * 40_000
        writer.video(field(number, bottom=False, luma=top), number * 3600, at_us)
        # With a time of its own, as the standard for RTP has it.
        writer.video(field(number, bottom=True, luma=bottom), number * 3600 + 1800, at_us + 20_000)
    writer.end(start_us + FRAMES * 40_000)
    writer.flush()
    (span,), _ = store.coverage(CAMERA, "main", start_us - SECOND, start_us + 60 * SECOND)
    plan = store.clip(CAMERA, "main", span.start_us, span.end_us)
    clip = tmp_path / "clip.mp4"
    plan.parts[0].save(clip)
    store.close()
    (segment,) = (tmp_path / "store").glob(f"{CAMERA}/main/*/*.mp4")
    for path in (segment, clip):
        assert_decodes(path)
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            assert len(packets) == FRAMES
        with av.open(str(path)) as container:
            shown = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert len(shown) == FRAMES
        for number, picture in enumerate(shown):
            top, bottom = (_gray(value) for value in brightness(number))
            # Rows of the two fields lie between one another.
            assert np.abs(picture[0::2].astype(int) - top).max() <= 2
            assert np.abs(picture[1::2].astype(int) - bottom).max() <= 2


def _gray(luma: int) -> int:
    """Full range, as ``gray`` is."""
    return round((luma - 16) * 255 / 219)
