"""Values survive the wire, and values of later versions do no harm."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import InvalidArgument
from nvr.footage import convert, types
from nvr.v1 import common_pb2, footage_pb2

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UINT32 = st.integers(0, (1 << 32) - 1)
UINT64 = st.integers(0, (1 << 64) - 1)
STREAMS = st.sampled_from(["main", "sub"])
RANGES = st.builds(types.TimeRange, INT64, INT64)
PLACES = st.builds(types.Place, st.floats(-90, 90), st.floats(-180, 180))

INFOS = st.builds(
    types.StreamInfo,
    kind=STREAMS,
    width=UINT32,
    height=UINT32,
    last_frame_us=INT64,
    frames=UINT64,
    bytes=UINT64,
    camera_clock_offset_us=st.none() | INT64,
    oldest_us=INT64,
    newest_us=INT64,
)
CAMERAS = st.builds(types.Camera, place=st.none() | PLACES, streams=st.lists(INFOS, max_size=2).map(tuple))
SPANS = st.builds(types.Span, range=RANGES, epoch=UINT32)
GAPS = st.builds(types.Gap, range=RANGES)
REFS = st.builds(
    types.FragmentRef,
    stream=STREAMS,
    epoch=UINT32,
    sequence=UINT32,
    start_us=INT64,
    duration_us=INT64,
    random_access_distance=UINT32,
    size_bytes=UINT32,
    pictures=UINT32,
    activity_bytes=UINT32,
    camera_clock_offset_us=st.none() | INT64,
)
CONFIGS = st.builds(types.CodecConfig, width=UINT32, height=UINT32, audio_sample_rate_hz=UINT32)
PARTS = st.builds(types.ClipPart, index=UINT32, range=RANGES, size_bytes=UINT64, disclosed=RANGES)
HEADS = st.builds(
    types.ClipHead, parts=st.lists(PARTS, max_size=3).map(tuple), gaps=st.lists(GAPS, max_size=3).map(tuple)
)
CLIPS = st.builds(types.ClipRequest, range=RANGES, stream=STREAMS, part=UINT32, offset=UINT64)
FRAGMENTS = st.builds(types.FragmentsRequest, range=RANGES, stream=STREAMS, limit=UINT32)
EVENTS = st.builds(types.Event, at_us=INT64, stream=st.none() | STREAMS)
NODES = st.builds(types.NodeInfo, capabilities=st.lists(st.text()).map(tuple), now_us=INT64)
CONTEXTS = st.builds(types.ReadContext)

BOTH_WAYS: list[tuple[st.SearchStrategy[Any], Callable[[Any], Message], Callable[[Any], Any]]] = [
    (CONTEXTS, convert.context_to_pb, convert.context_from_pb),
    (RANGES, convert.range_to_pb, convert.range_from_pb),
    (
        st.builds(types.Notice, range=st.none() | RANGES),
        convert.notice_to_pb,
        convert.notice_from_pb,
    ),
    (st.builds(types.End), convert.end_to_pb, convert.end_from_pb),
    (NODES, convert.node_to_pb, convert.node_from_pb),
    (PLACES, convert.place_to_pb, convert.place_from_pb),
    (INFOS, convert.stream_info_to_pb, convert.stream_info_from_pb),
    (CAMERAS, convert.camera_to_pb, convert.camera_from_pb),
    (SPANS | GAPS, convert.coverage_to_pb, convert.coverage_from_pb),
    (REFS, convert.fragment_ref_to_pb, convert.fragment_ref_from_pb),
    (CONFIGS, convert.config_to_pb, convert.config_from_pb),
    (HEADS, convert.clip_head_to_pb, convert.clip_head_from_pb),
    (CLIPS, lambda v: convert.clip_request_to_pb(v, types.ReadContext()), convert.clip_request_from_pb),
    (
        FRAGMENTS,
        lambda v: convert.fragments_request_to_pb(v, types.ReadContext()),
        convert.fragments_request_from_pb,
    ),
    (EVENTS, convert.event_to_pb, convert.event_from_pb),
]


@pytest.mark.parametrize(
    ("values", "to_pb", "from_pb"), BOTH_WAYS, ids=lambda part: getattr(part, "__name__", "")
)
def test_values_survive_the_wire(
    values: st.SearchStrategy[Any], to_pb: Callable[[Any], Message], from_pb: Callable[[Any], Any]
) -> None:
    @given(values)
    def check(value: Any) -> None:
        message = to_pb(value)
        assert from_pb(type(message).FromString(message.SerializeToString())) == value

    check()


def test_a_stream_of_a_later_version_is_left_out_or_refused() -> None:
    camera = footage_pb2.Camera(
        streams=[footage_pb2.StreamInfo(kind=common_pb2.STREAM_KIND_MAIN), footage_pb2.StreamInfo()]
    )
    camera.streams[1].kind = 9  # type: ignore[assignment]
    assert [info.kind for info in convert.camera_from_pb(camera).streams] == ["main"]
    event = footage_pb2.Event(kind="moved")
    event.stream = 9  # type: ignore[assignment]
    assert convert.event_from_pb(event) == types.Event(at_us=0, kind="moved")
    with pytest.raises(InvalidArgument) as caught:
        convert.stream_from_pb(9)
    assert caught.value.field == "stream"


def test_a_state_of_a_later_version_is_unknown() -> None:
    info = footage_pb2.StreamInfo(kind=common_pb2.STREAM_KIND_MAIN)
    info.state = 77  # type: ignore[assignment]
    assert convert.stream_info_from_pb(info).state is types.StreamState.UNKNOWN


def test_a_policy_of_a_later_version_is_refused() -> None:
    context = common_pb2.ReadContext()
    context.partial = 5  # type: ignore[assignment]
    with pytest.raises(InvalidArgument) as caught:
        convert.context_from_pb(context)
    assert caught.value.field == "context.partial"


def test_an_unknown_gap_reason_survives() -> None:
    gap = types.Gap(types.TimeRange(0, 1), "eaten_by_mice")
    assert convert.coverage_from_pb(convert.coverage_to_pb(gap)) == gap
    assert convert.coverage_from_pb(footage_pb2.CoverageItem()) is None
