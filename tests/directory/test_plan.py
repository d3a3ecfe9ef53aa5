"""Questions by place: what is planned is what a look at every camera finds."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.directory.directory import Directory
from nvr.directory.plan import Plan, next_cameras, plan, unheld_gap
from nvr.directory.types import CameraEntry, DirectoryBatch
from nvr.errors import AreaNotFound, CameraNotFound, InvalidArgument
from nvr.footage.places import (
    Circle,
    Corridor,
    FindOrder,
    FindRequest,
    InArea,
    LooksAt,
    Named,
    NextCamerasRequest,
    Polygon,
    Where,
)
from nvr.footage.types import Camera, Place, StreamInfo, StreamState, TimeRange, View
from nvr.network_catalog.held import HeldAreas
from tests.directory import reference
from tests.directory.entries import SECOND, ZERO_US, camera, camera_id, cameras, entry, node, node_id, places

wheres = st.one_of(
    st.none(),
    st.builds(Circle, places, st.floats(1, 20_000)),
    st.builds(Polygon, st.lists(places, min_size=3, max_size=6, unique=True)),
    st.builds(Corridor, st.lists(places, min_size=2, max_size=4, unique=True), st.floats(10, 5000)),
    st.builds(LooksAt, places),
    st.builds(InArea, st.sampled_from(["38-1", "38-2"])),
    st.builds(Named, st.lists(st.integers(0, 12).map(camera_id), min_size=1, max_size=5)),
)
ranges = st.tuples(st.integers(-500, 500), st.integers(1, 500)).map(
    lambda pair: TimeRange(ZERO_US + pair[0] * SECOND, ZERO_US + (pair[0] + pair[1]) * SECOND)
)


def filled(told: list[Camera]) -> tuple[Directory, dict[str, Camera]]:
    """A directory of these cameras, half of them of a child; the last of an id counts."""
    last = {each.id: each for each in told}
    directory = Directory(None, node("top"))
    ids = sorted(last)
    directory.put_cameras(CameraEntry("", last[each]) for each in ids[::2])
    batch = DirectoryBatch(
        "e", 1, True, True, (node("left"),), cameras=tuple(entry("left", last[each]) for each in ids[1::2])
    )
    directory.apply(node_id("left"), batch)
    return directory, last


def holds(where: Where | None, each: Camera) -> bool | None:
    """Whether a camera is meant; None: it stands so near to the border that rounding decides."""
    match where:
        case None:
            return True
        case Named():
            return each.id in where.cameras
        case InArea():
            return each.area == where.area
        case LooksAt():
            if each.place is None or each.view is None:
                return False
            return reference.sees(each.place, each.view, where)
        case _:
            return False if each.place is None else reference.holds(where, each.place)


def end_in(range_: TimeRange, stream: StreamInfo, order: FindOrder) -> float:
    """Where its footage ends in the range (for the oldest: starts); last of all where there is none."""
    newest_us = math.inf if stream.state is StreamState.RECORDING else stream.newest_us
    slack_us = 60 * SECOND
    held = newest_us > 0 and newest_us + slack_us > range_.start_us and stream.oldest_us < range_.end_us
    if order is FindOrder.NEWEST:
        return min(newest_us, range_.end_us) if held else -math.inf
    return max(stream.oldest_us, range_.start_us) if held else math.inf


def answer(directory: Directory, request: FindRequest) -> Plan:
    return plan(directory, request, HeldAreas(directory))


@given(
    told=st.lists(cameras, max_size=14),
    where=wheres,
    range_=st.none() | ranges,
    order=st.sampled_from(FindOrder),
)
def test_a_plan_finds_what_a_look_at_every_camera_finds(
    told: list[Camera], where: Where | None, range_: TimeRange | None, order: FindOrder
) -> None:
    directory, truth = filled(told)
    try:
        found = answer(directory, FindRequest(where, range_, order=order))
    except AreaNotFound:
        assert isinstance(where, InArea)
        assert where.area not in {each.area for each in truth.values()}
        return
    except InvalidArgument:
        assert isinstance(where, Polygon)  # all its corners on one spot
        return
    finally:
        pages = directory
    ids = [planned.camera.id for planned in found.items]
    assert len(set(ids)) == len(ids)
    meant = {each.id: holds(where, each) for each in truth.values()}
    removed = {each.id for each in truth.values() if each.streams[0].reason == "removed"}
    assert {each for each, is_meant in meant.items() if is_meant} - removed <= set(ids)
    assert set(ids) <= {each for each, is_meant in meant.items() if is_meant is not False}
    for planned in found.items:
        stream = truth[planned.camera.id].streams[0]
        if range_ is None:
            assert planned.holders == ()
            continue
        recording = stream.state is StreamState.RECORDING
        newest_us = math.inf if recording else stream.newest_us
        if newest_us > range_.start_us and stream.oldest_us < range_.end_us and newest_us:
            assert planned.holders, "who may hold footage is asked"
    if order is not FindOrder.NEAREST and range_ is not None:
        ends = [end_in(range_, truth[each].streams[0], order) for each in ids]
        assert ends == sorted(ends, reverse=order is FindOrder.NEWEST)
    if order is FindOrder.NEAREST and isinstance(where, Circle):
        distances = [planned.distance_m for planned in found.items]
        assert distances == sorted(distances, key=lambda metres: metres or 0)
        for planned in found.items:
            place = truth[planned.camera.id].place
            assert place is not None
            assert planned.distance_m == pytest.approx(
                reference.distance_m(where.center, place), rel=1e-6, abs=0.01
            )
    pages.close()


looking = st.builds(
    camera,
    st.integers(0, 30),
    place=places,
    view=st.builds(View, st.floats(0, 360), st.floats(1, 360), st.floats(0, 20_000)),
)


@given(told=st.lists(looking, min_size=4, max_size=20), point=places)
def test_cameras_that_look_at_a_point(told: list[Camera], point: Place) -> None:
    directory, truth = filled(told)
    found = [each.camera.id for each in answer(directory, FindRequest(LooksAt(point))).items]
    for each in truth.values():
        assert holds(LooksAt(point), each) in (each.id in found, None)
    far_m = [reference.distance_m(point, truth[each].place or point) for each in found]
    assert far_m == pytest.approx(sorted(far_m), abs=0.01)
    directory.close()


@given(
    told=st.lists(cameras, min_size=1, max_size=14),
    where=st.none() | st.builds(Circle, places, st.just(50_000.0)) | st.just(InArea("38-1")),
    range_=st.none() | ranges,
    order=st.sampled_from(FindOrder),
    limit=st.integers(1, 4),
)
def test_pages_put_together_are_the_whole(
    told: list[Camera], where: Where | None, range_: TimeRange | None, order: FindOrder, limit: int
) -> None:
    directory, _ = filled(told)
    try:
        whole = [each.camera.id for each in answer(directory, FindRequest(where, range_, order=order)).items]
    except AreaNotFound:
        return
    paged: list[str] = []
    cursor, left = "", len(whole)
    for _ in range(20):
        page = answer(directory, FindRequest(where, range_, order=order, limit=limit, cursor=cursor))
        paged += [each.camera.id for each in page.items]
        left -= len(page.items)
        assert page.remaining == left
        assert not page.cut
        cursor = page.cursor
        if not cursor:
            break
    assert paged == whole
    directory.close()


def test_rows_far_away_are_not_visited() -> None:
    directory = Directory(None, node("top"))
    directory.put_cameras(
        CameraEntry("", camera(number, place=Place(19 + number * 0.001, 105 + number * 0.001)))
        for number in range(2000)
    )
    found = answer(directory, FindRequest(Circle(Place(20, 106), 300)))
    assert [each.camera.name for each in found.items] == ["camera-1000", "camera-1001", "camera-999"]
    assert found.visited <= 5


def test_the_nodes_own_limit_says_what_it_cuts() -> None:
    directory = Directory(None, node("top"))
    directory.put_cameras(CameraEntry("", camera(number)) for number in range(1234))
    found = answer(directory, FindRequest())
    assert (len(found.items), found.remaining, found.cut) == (1000, 234, True)
    rest = answer(directory, FindRequest(cursor=found.cursor))
    assert (len(rest.items), rest.remaining, rest.cut, rest.cursor) == (234, 0, False, "")


@given(st.text(max_size=200) | st.binary(max_size=60).map(lambda raw: raw.hex()))
def test_a_cursor_of_another_kind_is_refused(cursor: str) -> None:
    directory = Directory(None, node("top"))
    if cursor:
        with pytest.raises(InvalidArgument) as caught:
            answer(directory, FindRequest(cursor=cursor))
        assert caught.value.field == "cursor"


def test_a_cursor_is_of_its_order() -> None:
    directory = Directory(None, node("top"))
    directory.put_cameras(CameraEntry("", camera(number)) for number in range(3))
    cursor = answer(directory, FindRequest(limit=1)).cursor
    with pytest.raises(InvalidArgument, match="cursor"):
        answer(directory, FindRequest(limit=1, cursor=cursor, order=FindOrder.NEWEST))


def test_names_that_are_not_known() -> None:
    directory, _ = filled([camera(1, "gate")])
    with pytest.raises(CameraNotFound, match="yard"):
        answer(directory, FindRequest(Named(["gate", "yard"])))
    # A node above may know an id longer than this one does.
    assert answer(directory, FindRequest(Named([camera_id(9)]))).items == []


def test_why_there_is_nothing() -> None:
    range_ = TimeRange(ZERO_US - 500 * SECOND, ZERO_US - 400 * SECOND)
    directory, _ = filled(
        [camera(1), camera(2, state=StreamState.WAITING, reason="auth_failed", kept=(0, 0))]
    )
    first, second = answer(directory, FindRequest(range=range_)).items
    assert (first.holders, second.holders) == ((), ())
    assert unheld_gap(first, "main", range_).reason == "expired"
    assert unheld_gap(second, "main", range_).reason == "auth_failed"


def test_a_camera_of_two_nodes_is_where_the_first_of_them_says() -> None:
    """Moved to another node, and set right there: the old node's word counts no more."""
    directory = Directory(None, node("top"))
    new, old = Place(19.9, 105.9), Place(19.0, 105.0)
    directory.put_cameras(
        [CameraEntry("", camera(1, "new", place=new, area="38-1")), CameraEntry("", camera(2))]
    )
    left = camera(1, "old", place=old, area="38-2", state=StreamState.DISABLED, reason="removed")
    batch = DirectoryBatch(
        "e", 1, True, True, (node("left"),), cameras=(entry("left", left, assigned=False),)
    )
    directory.apply(node_id("left"), batch)
    range_ = TimeRange(ZERO_US, ZERO_US + SECOND)
    assert answer(directory, FindRequest(Circle(old, 300), range_)).items == []
    with pytest.raises(AreaNotFound):
        answer(directory, FindRequest(InArea("38-2")))
    (found,) = answer(directory, FindRequest(Circle(new, 300), range_)).items
    assert (found.distance_m, found.camera.name) == (0, "new")
    assert set(found.holders) == {node_id("top"), node_id("left")}
    # By name it comes once, under the name that is shown.
    first = answer(directory, FindRequest(limit=1))
    second = answer(directory, FindRequest(limit=1, cursor=first.cursor))
    assert (first.remaining, second.remaining, second.cursor) == (1, 0, "")
    assert [each.camera.name for each in (*first.items, *second.items)] == ["camera-2", "new"]
    # When the first is gone, the other stands for it.
    directory.remove_cameras([camera_id(1)])
    assert answer(directory, FindRequest(Circle(new, 300), range_)).items == []
    (found,) = answer(directory, FindRequest(Circle(old, 300), range_)).items
    assert found.camera.name == "old"


def test_what_a_node_that_is_away_does_is_not_known() -> None:
    """It may record again by now: nobody may say that there is nothing."""
    directory, _ = filled([camera(1), camera(2, state=StreamState.WAITING, reason="unreachable")])
    directory.set_link(node_id("left"), connected=True)
    later = TimeRange(ZERO_US + 5000 * SECOND, ZERO_US + 6000 * SECOND)

    def holders() -> dict[str, tuple[str, ...]]:
        items = answer(directory, FindRequest(range=later)).items
        return {each.camera.name: tuple(each.holders) for each in items}

    assert holders() == {"camera-1": (node_id("top"),), "camera-2": ()}
    directory.set_link(node_id("left"), connected=False, reason="node_unreachable")
    assert holders()["camera-2"] == (node_id("left"),)


def test_of_the_last_minute_a_camera_that_waits_is_asked() -> None:
    now_us = ZERO_US + 5000 * SECOND
    directory = Directory(None, node("top"), now_us=lambda: now_us)
    directory.put_cameras([CameraEntry("", camera(1, state=StreamState.WAITING, reason="unreachable"))])
    for end_us, asked in ((now_us, True), (now_us - 3600 * SECOND, False)):
        range_ = TimeRange(end_us - 10 * SECOND, end_us)
        (found,) = answer(directory, FindRequest(range=range_)).items
        assert bool(found.holders) == asked


@pytest.mark.parametrize("order", FindOrder)
@pytest.mark.parametrize("where", [None, Circle(Place(19.9, 105.9), 20_000.0)])
def test_a_cursor_fits_into_its_field(order: FindOrder, where: Where | None) -> None:
    directory = Directory(None, node("top"))
    directory.put_cameras(
        CameraEntry(
            "", camera(number, f"{number}" * 63, place=Place(19.9 + number / 7e6, 105.9 + number / 3e6))
        )
        for number in range(1, 4)
    )
    request = FindRequest(where, limit=1, order=order)
    found = answer(directory, request)
    assert 0 < len(found.cursor) <= 200
    assert answer(directory, replace(request, cursor=found.cursor)).remaining == 1


def next_of(directory: Directory, **more: Any) -> list[tuple[str, int, int]]:
    asked: dict[str, Any] = {
        "camera": "camera-0",
        "at_us": ZERO_US,
        "min_speed_mps": 1,
        "max_speed_mps": 10,
        "within_us": 600 * SECOND,
    }
    found = next_cameras(directory, NextCamerasRequest(**{**asked, **more}))
    return [
        (each.camera.name, each.window.start_us - ZERO_US, each.window.end_us - ZERO_US)
        for each in found.items
    ]


@given(
    told=st.lists(cameras, min_size=1, max_size=14), speed=st.floats(0.5, 30), within_s=st.integers(1, 3600)
)
def test_whoever_can_be_reached_is_found_with_the_right_window(
    told: list[Camera], speed: float, within_s: int
) -> None:
    directory, truth = filled(told)
    start = truth[told[0].id]
    request = NextCamerasRequest(start.id, ZERO_US, speed / 2, speed, within_s * SECOND, 2.0, 1000)
    if start.place is None:
        with pytest.raises(InvalidArgument, match="where"):
            next_cameras(directory, request)
        return
    found = {each.camera.id: each for each in next_cameras(directory, request).items}
    for each in truth.values():
        if each.place is None or each.id == start.id or each.streams[0].reason == "removed":
            assert each.id not in found
            continue
        metres = reference.distance_m(start.place, each.place)
        if abs(metres / speed - within_s) > 0.001:
            assert (each.id in found) == (metres / speed < within_s)
        if each.id in found:
            window = found[each.id].window
            # A millimetre is as good as two ways of reckoning agree.
            abs_us = 0.001 / (speed / 2) * 2 * SECOND + 2
            assert window.start_us - ZERO_US == pytest.approx(metres / speed * SECOND, abs=abs_us)
            slowest = min(metres * 2 / (speed / 2), within_s)
            assert window.end_us - ZERO_US == pytest.approx(slowest * SECOND, abs=abs_us)
            bearing = reference.bearing_deg(start.place, each.place)
            off_deg = abs((found[each.id].bearing_deg - bearing + 180) % 360 - 180)
            assert metres < 1 or off_deg < 0.01
    assert [each.distance_m for each in found.values()] == sorted(each.distance_m for each in found.values())
    directory.close()


def test_next_cameras_nearest_first() -> None:
    directory = Directory(None, node("top"))
    directory.put_cameras(
        CameraEntry("", camera(number, place=Place(19.9 + number * 0.001, 105.9))) for number in range(4)
    )
    names = [name for name, _, _ in next_of(directory)]
    assert names == ["camera-1", "camera-2", "camera-3"]
    assert [name for name, _, _ in next_of(directory, limit=1)] == ["camera-1"]
    # 111 m: at least 11.1 s, at most 167 s on a way that is half as long again.
    assert next_of(directory)[0][1:] == (11_119_508, 166_792_621)
    assert next_of(directory, within_us=12 * SECOND) == [("camera-1", 11_119_508, 12_000_000)]


def test_limits_of_next_cameras_say_what_they_cut() -> None:
    directory = Directory(None, node("top"))
    directory.put_cameras(
        CameraEntry("", camera(number, place=Place(19.9 + number * 0.001, 105.9)))
        for number in (0, 1, 2, 3, 9)
    )

    def ask(limit: int, speed: float) -> tuple[int, int, list[str]]:
        asked = NextCamerasRequest("camera-0", ZERO_US, 1, speed, 3600 * SECOND, limit=limit)
        found = next_cameras(directory, asked)
        return len(found.items), found.remaining, [each.code for each in found.notices("top")]

    assert ask(4, 10) == (4, 0, [])
    # The fourth stands much farther away than the three.
    assert ask(3, 10) == (3, 1, [])
    assert ask(1, 10) == (1, 2, [])
    # 108 km can be reached, and 100 km are looked at.
    assert ask(100, 30) == (4, 0, ["truncated"])
    # Who wants the nearest one alone has it.
    assert ask(1, 30) == (1, 2, [])
