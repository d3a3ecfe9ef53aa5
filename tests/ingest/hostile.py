"""What hostile cameras send: scripts for tests of a session, and of a whole recorder."""

import random
import threading
import time
from collections.abc import Iterator

from tests.ingest.scripted import H265_IDR, IDR, PPS, SLICE, SPS, Media, Rtp

FPS = 10


def steady(keyframes: int = FPS) -> Iterator[bytes]:
    """Pictures as they should be; every so many a keyframe, none for 0."""
    rtp, number = Rtp(), 0
    while True:
        keyframe = keyframes and number % keyframes == 0
        yield rtp.picture([SPS, PPS, IDR] if keyframe else [SLICE], number * 90_000 // FPS)
        number += 1
        time.sleep(1 / FPS)


def bits(*values: tuple[int, int] | int) -> bytes:
    """Numbers of so many bits, or alone as Exp-Golomb codes (H.264, 9.1); then the stop bit."""
    text = ""
    for value in values:
        if isinstance(value, tuple):
            text += f"{value[0]:0{value[1]}b}"
        else:
            code = f"{value + 1:b}"
            text += "0" * (len(code) - 1) + code
    text += "1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def escaped(payload: bytes) -> bytes:
    """With emulation prevention bytes (H.264, 7.4.1)."""
    out = bytearray()
    for byte in payload:
        if out[-2:] == b"\x00\x00" and byte <= 3:
            out.append(3)
        out.append(byte)
    return bytes(out)


def sps_of(width: int, height: int, *, by_pixels: bool = False) -> bytes:
    """Of Baseline, whose pictures are cropped by two pixels; or of High 4:4:4 Predictive, by one."""
    across, down, unit = -(-width // 16), -(-height // 16), 1 if by_pixels else 2
    # Profile, constraints, level 6.2, id; 4:4:4 in one plane, 8 bits, no bypass, no matrices.
    head = ((244, 8), (0, 8), (62, 8), 0, 3, (0, 1), 0, 0, (0, 1), (0, 1))
    rbsp = bits(
        *(head if by_pixels else ((66, 8), (0xC0, 8), (62, 8), 0)),
        *(0, 2, 1, (0, 1)),  # frame numbers, order of pictures, one reference, no gaps
        *(across - 1, down - 1, (1, 1), (1, 1)),
        *((1, 1), 0, (across * 16 - width) // unit, 0, (down * 16 - height) // unit),
        (0, 1),
    )
    return b"\x67" + escaped(rbsp)


def h265_sps_of(sps: bytes, width: int, height: int) -> bytes:
    """An SPS of H.265 with another size (7.3.2.2): all before and behind it stays."""
    # Two bytes are the unit's header; then come an id and layers (8 bits), the profile (96 bits).
    text = "".join(f"{byte:08b}" for byte in sps[2:].replace(b"\x00\x00\x03", b"\x00\x00"))
    at = start = 104
    for number in range(4):
        if number == 2:
            start = at
        zeros = text.index("1", at) - at
        at += 2 * zeros + 1
    size = "".join("0" * (len(code) - 1) + code for code in (f"{width + 1:b}", f"{height + 1:b}"))
    text = (text[:start] + size + text[at:]).rstrip("0")
    text += "0" * (-len(text) % 8)
    return sps[:2] + escaped(int(text, 2).to_bytes(len(text) // 8, "big"))


def keyframes(*parameter_sets: bytes, slices: int = 0) -> Media:
    """Keyframes, each with its parameter sets, and so many other pictures (of H.264) behind each."""
    keyframe = IDR if len(parameter_sets) == 2 else H265_IDR

    def media() -> Iterator[bytes]:
        rtp, number = Rtp(), 0
        while True:
            first = number % (1 + slices) == 0
            yield rtp.picture([*parameter_sets, keyframe] if first else [SLICE], number * 90_000 // FPS)
            number += 1
            time.sleep(1 / FPS)

    return media


def garbage() -> Iterator[bytes]:
    made = random.Random(1)
    while True:
        yield made.randbytes(10_000)


def garbage_in_packets() -> Iterator[bytes]:
    made, rtp = random.Random(2), Rtp()
    while True:
        # Types of NAL units that no packet has.
        yield rtp.packet(made.choice(b"\x00\x1e\x1f").to_bytes() + made.randbytes(50), 0, marker=True)


def changing_parameters(quiet: threading.Event) -> Media:
    """Another level with each picture, 100 a second, until it is quiet."""

    def media() -> Iterator[bytes]:
        rtp, number = Rtp(), 0
        while True:
            changed = SPS[:3] + bytes([0x0B + (0 if quiet.is_set() else number % 2)]) + SPS[4:]
            yield rtp.picture([changed, PPS, IDR], number * 900)
            number += 1
            time.sleep(0.01)

    return media


def stalling(pictures: int, end: threading.Event) -> Media:
    """In its first session so many pictures, and nothing more; the connection stays. Then as it should be.

    ``end``: of the test.
    """
    sessions = 0

    def media() -> Iterator[bytes]:
        nonlocal sessions
        sessions += 1
        if sessions > 1:
            yield from steady()
        for sent, _ in zip(steady(), range(pictures), strict=False):
            yield sent
        end.wait()

    return media


class ClockedCamera:
    """Pictures as they should be, each keyframe with a sender report by a clock that the test sets."""

    def __init__(self) -> None:
        self.offset_us: int | None = 0
        """Its clock minus the right one; None: it sends no reports."""
        self.hang_up = False
        """Once: the session ends."""
        self.sent_us: list[int] = []
        """When each keyframe was sent."""

    def media(self) -> Iterator[bytes]:
        """Of one session."""
        for number, sent in enumerate(steady()):
            now_us = time.time_ns() // 1000
            if number % FPS == 0:
                self.sent_us.append(now_us)
            yield sent
            if number % FPS == 0 and self.offset_us is not None:
                yield Rtp().sender_report(number * 90_000 // FPS, now_us + self.offset_us)
            if self.hang_up:
                self.hang_up = False
                return


def nonsense() -> Iterator[bytes]:
    """Pictures as they should be, and after each a packet that makes no sense."""
    rtp, number = Rtp(), 0
    while True:
        keyframe = number % FPS == 0
        yield rtp.picture([SPS, PPS, IDR] if keyframe else [SLICE], number * 90_000 // FPS)
        # The reserved type 30.
        yield rtp.packet(b"\x7e\x01\x02", number * 90_000 // FPS + 1, marker=True)
        number += 1
        time.sleep(1 / FPS)


def endless_picture() -> Iterator[bytes]:
    """A keyframe, and then slices of one picture, for ever."""
    rtp = Rtp()
    yield rtp.picture([SPS, PPS, IDR], 0)
    while True:
        yield rtp.packet(SLICE[:2] + b"\x11" * 60_000, 9000, marker=False)
        time.sleep(0.001)
