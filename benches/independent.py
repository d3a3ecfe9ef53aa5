"""Cameras that are none of ours: GStreamer's RTSP server plays a file, over and over, as many cameras.

Its payloader makes packets of at most 1,400 bytes and sends each by itself, as cameras do; our own
simulator hands whole pictures to the socket, which is kinder to a reader. Each camera is a pipeline
of its own, so that pictures of different cameras come at different instants.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import gstreamer


@contextmanager
def independent_cameras(file: Path, count: int) -> Iterator[dict[str, str]]:
    """Addresses by name."""
    if reason := gstreamer.missing():
        raise FileNotFoundError(reason)
    # One pipeline for an address: those who ask for the same one share it (by turns, in a bench).
    with gstreamer.serve(path="/live", options=("--shared", f"--loop={file}")) as server:
        yield {f"camera-{number}": f"{server.url}?camera={number}" for number in range(count)}
