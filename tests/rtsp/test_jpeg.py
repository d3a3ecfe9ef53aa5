"""A camera whose pictures are JPEG: all that a node gives, and what it does not."""

import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from nvr.client._annexb import AnnexB
from nvr.footage.types import (
    Camera,
    Fragment,
    FragmentsRequest,
    LiveUnit,
    Picture,
    PictureOptions,
    ReadContext,
    TimeRange,
)
from nvr.recorder.config import parse_settings
from nvr.recorder.node import RecorderNode
from nvr.rtsp.address import format_clock
from tests.peers.gstreamer import Camera as GstCamera
from tests.peers.gstreamer import gst_camera as gst_camera
from tests.recorder.running import until
from tests.rtsp.running import Background, Out, rtsp_out
from tests.rtsp.station import SECOND, samples
from tests.simulate.rtsp import Client

NAME = "old-gate"


@asynccontextmanager
async def recorder(folder: Path, url: str) -> AsyncIterator[RecorderNode]:
    lines = ["[node]", 'name = "station-1"', f'stores = ["{folder}"]', 'grpc = "127.0.0.1:0"']
    lines += ["[[camera]]", f'name = "{NAME}"', f'main = "{url}"']
    async with RecorderNode(parse_settings("\n".join(lines))) as node:
        yield node


@pytest.fixture
def node(gst_camera: Callable[..., GstCamera], loop: Background, tmp_path: Path) -> RecorderNode:
    return loop.enter(recorder(tmp_path, gst_camera(codec="jpeg").url))


async def _recorded(node: RecorderNode) -> TimeRange:
    async def find() -> TimeRange | None:
        async for step in node.footage.list_cameras(ReadContext(), (NAME,)):
            if (
                isinstance(step, Camera)
                and step.streams[0].newest_us > step.streams[0].oldest_us + 3 * SECOND
            ):
                return TimeRange(step.streams[0].oldest_us, step.streams[0].newest_us)
        return None

    return await until(find)


def _rgb(jpeg: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    with av.open(io.BytesIO(jpeg), "r", format="mjpeg") as container:
        (frame,) = container.decode(video=0)
        return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def test_what_a_node_gives_of_it(node: RecorderNode, loop: Background) -> None:
    async def ask() -> tuple[list[Fragment], list[Picture], Picture, LiveUnit]:
        range_ = await _recorded(node)
        fragments = node.footage.read_fragments(ReadContext(), FragmentsRequest(NAME, range_))
        stored = [step async for step in fragments if isinstance(step, Fragment)]
        frames = node.footage.read_frames(ReadContext(), NAME, "main", range_, SECOND, PictureOptions())
        shown = [step async for step in frames if isinstance(step, Picture)]
        at_us = range_.start_us + SECOND
        snapshot = await node.footage.snapshot(ReadContext(), NAME, "main", at_us, PictureOptions())
        async for step in node.footage.watch_live(ReadContext(), NAME, "main"):
            if isinstance(step, LiveUnit):
                return stored, shown, snapshot, step
        raise AssertionError("nothing came")

    stored, shown, snapshot, live = loop.run(ask())
    assert {fragment.config.video_codec for fragment in stored} == {"mp4v.6C"}
    assert all(fragment.ref.random_access for fragment in stored)
    pictures = [data for fragment in stored for data in samples(fragment.data)]
    assert all(data[:2] == b"\xff\xd8" and data[-2:] == b"\xff\xd9" for data in pictures)
    # The range was taken a moment before its last second was complete.
    assert len(shown) >= 3
    decoded = [_rgb(data) for data in pictures]
    for picture in (*shown, snapshot):
        assert (picture.width, picture.height) == (320, 240)
        # Coded anew, so not the same to the bit.
        found = _rgb(picture.data).astype(int)
        assert min(float(np.abs(each - found).mean()) for each in decoded) < 3
    assert live.random_access
    assert AnnexB().convert(live) == live.data
    assert _rgb(live.data).shape == (240, 320, 3)


def test_it_is_refused_over_rtsp(node: RecorderNode, loop: Background) -> None:
    out: Out = loop.enter(rtsp_out(node.footage))
    range_ = loop.run(_recorded(node))
    past = f"main/clock={format_clock(range_.start_us)}-{format_clock(range_.end_us)}"
    with Client(out.port) as client:
        for rest in ("main", past):
            assert client.request("DESCRIBE", out.url(NAME, rest)).status == 415
        # The connection serves other cameras still.
        assert client.request("DESCRIBE", out.url("nobody")).status == 404
