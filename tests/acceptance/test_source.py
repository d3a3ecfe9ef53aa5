"""What every source of footage does, however it is reached."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, TypeVar

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvr.errors import (
    CameraNotFound,
    ClipChanged,
    InvalidArgument,
    NoFootage,
    RangeInFuture,
)
from nvr.footage.places import FindRequest, Named, NextCamerasRequest
from nvr.footage.source import FootageSource
from nvr.footage.types import (
    ClipData,
    ClipHead,
    ClipRequest,
    End,
    FragmentsRequest,
    Gap,
    Notice,
    PictureFormat,
    PictureOptions,
    ReadContext,
    Span,
    TimeRange,
)
from nvr.simulate import timecode
from tests.acceptance.world import SECOND, RecordedCamera, World

T = TypeVar("T")
CONTEXT = ReadContext(purpose="acceptance", case_number="7/2024", request_id="suite-1")
# The examples of one test share its source, on purpose: starting one for each is too slow.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)


async def collect(answer: AsyncIterator[T | Notice | End]) -> tuple[list[T], list[Notice], End]:
    """All of an answer; fails unless it ends with exactly one End."""
    items: list[T] = []
    notices: list[Notice] = []
    end: End | None = None
    async for step in answer:
        assert end is None, "something after End"
        if isinstance(step, End):
            end = step
        elif isinstance(step, Notice):
            notices.append(step)
        else:
            items.append(step)
    assert end is not None, "no End"
    return items, notices, end


async def items_of(answer: AsyncIterator[T | Notice | End]) -> list[T]:
    """The items of an answer that is whole and has nothing to warn of."""
    items, notices, end = await collect(answer)
    assert notices == []
    assert end == End(complete=True)
    return items


async def read_parts(source: FootageSource, request: ClipRequest) -> tuple[ClipHead, dict[int, bytes]]:
    """The head, and the bytes by part, which must come in order and contiguous."""
    head, *rest = await items_of(source.read_clip(CONTEXT, request))
    assert isinstance(head, ClipHead)
    parts: dict[int, bytearray] = {}
    at = (request.part, request.offset)
    for step in rest:
        assert isinstance(step, ClipData)
        if step.part != at[0]:
            assert len(parts[at[0]]) + (request.offset if at[0] == request.part else 0) == at[1]
            at = (at[0] + 1, 0)
        assert (step.part, step.offset) == at
        parts.setdefault(step.part, bytearray()).extend(step.data)
        at = (step.part, step.offset + len(step.data))
    return head, {part: bytes(data) for part, data in parts.items()}


def media_ms(frame: av.VideoFrame) -> int | None:
    """The media time that a decoded picture shows."""
    return timecode.read(frame.to_ndarray(format="rgb24").astype(np.uint8))


def instants(camera: RecordedCamera) -> st.SearchStrategy[int]:
    """Around everything that the camera recorded, edges more often than chance would."""
    edges = [edge for run in camera.runs for edge in (run.start_us, run.end_us)]
    near = st.builds(lambda edge, off: edge + off, st.sampled_from(edges), st.integers(-2, 2))
    return near | st.integers(camera.start_us - 5 * SECOND, camera.end_us + 5 * SECOND)


def answers_as(world: World) -> tuple[str, ...]:
    """Who may answer: the node that has the footage, or one above it."""
    return world.node, "district", "province"


async def test_node_says_who_it_is(source: FootageSource, world: World) -> None:
    node = await source.node()
    assert node.name in answers_as(world)
    assert len(bytes.fromhex(node.id)) == 32
    assert node.version


async def test_cameras_are_listed_by_name(source: FootageSource, world: World) -> None:
    cameras = await items_of(source.list_cameras(CONTEXT))
    assert [(camera.id, camera.name) for camera in cameras] == [(c.id, c.name) for c in world.cameras]
    assert all(camera.node == world.node for camera in cameras)
    for camera, recorded in zip(cameras, world.cameras, strict=True):
        main = camera.streams[0]
        assert main.kind == "main"
        assert (main.oldest_us, main.newest_us) == (recorded.start_us, recorded.end_us)


async def test_cameras_are_found_by_id_name_and_full_name(source: FootageSource, world: World) -> None:
    for name in (world.yard.id, world.yard.name, f"{world.node}/{world.yard.name}"):
        cameras = await items_of(source.list_cameras(CONTEXT, [name]))
        assert [camera.id for camera in cameras] == [world.yard.id]


async def test_unknown_camera_is_not_found_by_any_read(source: FootageSource, world: World) -> None:
    span, options = world.gate.whole, PictureOptions()
    streams: list[AsyncIterator[Any]] = [
        source.list_cameras(CONTEXT, ["nobody"]),
        source.coverage(CONTEXT, "nobody", "main", span),
        source.read_fragments(CONTEXT, FragmentsRequest("nobody", span)),
        source.read_clip(CONTEXT, ClipRequest("nobody", span)),
        source.read_frames(CONTEXT, "nobody", "main", span, SECOND, options),
        source.watch_live(CONTEXT, "nobody", "main"),
    ]
    for answer in streams:
        with pytest.raises(CameraNotFound, match="nobody"):
            await collect(answer)
    with pytest.raises(CameraNotFound, match="nobody"):
        await source.locate(CONTEXT, "nobody", "main", span.start_us)
    with pytest.raises(CameraNotFound, match="nobody"):
        await source.snapshot(CONTEXT, "nobody", "main", span.start_us, options)


@SHARED
@given(data=st.data())
async def test_coverage_fills_the_range_exactly(
    source: FootageSource, world: World, data: st.DataObject
) -> None:
    camera = data.draw(st.sampled_from(world.cameras))
    bounds = st.lists(instants(camera), min_size=2, max_size=2, unique=True).map(sorted)
    start_us, end_us = data.draw(bounds)
    items: list[Span | Gap] = await items_of(
        source.coverage(CONTEXT, camera.name, "main", TimeRange(start_us, end_us))
    )
    at_us = start_us
    for item in items:
        assert item.range.start_us == at_us
        assert item.range.end_us > at_us
        at_us = item.range.end_us
    assert at_us == end_us
    spans = [(item.range.start_us, item.range.end_us) for item in items if isinstance(item, Span)]
    truth = [(max(run.start_us, start_us), min(run.end_us, end_us)) for run in camera.runs]
    assert spans == [(start, end) for start, end in truth if start < end]


async def test_coverage_says_why_nothing_is_recorded(source: FootageSource, world: World) -> None:
    gate = world.gate
    around = TimeRange(gate.start_us - SECOND, gate.end_us + SECOND)
    items = await items_of(source.coverage(CONTEXT, gate.id, "main", around))
    assert [type(item) for item in items] == [Gap, Span, Gap, Span, Gap]
    before, first, between, second, after = items
    assert isinstance(before, Gap)
    assert before.reason == "not_recorded"
    assert isinstance(between, Gap)
    assert between.reason == gate.gap_reason
    assert isinstance(after, Gap)
    assert isinstance(first, Span)
    assert isinstance(second, Span)
    assert first.run_id != second.run_id
    assert first.node == world.node


async def test_a_stream_without_footage_is_one_gap(source: FootageSource, world: World) -> None:
    items: list[Span | Gap] = await items_of(
        source.coverage(CONTEXT, world.yard.name, "sub", world.yard.whole)
    )
    assert [(type(item), item.range) for item in items] == [(Gap, world.yard.whole)]


@SHARED
@given(data=st.data())
async def test_locate_gives_the_fragment_that_shows_the_instant(
    source: FootageSource, world: World, data: st.DataObject
) -> None:
    camera = data.draw(st.sampled_from(world.cameras))
    at_us = data.draw(instants(camera))
    run = camera.run_at(at_us)
    if run is None:
        with pytest.raises(NoFootage):
            await source.locate(CONTEXT, camera.name, "main", at_us)
        return
    found = await source.locate(CONTEXT, camera.name, "main", at_us)
    assert found.camera_id == camera.id
    assert found.stream == "main"
    assert found.start_us <= at_us < found.start_us + found.duration_us
    assert run.start_us <= found.start_us
    assert found.start_us + found.duration_us <= run.end_us


@SHARED
@given(data=st.data())
async def test_locate_next_and_previous_in_a_gap(
    source: FootageSource, world: World, data: st.DataObject
) -> None:
    camera = data.draw(st.sampled_from(world.cameras))
    at_us = data.draw(instants(camera).filter(lambda instant: camera.run_at(instant) is None))
    later = [run for run in camera.runs if run.start_us > at_us]
    earlier = [run for run in camera.runs if run.end_us <= at_us]
    if later:
        found = await source.locate(CONTEXT, camera.name, "main", at_us, "next")
        assert found.start_us == later[0].start_us
        assert found.sequence == 0
    else:
        with pytest.raises(NoFootage):
            await source.locate(CONTEXT, camera.name, "main", at_us, "next")
    if earlier:
        found = await source.locate(CONTEXT, camera.name, "main", at_us, "previous")
        assert found.start_us + found.duration_us == earlier[-1].end_us
    else:
        with pytest.raises(NoFootage):
            await source.locate(CONTEXT, camera.name, "main", at_us, "previous")


async def test_fragments_cover_the_runs_in_order(source: FootageSource, world: World) -> None:
    gate = world.gate
    fragments = await items_of(source.read_fragments(CONTEXT, FragmentsRequest(gate.name, gate.whole)))
    by_run: dict[str, list[Any]] = {}
    for fragment in fragments:
        by_run.setdefault(fragment.ref.run_id, []).append(fragment)
    assert len(by_run) == len(gate.runs)
    for run, found in zip(gate.runs, by_run.values(), strict=True):
        assert [fragment.ref.sequence for fragment in found] == list(range(len(found)))
        at_us = run.start_us
        for fragment in found:
            assert fragment.ref.start_us == at_us
            at_us += fragment.ref.duration_us
        assert at_us == run.end_us
        assert sum(fragment.ref.pictures for fragment in found) == len(run.frames_us)
    for fragment in fragments:
        assert fragment.ref.camera_id == gate.id
        assert fragment.node == world.node
        assert len(fragment.data) == fragment.ref.size_bytes > 0
        assert fragment.config.init_segment
        assert fragment.config.width > 0


async def test_fragments_backward_are_the_same_the_other_way(source: FootageSource, world: World) -> None:
    whole = world.gate.whole
    forward = await items_of(source.read_fragments(CONTEXT, FragmentsRequest(world.gate.name, whole)))
    backward = await items_of(
        source.read_fragments(CONTEXT, FragmentsRequest(world.gate.name, whole, backward=True))
    )
    assert list(reversed(backward)) == forward


@pytest.mark.parametrize("backward", [False, True])
async def test_fragments_page_by_page(source: FootageSource, world: World, backward: bool) -> None:
    whole = world.gate.whole
    request = FragmentsRequest(world.gate.name, whole, backward=backward, refs_only=True)
    expected = [fragment.ref for fragment in await items_of(source.read_fragments(CONTEXT, request))]
    found, cursor, pages = [], "", 0
    while True:
        page = FragmentsRequest(
            world.gate.name, whole, backward=backward, refs_only=True, limit=4, cursor=cursor
        )
        items, notices, end = await collect(source.read_fragments(CONTEXT, page))
        assert notices == []
        assert end.complete
        assert len(items) <= 4
        found += [fragment.ref for fragment in items]
        pages += 1
        if not end.cursor:
            break
        cursor = end.cursor
    assert found == expected
    assert pages == -(-len(expected) // 4)


async def test_a_cursor_of_nobody_is_refused(source: FootageSource, world: World) -> None:
    request = FragmentsRequest(world.gate.name, world.gate.whole, cursor="not-a-cursor")
    with pytest.raises(InvalidArgument) as caught:
        await collect(source.read_fragments(CONTEXT, request))
    assert caught.value.field == "cursor"


async def test_references_come_without_bytes(source: FootageSource, world: World) -> None:
    request = FragmentsRequest(world.yard.name, world.yard.whole, refs_only=True)
    fragments = await items_of(source.read_fragments(CONTEXT, request))
    assert fragments
    assert all(fragment.data == b"" and fragment.ref.size_bytes > 0 for fragment in fragments)


async def test_keyframes_come_alone(source: FootageSource, world: World) -> None:
    request = FragmentsRequest(world.yard.name, world.yard.whole, keyframes_only=True)
    fragments = await items_of(source.read_fragments(CONTEXT, request))
    assert fragments
    for fragment in fragments:
        assert fragment.ref.random_access
        assert 0 < len(fragment.data) < fragment.ref.size_bytes


async def test_fragments_of_an_instant(source: FootageSource, world: World) -> None:
    at_us = world.yard.start_us + 3 * SECOND + 1
    located = await source.locate(CONTEXT, world.yard.name, "main", at_us)
    request = FragmentsRequest(world.yard.name, TimeRange(at_us, at_us + 1))
    assert [f.ref for f in await items_of(source.read_fragments(CONTEXT, request))] == [located]


async def test_clip_is_whole_and_says_what_it_consists_of(source: FootageSource, world: World) -> None:
    gate = world.gate
    asked = TimeRange(gate.start_us + SECOND, gate.end_us - SECOND)
    head, parts = await read_parts(source, ClipRequest(gate.name, asked))
    assert [part.index for part in head.parts] == list(range(len(head.parts)))
    assert {part.index: part.size_bytes for part in head.parts} == {n: len(data) for n, data in parts.items()}
    assert head.parts[0].range.start_us == asked.start_us
    assert head.parts[-1].range.end_us == asked.end_us
    for part in head.parts:
        assert part.node == world.node
        assert part.disclosed.start_us <= part.range.start_us
        assert part.disclosed.end_us >= part.range.end_us
        assert part.etag
    first, second = gate.runs
    assert [(gap.range, gap.reason) for gap in head.gaps] == [
        (TimeRange(first.end_us, second.start_us), gate.gap_reason)
    ]


async def test_clip_is_the_same_each_time(source: FootageSource, world: World) -> None:
    request = ClipRequest(world.yard.name, world.yard.whole)
    assert await read_parts(source, request) == await read_parts(source, request)


@SHARED
@given(data=st.data())
async def test_clip_resumes_at_any_byte(source: FootageSource, world: World, data: st.DataObject) -> None:
    span = world.yard.whole
    head, parts = await read_parts(source, ClipRequest(world.yard.name, span))
    part = data.draw(st.sampled_from(head.parts))
    edges = st.sampled_from([0, 1, (1 << 20) - 1, 1 << 20, part.size_bytes - 1, part.size_bytes])
    offset = data.draw((edges | st.integers(0, part.size_bytes)).filter(lambda n: n <= part.size_bytes))
    request = ClipRequest(world.yard.name, span, part=part.index, offset=offset, if_etag=part.etag)
    again, rest = await read_parts(source, request)
    assert again == head
    assert rest.get(part.index, b"") == parts[part.index][offset:]
    assert {n: b for n, b in rest.items() if n > part.index} == {
        n: b for n, b in parts.items() if n > part.index
    }


async def test_clip_that_is_another_is_not_resumed(source: FootageSource, world: World) -> None:
    request = ClipRequest(world.yard.name, world.yard.whole, offset=10, if_etag="0123456789abcdef")
    with pytest.raises(ClipChanged):
        await collect(source.read_clip(CONTEXT, request))


async def test_clip_beyond_its_end_is_refused(source: FootageSource, world: World) -> None:
    head, _ = await read_parts(source, ClipRequest(world.yard.name, world.yard.whole, head_only=True))
    for bad in (
        ClipRequest(world.yard.name, world.yard.whole, offset=head.parts[0].size_bytes + 1),
        ClipRequest(world.yard.name, world.yard.whole, part=len(head.parts)),
    ):
        with pytest.raises(InvalidArgument):
            await collect(source.read_clip(CONTEXT, bad))


async def test_head_comes_alone_when_asked_for(source: FootageSource, world: World) -> None:
    request = ClipRequest(world.gate.name, world.gate.whole, head_only=True)
    head, parts = await read_parts(source, request)
    assert parts == {}
    assert (head, {}) == ((await read_parts(source, ClipRequest(world.gate.name, world.gate.whole)))[0], {})


async def test_clip_of_the_future_is_refused(source: FootageSource, world: World) -> None:
    tomorrow = (await source.node()).now_us + 86_400 * SECOND
    with pytest.raises(RangeInFuture):
        await collect(
            source.read_clip(CONTEXT, ClipRequest(world.gate.name, TimeRange(world.gate.start_us, tomorrow)))
        )


async def test_clip_of_a_gap_says_why_it_has_no_parts(source: FootageSource, world: World) -> None:
    first, second = world.gate.runs
    between = TimeRange(first.end_us, second.start_us)
    head, parts = await read_parts(source, ClipRequest(world.gate.name, between))
    assert (list(head.parts), parts) == ([], {})
    assert [(gap.range, gap.reason) for gap in head.gaps] == [(between, world.gate.gap_reason)]


async def test_clip_plays_the_instants_asked_for(source: FootageSource, world: World) -> None:
    for camera in world.cameras if world.pictures_decode else ():
        run = camera.runs[0]
        # Neither point is at a random-access point.
        asked = TimeRange(run.start_us + 3 * SECOND + 400_000, run.start_us + 9 * SECOND + 200_000)
        head, parts = await read_parts(source, ClipRequest(camera.name, asked))
        assert len(head.parts) == 1
        with av.open(io.BytesIO(parts[0]), "r") as container:
            shown = [
                (round((frame.time or 0) * 1000), media_ms(frame)) for frame in container.decode(video=0)
            ]
        frames = [start for start in run.frames_us if asked.start_us <= start < asked.end_us]
        assert shown == [
            ((start - asked.start_us) // 1000, (start - run.start_us) // 1000) for start in frames
        ]


@pytest.mark.parametrize("interval_us", [SECOND, 1_700_000, 333_333])
async def test_frames_are_those_shown_at_each_instant(
    source: FootageSource, world: World, interval_us: int
) -> None:
    gate = world.gate
    span = TimeRange(gate.start_us - 500_000, gate.end_us + 500_000)
    pictures = await items_of(
        source.read_frames(CONTEXT, gate.name, "main", span, interval_us, PictureOptions())
    )
    expected = [
        (at_us, gate.frame_at(at_us))
        for at_us in range(span.start_us, span.end_us, interval_us)
        if gate.frame_at(at_us) is not None
    ]
    assert [(picture.asked_us, picture.frame_us) for picture in pictures] == expected
    assert all(picture.format is PictureFormat.JPEG and picture.data for picture in pictures)


async def test_every_picture_first_shown_in_the_range_comes_once(source: FootageSource, world: World) -> None:
    span = TimeRange(world.yard.start_us + 1, world.yard.start_us + 2 * SECOND + 1)
    pictures = await items_of(
        source.read_frames(CONTEXT, world.yard.name, "main", span, 0, PictureOptions(max_width=160))
    )
    frames = world.yard.runs[0].frames_us
    assert [picture.frame_us for picture in pictures] == [
        start for start in frames if span.start_us <= start < span.end_us
    ]


async def test_raw_frames_have_all_their_pixels(source: FootageSource, world: World) -> None:
    span = TimeRange(world.yard.start_us, world.yard.start_us + SECOND)
    options = PictureOptions(format=PictureFormat.RGB24)
    (picture,) = await items_of(source.read_frames(CONTEXT, world.yard.name, "main", span, SECOND, options))
    assert picture.format is PictureFormat.RGB24
    assert len(picture.data) == picture.width * picture.height * 3


async def test_the_picture_is_of_the_instant_asked_for(source: FootageSource, world: World) -> None:
    options = PictureOptions(format=PictureFormat.RGB24)
    for camera in world.cameras if world.pictures_decode else ():
        pictures = await items_of(
            source.read_frames(CONTEXT, camera.name, "main", camera.whole, 730_000, options)
        )
        assert pictures
        for picture in pictures:
            run = camera.run_at(picture.frame_us)
            assert run is not None
            rows = np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, 3)
            assert timecode.read(rows) == (picture.frame_us - run.start_us) // 1000


async def test_snapshot_shows_the_instant(source: FootageSource, world: World) -> None:
    at_us = world.yard.start_us + 5 * SECOND + 12_345
    picture = await source.snapshot(CONTEXT, world.yard.name, "main", at_us, PictureOptions())
    assert (picture.asked_us, picture.frame_us) == (at_us, world.yard.frame_at(at_us))
    assert picture.format is PictureFormat.JPEG


async def test_snapshot_without_an_instant_is_the_newest(source: FootageSource, world: World) -> None:
    picture = await source.snapshot(CONTEXT, world.yard.name, "main", 0, PictureOptions())
    assert picture.frame_us == world.yard.runs[-1].frames_us[-1]


async def test_snapshot_in_a_gap_is_no_footage(source: FootageSource, world: World) -> None:
    with pytest.raises(NoFootage):
        await source.snapshot(CONTEXT, world.gate.name, "main", world.gate.runs[0].end_us, PictureOptions())


async def test_left_early_a_stream_does_no_harm(source: FootageSource, world: World) -> None:
    request = ClipRequest(world.gate.name, world.gate.whole)
    answer = source.read_clip(CONTEXT, request)
    assert isinstance(await anext(answer), ClipHead)
    close = getattr(answer, "aclose", None)
    assert close is not None
    await close()
    head, parts = await read_parts(source, request)
    assert sum(len(data) for data in parts.values()) == sum(part.size_bytes for part in head.parts)


async def test_a_cancelled_read_ends(source: FootageSource, world: World) -> None:
    began = asyncio.Event()

    async def read_slowly() -> None:
        async for _ in source.read_fragments(CONTEXT, FragmentsRequest(world.gate.name, world.gate.whole)):
            began.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(read_slowly())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await source.node()).name in answers_as(world)


async def test_find_gives_cameras_with_what_they_have(source: FootageSource, world: World) -> None:
    span = TimeRange(world.gate.start_us - SECOND, world.gate.end_us + SECOND)
    found = await items_of(source.find(CONTEXT, FindRequest(range=span)))
    assert [each.camera.id for each in found] == [camera.id for camera in world.cameras]
    for each, camera in zip(found, world.cameras, strict=True):
        covered = await items_of(source.coverage(CONTEXT, camera.id, "main", span))
        assert list(each.coverage) == covered
        assert each.camera.node == world.node
        assert each.source == ""
    by_source = await items_of(source.find(CONTEXT, FindRequest(range=span, by_source=True)))
    assert [(each.camera.id, each.source) for each in by_source] == [
        (camera.id, world.node) for camera in world.cameras
    ]


async def test_find_by_name_and_without_footage(source: FootageSource, world: World) -> None:
    for name in (world.yard.id, world.yard.name, f"{world.node}/{world.yard.name}"):
        (found,) = await items_of(source.find(CONTEXT, FindRequest(Named((name,)))))
        assert (found.camera.id, tuple(found.coverage)) == (world.yard.id, ())
    with pytest.raises(CameraNotFound, match="nobody"):
        await collect(source.find(CONTEXT, FindRequest(Named(("nobody",)))))


async def test_one_source_alone_is_the_same_where_there_is_one(source: FootageSource, world: World) -> None:
    gate = world.gate
    whole = await items_of(source.coverage(CONTEXT, gate.name, "main", gate.whole))
    knows_ids = "source_id" in (await source.node()).capabilities
    for name in (world.node, world.node_id[:16]) if knows_ids else (world.node,):
        assert await items_of(source.coverage(CONTEXT, gate.name, "main", gate.whole, name)) == whole
    with pytest.raises(CameraNotFound, match="elsewhere"):
        await collect(source.coverage(CONTEXT, gate.name, "main", gate.whole, "elsewhere"))
    with pytest.raises(CameraNotFound, match="elsewhere"):
        await collect(source.read_clip(CONTEXT, ClipRequest(gate.name, gate.whole, source="elsewhere")))


async def test_next_cameras(source: FootageSource, world: World) -> None:
    request = NextCamerasRequest(world.gate.name, world.gate.start_us, 1, 20, 3600 * SECOND)
    (found,) = await items_of(source.next_cameras(CONTEXT, request))
    assert found.camera.id == world.yard.id
    assert world.gate.start_us <= found.window.start_us < found.window.end_us
    with pytest.raises(CameraNotFound, match="nobody"):
        await collect(source.next_cameras(CONTEXT, replace(request, camera="nobody")))
