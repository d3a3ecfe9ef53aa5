"""Distances, directions and shapes on the ground."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nvr.directory import geometry
from nvr.directory.geometry import Box, Shape, bearing_deg, distance_m, sees, shape_of
from nvr.errors import InvalidArgument, LimitExceeded
from nvr.footage.places import Circle, Corridor, LooksAt, Polygon
from nvr.footage.types import Place, View
from tests.directory import reference

anywhere = st.builds(Place, st.floats(-90, 90), st.floats(-180, 180))
HERE = Place(19.9, 105.9)
DEGREE_M = math.radians(1) * geometry.EARTH_RADIUS_M


def moved(place: Place, north_m: float, east_m: float) -> Place:
    """So many metres away, for short ways."""
    east = east_m / (DEGREE_M * math.cos(math.radians(place.latitude)))
    return Place(place.latitude + north_m / DEGREE_M, place.longitude + east)


def in_box(boxes: Sequence[Box], place: Place) -> bool:
    return any(
        part.south <= place.latitude <= part.north and part.west <= place.longitude <= part.east
        for box in boxes
        for part in box.parts()
    )


def holds(shape: Shape, place: Place) -> bool:
    (answer,) = shape.holds([place])
    return answer


def test_known_distances_and_directions() -> None:
    # Hà Nội to Thanh Hóa, and a quarter of a meridian.
    assert distance_m(Place(21.0285, 105.8542), Place(19.8067, 105.7852)) == pytest.approx(136_050, rel=1e-3)
    assert distance_m(Place(0, 0), Place(90, 0)) == pytest.approx(10_007_557, rel=1e-6)
    assert distance_m(Place(0, 179.5), Place(0, -179.5)) == pytest.approx(DEGREE_M, rel=1e-9)
    assert bearing_deg(HERE, moved(HERE, 100, 0)) == pytest.approx(0, abs=1e-6)
    assert bearing_deg(HERE, moved(HERE, 0, 100)) == pytest.approx(90, abs=1e-3)
    assert bearing_deg(HERE, moved(HERE, -100, -100)) == pytest.approx(225, abs=1e-2)


@given(anywhere, anywhere)
def test_distance_is_the_same_both_ways_and_bounded(a: Place, b: Place) -> None:
    assert distance_m(a, b) == pytest.approx(distance_m(b, a), abs=1e-6)
    assert 0 <= distance_m(a, b) <= math.pi * geometry.EARTH_RADIUS_M + 1
    assert 0 <= bearing_deg(a, b) < 360 or math.isclose(bearing_deg(a, b), 360)


@given(anywhere, anywhere, st.floats(1, 5_000_000))
def test_a_circle_lies_within_its_box(center: Place, place: Place, radius_m: float) -> None:
    shape = shape_of(Circle(center, radius_m))
    assert holds(shape, place) == (distance_m(center, place) <= radius_m)
    if holds(shape, place):
        assert in_box(shape.boxes, place)


@given(st.floats(-200, 200), st.floats(-200, 200))
def test_a_square(north_m: float, east_m: float) -> None:
    assume(abs(abs(north_m) - 100) > 0.1)
    assume(abs(abs(east_m) - 100) > 0.1)
    corners = [moved(HERE, n, e) for n, e in ((-100, -100), (-100, 100), (100, 100), (100, -100))]
    shape = shape_of(Polygon(corners))
    place = moved(HERE, north_m, east_m)
    assert holds(shape, place) == (abs(north_m) < 100 and abs(east_m) < 100)
    if holds(shape, place):
        assert in_box(shape.boxes, place)


def test_a_polygon_with_a_bay() -> None:
    corners = [moved(HERE, n, e) for n, e in ((0, 0), (0, 300), (200, 300), (50, 150), (200, 0))]
    shape = shape_of(Polygon(corners))
    assert holds(shape, moved(HERE, 20, 150))
    assert not holds(shape, moved(HERE, 100, 150))
    assert holds(shape, moved(HERE, 100, 20))


@given(st.floats(-300, 300), st.floats(-300, 300), st.floats(2, 200))
def test_a_corridor(north_m: float, east_m: float, width_m: float) -> None:
    """Along a line of 200 m to the north."""
    shape = shape_of(Corridor([moved(HERE, 0, 0), moved(HERE, 200, 0)], width_m))
    off = math.hypot(east_m, max(0.0, -north_m, north_m - 200))
    assume(abs(off - width_m / 2) > 0.1)
    place = moved(HERE, north_m, east_m)
    assert holds(shape, place) == (off < width_m / 2)
    if holds(shape, place):
        assert in_box(shape.boxes, place)


@given(st.floats(0, 359.9), st.floats(1, 360), st.floats(0, 359.9), st.floats(1, 120))
def test_a_camera_sees_what_lies_in_its_angle_and_reach(
    direction: float, angle: float, of: float, far_m: float
) -> None:
    off = abs((of - direction + 180) % 360 - 180)
    assume(abs(off - angle / 2) > 0.1)
    assume(abs(far_m - 100) > 0.1)
    point = moved(HERE, far_m * math.cos(math.radians(of)), far_m * math.sin(math.radians(of)))
    view = View(direction, angle, 100)
    assert sees(HERE, view, point) == (far_m < 100 and (off < angle / 2 or angle >= 360))
    if sees(HERE, view, point):
        assert in_box([geometry.view_box(HERE, view)], point)


def test_a_reach_that_nobody_told_is_fifty_metres() -> None:
    assert sees(HERE, View(0, 90), moved(HERE, 49, 0))
    assert not sees(HERE, View(0, 90), moved(HERE, 51, 0))


@pytest.mark.parametrize(
    "where",
    [Polygon([HERE, HERE, HERE]), Polygon([Place(0, -100), Place(1, 100), Place(2, 0)])],
)
def test_shapes_that_are_none(where: Polygon) -> None:
    with pytest.raises(InvalidArgument):
        shape_of(where)


near = st.builds(Place, st.floats(19.5, 20.5), st.floats(105, 106.5))


@given(st.lists(near, min_size=2, max_size=8), st.floats(10, 5000), st.lists(near, max_size=20))
def test_many_places_are_compared_as_each_alone(
    line: list[Place], width_m: float, places: list[Place]
) -> None:
    shapes: list[Shape] = [shape_of(Corridor(line, width_m))]
    if len(set(line)) >= 3:
        shapes.append(shape_of(Polygon(line)))
    for shape in shapes:
        found = list(shape.holds(places))
        assert found == [holds(shape, place) for place in places]
        assert all(in_box(shape.boxes, place) for place, held in zip(places, found, strict=True) if held)


shapes = st.one_of(
    st.builds(Circle, near, st.floats(1, 100_000)),
    # Corners in any order: edges may cross.
    st.builds(Polygon, st.lists(near, min_size=3, max_size=9, unique=True)),
    st.builds(Corridor, st.lists(near, min_size=2, max_size=6), st.floats(10, 20_000)),
)


@given(shapes, st.lists(near, max_size=20))
def test_a_shape_holds_what_another_way_of_reckoning_says(
    where: Circle | Polygon | Corridor, places: list[Place]
) -> None:
    try:
        shape = shape_of(where)
    except InvalidArgument:
        assert isinstance(where, Polygon)
        return
    for place, held in zip(places, shape.holds(places), strict=True):
        expected = reference.holds(where, place)
        assert expected in (held, None)


@given(near, st.floats(0, 360), st.floats(1, 360), st.sampled_from([0.0, 30.0, 20_000.0]), near)
def test_a_camera_sees_what_another_way_of_reckoning_says(
    place: Place, direction: float, angle: float, reach_m: float, point: Place
) -> None:
    view = View(direction, angle, reach_m)
    assert reference.sees(place, view, LooksAt(point)) in (sees(place, view, point), None)
    close = moved(place, point.latitude - 20, point.longitude - 105)
    assert reference.sees(place, view, LooksAt(close)) in (sees(place, view, close), None)


def test_the_boxes_of_a_road_are_near_it() -> None:
    road = shape_of(Corridor([Place(19.5, 105), Place(20.5, 106)], 100))
    area = sum((box.north - box.south) * (box.east - box.west) for box in road.boxes)
    assert area < 0.05
    assert not in_box(road.boxes, Place(20.4, 105.1))


def test_a_shape_that_would_keep_the_node_busy_is_refused() -> None:
    zigzag = [Place(19.5 + index % 2, 105 + index / 1000) for index in range(1000)]
    places = [Place(20, 105.5)] * 50_000
    for where in (Polygon(zigzag), Corridor(zigzag, 10)):
        with pytest.raises(LimitExceeded) as caught:
            shape_of(where).holds(places)
        assert caught.value.facts["limit"] == "compared"
