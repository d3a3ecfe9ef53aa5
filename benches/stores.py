"""Stores that measurements read: written by the recorder's own writer, without waiting for real time."""

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from benches import recipe
from benches.marks import us_of
from nvr._core import Store

CAMERA = "018f3c5e-7b9a-7c11-8d22-000000000001"
DAY_US = 86_400_000_000
# The writer takes what arrives and gives up what a disk cannot; nobody waits for a disk here, so wait.
PICTURES_BETWEEN_FLUSHES = 600


class Written(NamedTuple):
    """A store and what is in it."""

    root: Path
    start_us: int
    end_us: int


def write(root: Path, media: recipe.Media, packets: Iterable[recipe.Packet], start_us: int) -> Written:
    """Writes packets as one run that starts at a wall time."""
    store = Store([str(root)])
    try:
        writer = store.writer(CAMERA, "main")
        writer.begin(codec="h264", extra_data=media.extra_data, width=media.width, height=media.height)
        end_us = start_us
        for number, packet in enumerate(packets, 1):
            end_us = start_us + us_of(packet.pts_90k)
            writer.video(packet.data, packet.pts_90k, end_us)
            if number % PICTURES_BETWEEN_FLUSHES == 0:
                writer.flush()
        writer.end(end_us)
        writer.flush()
    finally:
        store.close()
    return Written(root, start_us, end_us)


def hours_of_footage(work: Path, hours: float) -> Written:
    """A store with the recipe's footage, its newest picture about now."""
    root = work / "store-hours"
    root.mkdir()
    media = recipe.load(recipe.make(work))
    pictures = int(hours * 3600 * recipe.FPS)
    start_us = time.time_ns() // 1000 - int(hours * 3_600_000_000) - 60_000_000
    return write(root, media, itertools.islice(recipe.endless(media), pictures), start_us)


def days_of_keyframes(work: Path, days: int) -> Written:
    """A store with one tiny keyframe every 2 s: as many index records as real footage has."""
    root = work / "store-days"
    root.mkdir()
    media = recipe.load(recipe.make_tiny(work))
    keyframe = media.packets[0]
    packets = (keyframe._replace(pts_90k=number * 180_000) for number in range(days * 43_200))
    start_us = time.time_ns() // 1000 // DAY_US * DAY_US - days * DAY_US
    return write(root, media, packets, start_us)
