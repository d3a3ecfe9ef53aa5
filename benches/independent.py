"""Cameras that are none of ours: GStreamer's RTSP server plays a file to everybody who asks.

Its payloader makes packets of at most 1,400 bytes and sends each by itself, as cameras do; our own
simulator hands whole pictures to the socket, which is kinder to a reader.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import gstreamer


@contextmanager
def independent_cameras(file: Path, count: int, work: Path) -> Iterator[dict[str, str]]:
    """Addresses by name. One pipeline for all: whoever comes later sees it from where it is."""
    if reason := gstreamer.missing():
        raise FileNotFoundError(reason)
    with gstreamer.serve(file=file, path="/live", options=("--shared",)) as camera:
        yield {f"camera-{number}": camera.url for number in range(count)}
