"""Asking by place and time, and collecting what was found."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nvr
from nvr.client._places import parse_length, parse_speed, resolve_where
from nvr.client._progress import Progress
from nvr.errors import InvalidArgument
from nvr.footage.places import Circle, Corridor, FindRequest, Found, InArea, LooksAt, Named, Polygon
from nvr.footage.source import Answer
from nvr.footage.time import to_datetime
from nvr.footage.types import Camera, ClipData, ClipHead, ClipRequest, End, Notice, Place, ReadContext
from tests.client.proxy import cutting
from tests.footage.memory import MemoryFootage, memory_world
from tests.footage.serving import serve

WORLD = memory_world()
SOURCE = MemoryFootage(WORLD)
START, END = to_datetime(WORLD.gate.start_us), to_datetime(WORLD.gate.end_us)
HERE, THERE = (19.9275, 105.8571), (19.93, 105.86)
CORNERS = (Place(*HERE), Place(*THERE), Place(19.9, 105.9))


class FailingFootage(MemoryFootage):
    """One node below did not answer, and one camera cannot be read."""

    def __init__(self) -> None:
        # The footage itself is shared: making it takes longer than reading it.
        self.__dict__.update(SOURCE.__dict__)
        self.finds: list[FindRequest] = []

    async def find(self, context: ReadContext, request: FindRequest) -> Answer[Found]:
        self.finds.append(request)
        async for step in super().find(context, request):
            if isinstance(step, End):
                yield Notice("node_unreachable", "no connection", "commune-7", cameras=3)
                yield Found(Camera("0193143f-0000-7000-8000-000000000009", "lost", node="commune-7"))
                yield End(complete=False)
            else:
                yield step

    async def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        if request.camera == WORLD.yard.id:
            raise nvr.errors.DamagedError("stored bytes fail their check")
        async for step in super().read_clip(context, request):
            yield step


@asynccontextmanager
async def connected(source: MemoryFootage) -> AsyncIterator[nvr.AsyncNetwork]:
    async with serve(source) as served, nvr.connect_async(served.address) as net:
        yield net


def test_find_gives_each_camera_with_what_it_has(net: nvr.Network) -> None:
    answer = net.find(start=START, end=END)
    found = answer.all()
    assert [each.camera.name for each in found] == ["market-gate", "yard"]
    assert answer.complete
    gate = found[0]
    assert tuple(gate.coverage) == net.camera("market-gate").coverage(START, END).items
    assert (len(gate.spans), len(gate.gaps)) == (2, 1)
    assert [each.coverage for each in net.find(cameras=["yard"])] == [()]


def test_one_source_alone_is_read(net: nvr.Network) -> None:
    camera = net.camera("market-gate", source="station-1")
    assert camera.source == "station-1"
    assert camera.coverage(START, END).spans
    other = net.camera("market-gate", source="station-2")
    with pytest.raises(nvr.errors.CameraNotFound, match="station-2"):
        other.coverage(START, END)
    with pytest.raises(nvr.errors.CameraNotFound, match="station-2"):
        other.clip(START, END).plan()


@pytest.mark.parametrize(
    ("given_", "where"),
    [
        ({}, None),
        ({"cameras": ["a", "b"]}, Named(("a", "b"))),
        ({"area": "Sầm Sơn"}, InArea("Sầm Sơn")),
        ({"near": HERE, "radius": "300m"}, Circle(Place(*HERE), 300.0)),
        ({"near": Place(*HERE), "radius": 12.5}, Circle(Place(*HERE), 12.5)),
        (
            {"polygon": [HERE, THERE, (19.9, 105.9)]},
            Polygon(CORNERS),
        ),
        ({"along": [HERE, THERE], "width": "0.05km"}, Corridor((Place(*HERE), Place(*THERE)), 50.0)),
        ({"looks_at": HERE}, LooksAt(Place(*HERE))),
    ],
)
def test_places_as_callers_give_them(given_: dict[str, Any], where: object) -> None:
    assert resolve_where(**given_) == where


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"near": HERE}, "radius"),
        ({"radius": 5}, "near"),
        ({"along": [HERE, THERE]}, "width"),
        ({"near": HERE, "radius": 5, "area": "x"}, "near"),
        ({"polygon": [HERE, THERE]}, "polygon"),
        ({"along": [HERE], "width": 5}, "along"),
        ({"looks_at": (91, 0)}, "place.latitude"),
        ({"near": (0, 181), "radius": 5}, "place.longitude"),
        ({"near": HERE, "radius": "5 miles"}, "radius"),
        ({"near": HERE, "radius": float("nan")}, "radius"),
        ({"area": " "}, "area"),
        ({"cameras": "market-gate"}, "cameras"),
    ],
)
def test_places_that_are_none(given_: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolve_where(**given_)
    assert caught.value.field == field


@given(st.floats(0.001, 1e6))
def test_lengths_and_speeds_in_their_units(number: float) -> None:
    assert parse_length(f"{number:f}m", field="x") == pytest.approx(float(f"{number:f}"))
    assert parse_length(f"{number:f} km", field="x") == pytest.approx(float(f"{number:f}") * 1000)
    assert parse_speed(f"{number:f}km/h", field="x") == pytest.approx(float(f"{number:f}") / 3.6)
    assert parse_speed(number, field="x") == number


def test_what_contradicts_itself_is_refused_before_it_travels(net: nvr.Network) -> None:
    with pytest.raises(InvalidArgument, match="needs a start"):
        net.find(end=END)
    with pytest.raises(InvalidArgument, match="nearest, newest, oldest"):
        net.find(order="best")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="more than max_speed"):
        net.next_cameras("yard", START, min_speed="40km/h", max_speed="5km/h")
    with pytest.raises(InvalidArgument, match="1 to 64"):
        net.collect("x", start=START, end=END, parallel=0)


def test_next_cameras(net: nvr.Network) -> None:
    (found,) = net.next_cameras("yard", START, min_speed=1, max_speed="60km/h", within="5m").all()
    assert found.camera.name == "market-gate"
    assert found.window.start == START


def test_collect_saves_every_camera(net: nvr.Network, tmp_path: Path) -> None:
    plan = net.collect(tmp_path / "none", start=START, end=END, dry_run=True)
    assert not (tmp_path / "none").exists()
    steps: list[Progress] = []
    report = net.collect(tmp_path / "case", start=START, end=END, progress=steps.append)
    assert [item.camera.name for item in report] == ["market-gate", "yard"]
    assert report.complete
    assert report.missing == ()
    assert report.size_bytes == plan.size_bytes > 0
    saved = [part for item in report if item.report for part in item.report.parts]
    assert sorted(path.name for path in (tmp_path / "case").iterdir()) == sorted(p.path.name for p in saved)
    for item in report:
        assert item.report is not None
        clip = net.camera(item.camera.name).clip(START, END)
        for part in item.report.parts:
            assert part.path.stat().st_size == part.size_bytes
            assert part.etag in {planned.etag for planned in clip.plan().parts}
    assert {step.name for step in steps} == {part.path.name for part in saved}
    # Again: nothing is fetched twice.
    steps.clear()
    again = net.collect(tmp_path / "case", start=START, end=END, progress=steps.append)
    assert again.complete
    assert steps == []
    assert again.size_bytes == report.size_bytes


async def test_what_fails_costs_its_own_camera_only_and_is_told(tmp_path: Path) -> None:
    source = FailingFootage()
    async with connected(source) as net:
        report = await net.collect(tmp_path, near=HERE, radius="300m", start=START, end=END)
    assert source.finds[0].where == Circle(Place(*HERE), 300.0)
    assert not report.complete
    assert [warning.code for warning in report.warnings] == ["node_unreachable"]
    by_name = {item.camera.name: item for item in report}
    assert by_name["market-gate"].complete
    assert (by_name["yard"].reason, by_name["yard"].failed) == ("damaged", True)
    assert (by_name["lost"].reason, by_name["lost"].failed) == ("node_unreachable", True)
    assert {item.camera.name for item in report.missing} == {"yard", "lost"}
    assert "something that may be recorded is missing" in report.view().notes


async def test_a_collection_that_refuses_parts_ends_with_the_error_of_the_part(tmp_path: Path) -> None:
    async with serve(FailingFootage()) as served, nvr.connect_async(served.address, partial="refuse") as net:
        with pytest.raises(nvr.errors.Incomplete) as caught:
            await net.collect(tmp_path, start=START, end=END)
    assert caught.value.node == "commune-7"


async def test_a_disk_that_fails_ends_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise nvr.errors.StoreError("the disk is full", errno.ENOSPC, str(tmp_path))

    monkeypatch.setattr("nvr.client._collect._begun", full)
    async with connected(SOURCE) as net:
        with pytest.raises(nvr.errors.StoreError, match="the disk is full"):
            await net.collect(tmp_path, start=START, end=END)


async def test_a_cut_collection_goes_on(tmp_path: Path) -> None:
    async with (
        serve(SOURCE) as served,
        cutting(served.address, [2_000_000, 700_000, 1_500_000]) as proxy,
        nvr.connect_async(proxy.address) as net,
    ):
        report = await net.collect(tmp_path, cameras=["market-gate"], start=START, end=END)
    assert proxy.cut == 3
    assert report.complete
    assert report[0].report is not None
    assert report[0].report.retries > 0


async def test_a_file_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    name = f"station-1_yard_{START:%Y%m%dT%H%M%SZ}.mp4"
    (tmp_path / name).write_text("mine")
    async with connected(SOURCE) as other:
        report = await other.collect(tmp_path, cameras=["yard"], start=START, end=END)
    assert (report[0].reason, report.complete) == ("exists", False)
    assert (tmp_path / name).read_text() == "mine"
