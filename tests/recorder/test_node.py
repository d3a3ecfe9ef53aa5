"""The recorder from outside: cameras over RTSP in, answers over gRPC and HTTP out."""

import asyncio
import contextlib
import io
import json
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from nvr.errors import AreaNotFound, CameraExists, CameraNotFound, ClipChanged, InvalidArgument, RangeInFuture
from nvr.footage.admin import CameraChanges, CameraSettings
from nvr.footage.channel import dial
from nvr.footage.places import Circle, FindRequest, Found, InArea, LooksAt, Where
from nvr.footage.remote import RemoteCameraAdmin, RemoteFootage
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    ClipRequest,
    End,
    Event,
    Fragment,
    FragmentsRequest,
    Gap,
    LiveUnit,
    Notice,
    OwnerKind,
    Picture,
    PictureFormat,
    PictureOptions,
    Place,
    ReadContext,
    Span,
    StreamState,
    TimeRange,
    View,
)
from nvr.simulate import timecode
from nvr.simulate.server import SimulatedCameras
from tests.recorder.running import SCENE, Node, running, simulated, until, write_settings

CONTEXT = ReadContext(purpose="test")
PICTURE_US = 1_000_000 // SCENE.fps


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture
def cameras(scenes: Path) -> Iterator[SimulatedCameras]:
    with simulated(scenes, "gate", "yard") as playing:
        yield playing


class Reached:
    """A node's two services."""

    def __init__(self, footage: RemoteFootage, admin: RemoteCameraAdmin) -> None:
        self.footage = footage
        self.admin = admin

    async def camera(self, name: str) -> Camera:
        async for step in self.footage.list_cameras(CONTEXT, [name]):
            if isinstance(step, Camera):
                return step
        raise AssertionError(f"no answer about {name}")

    async def recorded(self, name: str, least_us: int) -> TimeRange:
        """Waits until so much footage is on disk; its range."""

        async def look() -> TimeRange | None:
            main = (await self.camera(name)).streams[0]
            enough = main.newest_us - main.oldest_us >= least_us
            return TimeRange(main.oldest_us, main.newest_us) if enough else None

        return await until(look)

    async def state(self, name: str, state: StreamState) -> Camera:
        async def look() -> Camera | None:
            camera = await self.camera(name)
            return camera if camera.streams[0].state is state else None

        return await until(look)

    async def coverage(self, name: str, span: TimeRange) -> list[Span | Gap]:
        steps = [step async for step in self.footage.coverage(CONTEXT, name, "main", span)]
        assert isinstance(steps[-1], End)
        return [step for step in steps if isinstance(step, Span | Gap)]


@asynccontextmanager
async def reach(node: Node) -> AsyncIterator[Reached]:
    channel = dial(node.grpc)
    try:
        yield Reached(RemoteFootage(channel), RemoteCameraAdmin(channel))
    finally:
        await channel.close()


async def test_footage_comes_back_as_it_was_shown(tmp_path: Path, cameras: SimulatedCameras) -> None:
    zero_us = cameras.cameras[0].zero_us
    with running(write_settings(tmp_path, {"gate": cameras.url("gate")})) as node:
        async with reach(node) as net:
            assert (await net.footage.node()).id == node.id
            kept = await net.recorded("gate", 4_000_000)
            camera = await net.state("gate", StreamState.RECORDING)
            assert camera.streams[0].video_codec.startswith("avc1.")
            span = TimeRange(kept.start_us + 500_000, kept.start_us + 3_500_000)
            (recorded,) = await net.coverage("gate", span)
            assert isinstance(recorded, Span)
            assert recorded.range == span

            await check_pictures(net, span, zero_us)
            await check_clip(net, span)
            await check_fragments(net, span)
            await check_live(net)
            with pytest.raises(RangeInFuture):
                await drain(net, ClipRequest("gate", TimeRange(span.start_us, span.end_us + 3_600_000_000)))
            with pytest.raises(CameraNotFound):
                await net.camera("nobody")
            assert (await net.camera("station-1/gate")).id == camera.id
            assert (await net.camera(camera.id)).name == "gate"
        check_metrics(node)
        assert node.stop() == 0
        assert "geheim" not in node.log.read_text()


async def check_pictures(net: Reached, span: TimeRange, zero_us: int) -> None:
    """The instant asked for is the instant shown: by the time in the picture."""
    options = PictureOptions(PictureFormat.RGB24)
    steps = [
        step async for step in net.footage.read_frames(CONTEXT, "gate", "main", span, PICTURE_US, options)
    ]
    assert steps[-1] == End(complete=True)
    pictures = [step for step in steps if isinstance(step, Picture)]
    assert [each.asked_us for each in pictures] == list(range(span.start_us, span.end_us, PICTURE_US))
    for each in pictures:
        assert each.frame_us <= each.asked_us < each.frame_us + 2 * PICTURE_US
        media_us = media_time_us(each)
        loop_us = SCENE.duration_s * 1_000_000
        shown_us = (each.frame_us - zero_us) % loop_us
        # The recorder knows when a picture came, the simulator when it left.
        apart = (shown_us - media_us + loop_us // 2) % loop_us - loop_us // 2
        assert abs(apart) < PICTURE_US
    small = PictureOptions(max_width=160)
    steps = [step async for step in net.footage.read_frames(CONTEXT, "gate", "main", span, 0, small)]
    stored = [step.frame_us for step in steps if isinstance(step, Picture)]
    assert stored == sorted(set(stored))
    assert set(stored) >= {each.frame_us for each in pictures if each.frame_us >= span.start_us}
    assert all(span.start_us <= frame_us < span.end_us for frame_us in stored)
    one = await net.footage.snapshot(CONTEXT, "gate", "main", span.start_us, PictureOptions(max_width=160))
    assert (one.width, one.height, one.data[:2]) == (160, 90, b"\xff\xd8")
    assert one.frame_us == pictures[0].frame_us
    newest = await net.footage.snapshot(CONTEXT, "gate", "main", 0, PictureOptions())
    assert newest.frame_us > pictures[-1].frame_us


def media_time_us(picture: Picture) -> int:
    pixels = np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, 3)
    milliseconds = timecode.read(pixels)
    assert milliseconds is not None
    return milliseconds * 1000


async def drain(net: Reached, request: ClipRequest) -> tuple[ClipHead, bytes]:
    head, data = None, b""
    async for step in net.footage.read_clip(CONTEXT, request):
        if isinstance(step, ClipHead):
            head = step
        elif isinstance(step, ClipData):
            data += step.data
    assert head is not None
    return head, data


def pictures_in(data: bytes) -> int:
    with av.open(io.BytesIO(data), "r") as played:
        return len(list(played.decode(video=0)))


async def check_clip(net: Reached, span: TimeRange) -> None:
    """A playable file of the range, which resumes and keeps its name."""
    head, data = await drain(net, ClipRequest("gate", span))
    (part,) = head.parts
    assert (part.range, len(data), list(head.gaps)) == (span, part.size_bytes, [])
    assert pictures_in(data) >= 29
    _, rest = await drain(net, ClipRequest("gate", span, offset=1000, if_etag=part.etag))
    assert rest == data[1000:]
    with pytest.raises(ClipChanged):
        await drain(net, ClipRequest("gate", span, if_etag="0" * len(part.etag)))
    with pytest.raises(InvalidArgument):
        await drain(net, ClipRequest("gate", span, offset=part.size_bytes + 1))


async def check_fragments(net: Reached, span: TimeRange) -> None:
    """Both ways, in pages, and keyframes only."""

    async def read(request: FragmentsRequest) -> tuple[list[Fragment], End]:
        found, end = [], None
        async for step in net.footage.read_fragments(CONTEXT, request):
            if isinstance(step, Fragment):
                found.append(step)
            elif isinstance(step, End):
                end = step
        assert end is not None
        return found, end

    forward, end = await read(FragmentsRequest("gate", span))
    assert end == End(complete=True)
    assert len(forward) >= 3
    assert all(len(each.data) == each.ref.size_bytes for each in forward)
    played = forward[0].config.init_segment + b"".join(each.data for each in forward)
    assert pictures_in(played) == sum(each.ref.pictures for each in forward)
    backward, _ = await read(FragmentsRequest("gate", span, backward=True, refs_only=True))
    assert [each.ref for each in backward] == [each.ref for each in reversed(forward)]
    for direction in (False, True):
        paged: list[Fragment] = []
        cursor = ""
        while True:
            page, end = await read(
                FragmentsRequest("gate", span, backward=direction, refs_only=True, limit=1, cursor=cursor)
            )
            paged += page
            cursor = end.cursor
            if not cursor:
                break
        assert [each.ref for each in paged] == [each.ref for each in (backward if direction else forward)]
    keys, _ = await read(FragmentsRequest("gate", span, keyframes_only=True))
    assert [each.ref for each in keys] == [each.ref for each in forward if each.ref.random_access]
    assert all(0 < len(each.data) < each.ref.size_bytes for each in keys)
    with pytest.raises(InvalidArgument):
        await read(FragmentsRequest("gate", span, cursor="f1.x.y.z"))


async def check_live(net: Reached) -> None:
    """From a random-access point on, with its configuration first."""
    units: list[LiveUnit] = []
    steps = net.footage.watch_live(CONTEXT, "gate", "main")
    async for step in steps:
        if isinstance(step, LiveUnit):
            units.append(step)
        if len(units) == 12:
            break
    await steps.aclose()  # type: ignore[attr-defined]  # an async generator behind the protocol
    assert units[0].random_access
    assert units[0].config is not None
    assert units[0].config.video_extra_data


def check_metrics(node: Node) -> None:
    with urllib.request.urlopen(f"http://{node.metrics}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    assert 'nvr_stream_up{camera="gate",stream="main"} 1.0' in text
    assert 'nvr_rpc_seconds_count{code="OK",method="nvr.v1.FootageService/ReadClip"}' in text
    writes = next(line for line in text.splitlines() if line.startswith("nvr_segment_write_seconds_count"))
    assert float(writes.split()[1]) > 0
    assert "geheim" not in text
    with urllib.request.urlopen(f"http://{node.metrics}/healthz", timeout=30) as answer:
        assert answer.status == 200


async def is_found_where_it_is_set_up(net: Reached, camera_id: str) -> None:
    """Where it stands, its view and its area are found as soon as the node has told itself of them."""
    place, looks_at = Place(19.9275, 105.8571), Place(19.9278, 105.8571)
    there = CameraChanges(place=place, view=View(0, 60, 80), area="38-381", owner=OwnerKind.STATE, height_m=4)
    await net.admin.update_camera(CONTEXT, "backyard", there)
    for where in (Circle(place, 10), LooksAt(looks_at), InArea("38-381")):
        found: list[Found] = []

        async def is_found(where: Where = where, found: list[Found] = found) -> bool:
            with contextlib.suppress(AreaNotFound):
                answer = net.footage.find(CONTEXT, FindRequest(where))
                found[:] = [step async for step in answer if isinstance(step, Found)]
            return [each.camera.id for each in found] == [camera_id]

        await until(is_found)
        camera = found[0].camera
        assert (camera.view, camera.area, camera.owner) == (there.view, "38-381", OwnerKind.STATE)
        assert camera.height_m == 4
    away = net.footage.find(CONTEXT, FindRequest(LooksAt(Place(19.9272, 105.8571))))
    assert not [step async for step in away if isinstance(step, Found)]


async def test_cameras_change_without_touching_the_others(tmp_path: Path, cameras: SimulatedCameras) -> None:
    with running(write_settings(tmp_path, {"gate": cameras.url("gate")})) as node:
        async with reach(node) as net:
            gate = await net.state("gate", StreamState.RECORDING)
            events = net.footage.watch_events(CONTEXT)

            yard = CameraSettings("yard", cameras.url("yard"))
            dry = await net.admin.add_camera(CONTEXT, yard, dry_run=True)
            assert dry.id == ""
            with pytest.raises(CameraNotFound):
                await net.camera("yard")
            added = await net.admin.add_camera(CONTEXT, yard)
            with pytest.raises(CameraExists):
                await net.admin.add_camera(CONTEXT, yard)
            await net.state("yard", StreamState.RECORDING)
            span = await net.recorded("yard", 1_000_000)

            _, shown = await net.admin.get_camera(CONTEXT, "yard")
            assert shown.main_url == cameras.url("yard").replace("geheim%40strasse", "***")
            same = CameraChanges(name="backyard", main_url=shown.main_url)
            assert (await net.admin.update_camera(CONTEXT, "yard", same)).id == added.id
            await net.state("backyard", StreamState.RECORDING)

            wrong = CameraChanges(main_url=cameras.url("yard").replace("geheim", "falsch"))
            await net.admin.update_camera(CONTEXT, "backyard", wrong)
            waiting = await net.state("backyard", StreamState.WAITING)
            assert waiting.streams[0].reason == "auth_failed"
            off = await net.admin.update_camera(CONTEXT, "backyard", CameraChanges(enabled=False))
            assert (off.streams[0].state, off.streams[0].reason) == (StreamState.DISABLED, "disabled")

            await is_found_where_it_is_set_up(net, added.id)

            assert await net.admin.remove_camera(CONTEXT, "backyard", dry_run=True) == added.id
            assert await net.admin.remove_camera(CONTEXT, "backyard") == added.id
            with pytest.raises(CameraNotFound):
                await net.camera("backyard")
            removed = await net.camera(added.id)
            assert removed.streams[0].reason == "removed"
            (kept, *_) = await net.coverage(added.id, span)
            assert isinstance(kept, Span)
            again = await net.admin.add_camera(CONTEXT, CameraSettings("backyard", cameras.url("yard")))
            assert again.id != added.id

            # The first camera's session was never touched: one run from its start until now.
            first = await net.recorded("gate", 1_000_000)
            (whole,) = await net.coverage("gate", first)
            assert isinstance(whole, Span)
            assert (await net.camera("gate")).id == gate.id
            await events.aclose()  # type: ignore[attr-defined]  # an async generator behind the protocol
        assert node.stop() == 0
        text = node.log.read_text()
        assert "geheim" not in text
        assert "falsch" not in text


async def test_a_stop_in_good_order_loses_nothing(tmp_path: Path, cameras: SimulatedCameras) -> None:
    settings = write_settings(tmp_path, {"gate": cameras.url("gate")})
    with running(settings) as node:
        async with reach(node) as net:
            gate = await net.state("gate", StreamState.RECORDING)
            before = await net.recorded("gate", 2_000_000)
            steps = net.footage.watch_events(CONTEXT)

            async def first_events() -> list[Event | Notice | End]:
                found = []
                async for step in steps:
                    found.append(step)  # noqa: PERF401
                return found

            watching = asyncio.create_task(first_events())
            await asyncio.sleep(0)
            await net.footage.node()
            code = await asyncio.to_thread(node.stop)
            assert code == 0
            assert isinstance((await watching)[-1], End)
    with running(settings) as node:
        async with reach(node) as net:
            kept = (await net.camera("gate")).streams[0]
            assert (await net.camera("gate")).id == gate.id
            assert kept.oldest_us == before.start_us
            assert kept.newest_us >= before.end_us
            await net.state("gate", StreamState.RECORDING)

            async def resumed() -> list[Span | Gap] | None:
                newest = (await net.camera("gate")).streams[0].newest_us
                found = await net.coverage("gate", TimeRange(before.start_us, newest))
                return found if len(found) == 3 else None

            one, gap, two = await until(resumed)
            assert isinstance(gap, Gap)
            assert gap.reason == "recorder_stopped"
            assert isinstance(one, Span)
            assert isinstance(two, Span)
            assert one.run_id != two.run_id
        assert node.stop() == 0


async def test_after_kill_9_everything_complete_is_there(tmp_path: Path, cameras: SimulatedCameras) -> None:
    settings = write_settings(tmp_path, {"gate": cameras.url("gate")})
    with running(settings) as node:
        async with reach(node) as net:
            before = await net.recorded("gate", 3_000_000)
        node.kill()
    with running(settings) as node:
        async with reach(node) as net:
            (span,) = await net.coverage("gate", before)
            assert isinstance(span, Span)
            head, data = await drain(net, ClipRequest("gate", before))
            assert sum(part.size_bytes for part in head.parts) == len(data)
        assert node.stop() == 0


def test_two_nodes_never_share_a_store(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, {})
    with running(settings) as node:
        with pytest.raises(AssertionError, match="another process is using this folder"), running(settings):
            pass
        assert node.stop() == 0


def test_settings_that_are_wrong_start_nothing(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, {"gate": "rtsp://u:geheim@h:0/"})
    with pytest.raises(AssertionError, match=r"camera\[1\]\.main: port 0"), running(settings):
        pass
    assert not (tmp_path / "store").exists()


def test_the_node_imports_only_what_it_needs() -> None:
    code = "import json, sys, nvr.recorder.node; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "av", "rich", "typer"} & set(json.loads(done.stdout))
