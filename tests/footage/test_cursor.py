"""Cursors: what a client sends as one is taken, or refused as an argument; nothing else comes of it."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.directory.directory import Directory
from nvr.directory.plan import plan
from nvr.errors import InvalidArgument
from nvr.footage.cursor import decode_cursor, encode_cursor
from nvr.footage.places import FindOrder, FindRequest
from nvr.footage.types import FragmentsRequest, TimeRange
from nvr.gateway.merge import Stretch
from nvr.gateway.pages import reading_order
from nvr.network_catalog.held import HeldAreas
from tests.directory.entries import node

# JSON that Python's reader takes: also numbers without bound, and halves of surrogate pairs.
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["node-a", "nearest", "newest", "\ud800", 10**400, 1e308])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=12)
numbers = st.none() | st.sampled_from([0, 1.5, -1, 10**400, 2**63])
names = st.sampled_from(["", "node-a", "\ud800"])
RANGE = TimeRange(1_000_000, 9_000_000)


def raw_cursor(value: Any) -> str:
    """As :func:`encode_cursor`, for what that would not write."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def ask_timeline(cursor: str) -> None:
    readings, given_before = reading_order(
        [Stretch("node-a", RANGE), Stretch("node-b", TimeRange(9_000_000, 12_000_000))],
        FragmentsRequest("camera", TimeRange(0, 20_000_000), cursor=cursor),
    )
    for reading in readings:
        # What goes on to a node goes on as UTF-8 and 64 bits.
        reading.inner.encode()
        assert 0 <= reading.stretch.range.start_us < reading.stretch.range.end_us < 2**63
        reading.cursor(given_before, backward=False).encode()


def ask_directory(cursor: str) -> None:
    directory = Directory(None, node("top"))
    try:
        for order in FindOrder:
            with suppress(InvalidArgument):
                plan(directory, FindRequest(order=order, cursor=cursor), HeldAreas(directory))
    finally:
        directory.close()


@pytest.mark.parametrize(("kind", "ask"), [("t4", ask_timeline), ("p1", ask_directory)])
@given(data=st.data())
def test_any_cursor_is_taken_or_refused(kind: str, ask: Callable[[str], None], data: st.DataObject) -> None:
    cursor = data.draw(
        st.lists(values, max_size=6).map(lambda rest: raw_cursor([kind, *rest]))
        | st.tuples(st.sampled_from(FindOrder), numbers, numbers, names, names).map(
            lambda five: raw_cursor([kind, five[0].value, *five[1:]])
        )
        | st.tuples(st.integers(0, 12_000_000), names, names).map(
            lambda three: raw_cursor([kind, *three, []])
        )
        | values.map(raw_cursor)
        | st.text(max_size=40)
    )
    with suppress(InvalidArgument):
        ask(cursor)


@given(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")), max_size=6)
)
def test_a_cursor_gives_its_values_back(given_values: list[Any]) -> None:
    assert decode_cursor("k", encode_cursor("k", given_values)) == given_values


@pytest.mark.parametrize(
    "value", [["p1", "nearest", 10**400, "a", "b"], ["p1", "nearest", 1, "\ud800", "b"], ["p1", "nearest"]]
)
def test_what_has_no_place_in_an_order_is_refused(value: list[Any]) -> None:
    directory = Directory(None, node("top"))
    request = FindRequest(order=FindOrder.NEAREST, cursor=raw_cursor(value))
    with pytest.raises(InvalidArgument, match="cursor"):
        plan(directory, request, HeldAreas(directory))
    directory.close()
