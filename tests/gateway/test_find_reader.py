"""Answers of Find are read as protobuf reads them."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from nvr._core import FindReader
from nvr.footage import convert
from nvr.footage.types import Gap, Span, TimeRange
from nvr.v1 import common_pb2, footage_pb2

READER = FindReader(span=Span, gap=Gap, time_range=TimeRange)
Read = tuple[list[tuple[str, str, list[Span | Gap]]], bytes | None, bytes | None]

texts = st.text(max_size=20)
instants = st.integers(-(1 << 63), (1 << 63) - 1)
ranges = st.builds(common_pb2.TimeRange, start_us=instants, end_us=instants)
spans = st.builds(
    footage_pb2.Span,
    range=st.none() | ranges,
    run_id=texts,
    epoch=st.integers(0, (1 << 32) - 1),
    node=texts,
    clock_offset_us=st.none() | instants,
)
gaps = st.builds(footage_pb2.Gap, range=st.none() | ranges, reason=texts, detail=texts)
coverage = st.one_of(
    st.builds(footage_pb2.CoverageItem, span=spans),
    st.builds(footage_pb2.CoverageItem, gap=gaps),
    st.builds(footage_pb2.CoverageItem),
)
found = st.builds(
    footage_pb2.Found,
    # What is not read is skipped.
    camera=st.none()
    | st.builds(footage_pb2.Camera, id=texts, name=texts, streams=st.just([footage_pb2.StreamInfo(width=9)])),
    distance_m=st.none() | st.floats(),
    coverage=st.lists(coverage, max_size=4),
    source=texts,
)
items = st.lists(found, max_size=3)
responses = st.one_of(
    st.builds(footage_pb2.FindResponse, items=items),
    st.builds(footage_pb2.FindResponse, items=items, item=found),
    st.builds(
        footage_pb2.FindResponse, items=items, warning=st.builds(common_pb2.Warning, code=texts, range=ranges)
    ),
    st.builds(
        footage_pb2.FindResponse,
        items=items,
        end=st.builds(common_pb2.End, complete=st.booleans(), cursor=texts),
    ),
)


def read_by_protobuf(response: footage_pb2.FindResponse) -> Read:
    all_found = [*response.items, *([response.item] if response.HasField("item") else [])]
    return (
        [
            (
                each.camera.id,
                each.source,
                [item for item in map(convert.coverage_from_pb, each.coverage) if item is not None],
            )
            for each in all_found
        ],
        response.warning.SerializeToString() if response.HasField("warning") else None,
        response.end.SerializeToString() if response.HasField("end") else None,
    )


@given(responses)
def test_it_reads_what_protobuf_reads(response: footage_pb2.FindResponse) -> None:
    assert READER.read(response.SerializeToString()) == read_by_protobuf(response)


@given(responses, st.data())
def test_a_broken_message_is_refused(response: footage_pb2.FindResponse, data: st.DataObject) -> None:
    whole = response.SerializeToString()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        footage_pb2.FindResponse.FromString(cut)
    except DecodeError:
        with pytest.raises(ValueError, match="decode"):
            READER.read(cut)
    else:
        READER.read(cut)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    try:
        found, _, _ = READER.read(message)
    except ValueError:
        return
    assert all(isinstance(item, Span | Gap) for _, _, coverage in found for item in coverage)
