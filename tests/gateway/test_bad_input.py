"""What cannot be asked: a gateway's real server names the field, and asks nobody below."""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from nvr.errors import AreaAmbiguous, AreaNotFound, InvalidArgument
from nvr.footage.channel import dial
from nvr.footage.places import (
    Circle,
    Corridor,
    FindRequest,
    InArea,
    LooksAt,
    Named,
    NextCamerasRequest,
    Polygon,
    Where,
)
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import ClipRequest, FragmentsRequest, Place, ReadContext, TimeRange
from nvr.network_catalog.areas import AreaTree
from tests.acceptance.test_source import collect
from tests.gateway.tree import gateway, served_gateway, serving
from tests.gateway.twins import GATE, ZERO_US, Twin
from tests.network_catalog.trees import PROVINCE

CONTEXT = ReadContext()
MAX_US = 253_402_300_799_000_000
HERE = Place(19.9, 105.8)
MANY = ["x"] * 100_000


class Asked(Twin):
    """A node that counts what it is asked."""

    questions = 0

    def find(self, *args: Any, **more: Any) -> Any:
        self.questions += 1
        return super().find(*args, **more)

    def coverage(self, *args: Any, **more: Any) -> Any:
        self.questions += 1
        return super().coverage(*args, **more)


@pytest_asyncio.fixture
async def below() -> AsyncIterator[tuple[RemoteFootage, Asked]]:
    async with AsyncExitStack() as stack:
        node = Asked("first", "1", took_over=False)
        served = await stack.enter_async_context(serving(node))
        made = await stack.enter_async_context(gateway("district", [served.address], tree=AreaTree(PROVINCE)))
        top = await stack.enter_async_context(served_gateway(made))
        channel = dial(top.address)
        stack.push_async_callback(channel.close)
        yield RemoteFootage(channel, target="district"), node


Below = tuple[RemoteFootage, Asked]


@pytest.mark.parametrize(
    ("where", "field"),
    [
        (Circle(Place(90.1, 105), 10), "where.near.center.latitude"),
        (Circle(Place(math.nan, 105), 10), "where.near.center.latitude"),
        (Circle(Place(19, -180.1), 10), "where.near.center.longitude"),
        (Circle(Place(19, math.inf), 10), "where.near.center.longitude"),
        (Circle(HERE, 0), "where.near.radius_m"),
        (Circle(HERE, math.nan), "where.near.radius_m"),
        (Circle(HERE, 1e9), "where.near.radius_m"),
        (Polygon([HERE, Place(20, 106)]), "where.polygon.corners"),
        (Polygon([HERE] * 1001), "where.polygon.corners"),
        (Polygon([HERE, HERE, Place(-91, 0)]), "where.polygon.corners[2].latitude"),
        (Polygon([HERE, HERE, HERE]), "where.polygon"),
        (Corridor([HERE], 10), "where.along.points"),
        (Corridor([HERE, Place(0, 181)], 10), "where.along.points[1].longitude"),
        (Corridor([HERE, Place(20, 106)], -1), "where.along.width_m"),
        (LooksAt(Place(19, 200)), "where.looks_at.longitude"),
        (InArea("x" * 201), "where.area"),
        (Named([]), "where.names.cameras"),
        (Named([""]), "where.names.cameras[0]"),
        (Named(["gate", "x" * 201]), "where.names.cameras[1]"),
        (Named(MANY), "where.names.cameras"),
    ],
)
async def test_a_place_that_cannot_be_is_named(below: Below, where: Where, field: str) -> None:
    footage, node = below
    with pytest.raises(InvalidArgument) as caught:
        await collect(footage.find(CONTEXT, FindRequest(where, TimeRange(ZERO_US, ZERO_US + 1))))
    assert caught.value.field == field
    assert len(str(caught.value)) < 1000
    assert node.questions == 0


async def test_what_can_be_asked_is_asked_below(below: Below) -> None:
    footage, node = below
    await collect(footage.find(CONTEXT, FindRequest(Named([GATE.id]), TimeRange(ZERO_US, ZERO_US + 1))))
    assert node.questions > 0


READS: dict[str, Callable[[RemoteFootage, TimeRange], Any]] = {
    "find": lambda footage, range_: footage.find(CONTEXT, FindRequest(range=range_)),
    "coverage": lambda footage, range_: footage.coverage(CONTEXT, GATE.id, "main", range_),
    "clip": lambda footage, range_: footage.read_clip(CONTEXT, ClipRequest(GATE.id, range_)),
    "fragments": lambda footage, range_: footage.read_fragments(CONTEXT, FragmentsRequest(GATE.id, range_)),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("start_us", "end_us", "field"),
    [
        (ZERO_US, ZERO_US - 1, "range.start_us"),
        (ZERO_US, ZERO_US, "range.start_us"),
        (MAX_US, 0, "range.start_us"),
        (-1, ZERO_US, "range.start_us"),
        (-(1 << 63), (1 << 63) - 1, "range.start_us"),
        (0, MAX_US + 1, "range.end_us"),
        (ZERO_US, (1 << 63) - 1, "range.end_us"),
    ],
)
async def test_a_range_that_cannot_be_is_named(
    below: Below, read: str, start_us: int, end_us: int, field: str
) -> None:
    footage, node = below
    with pytest.raises(InvalidArgument) as caught:
        await collect(READS[read](footage, TimeRange(start_us, end_us)))
    assert caught.value.field == field
    assert node.questions == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"camera": ""}, "camera"),
        ({"at_us": -1}, "at_us"),
        ({"min_speed_mps": 0.0}, "min_speed_mps"),
        ({"min_speed_mps": math.nan}, "min_speed_mps"),
        ({"max_speed_mps": 101.0}, "max_speed_mps"),
        ({"within_us": 86_400_000_001}, "within_us"),
        ({"within_us": 0}, "within_us"),
        ({"detour": -0.5}, "detour"),
        ({"limit": 1001}, "limit"),
    ],
)
async def test_a_sighting_that_cannot_be_is_named(below: Below, change: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {
        "camera": GATE.id,
        "at_us": ZERO_US,
        "min_speed_mps": 1.0,
        "max_speed_mps": 10.0,
        "within_us": 60_000_000,
    }
    with pytest.raises(InvalidArgument) as caught:
        await collect(below[0].next_cameras(CONTEXT, NextCamerasRequest(**(given | change))))
    assert caught.value.field == field


async def test_a_hundred_thousand_cameras_are_too_many_to_name(below: Below) -> None:
    for answer in (below[0].list_cameras(CONTEXT, MANY), below[0].watch_events(CONTEXT, MANY)):
        with pytest.raises(InvalidArgument) as caught:
            await collect(answer)
        assert caught.value.field == "cameras"


@pytest.mark.parametrize(
    "area",
    [
        "",
        " ",
        ",",
        ",,,Thanh Hóa",
        "nowhere",
        "38-380 ' OR 1 = 1 --",
        "\x00",
        "38\x00",
        "\u202e38",
        "🏙",
        "ề" * 200,
        "a," * 100,
        "%",
        "*",
        "Thanh Hóa, Hà Nội",
    ],
)
async def test_an_area_that_nobody_knows_is_told_so(below: Below, area: str) -> None:
    footage, node = below
    request = FindRequest(InArea(area), TimeRange(ZERO_US, ZERO_US + 1))
    with pytest.raises(AreaNotFound) as caught:
        await collect(footage.find(CONTEXT, request))
    assert caught.value.field == "where.area"
    assert len(str(caught.value)) < 1000
    assert node.questions == 0


async def test_an_area_of_several_comes_with_its_candidates(below: Below) -> None:
    with pytest.raises(AreaAmbiguous) as caught:
        await collect(below[0].find(CONTEXT, FindRequest(InArea("thanh hoa"))))
    assert caught.value.field == "where.area"
    assert caught.value.facts["candidates"].split("; ")[0] == "38 (Tỉnh Thanh Hóa, Việt Nam)"
    found, _, end = await collect(below[0].find(CONTEXT, FindRequest(InArea("tinh thanh hoa"))))
    assert (found, end.complete) == ([], True)
