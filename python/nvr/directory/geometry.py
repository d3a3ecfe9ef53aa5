"""Places on the ground: distances, directions, and what lies within what.

WGS 84 degrees on a sphere of the earth's mean radius: off by at most 0.6 %,
which is less than cameras' places are known. Polygons and lines are taken on a
flat map around their middle (equirectangular), good for some hundred kilometres.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from nvr.errors import InvalidArgument, LimitExceeded
from nvr.footage.places import Circle, Corridor, LooksAt, Polygon
from nvr.footage.types import Place, View

__all__ = ["Box", "Shape", "bearing_deg", "distance_m", "sees", "shape_of", "view_box"]

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (IUGG)."""
DEFAULT_REACH_M = 50.0
"""How far a camera is taken to show enough to be of use, where that is not told."""
_METRES_PER_DEGREE = math.radians(1) * EARTH_RADIUS_M
_EDGE_M = 1e-3
"""What is so near to a polygon's edge is on it."""
_MOST_BOXES = 64
_MOST_COMPARED = 40_000_000
"""Pairs of an edge and a camera at its height."""


@dataclass(frozen=True, slots=True)
class Box:
    """Bounds in degrees. ``west`` may be greater than ``east``: it crosses the 180th meridian."""

    south: float
    north: float
    west: float
    east: float

    def parts(self) -> list["Box"]:
        """One or two boxes that do not cross the 180th meridian."""
        if self.west <= self.east:
            return [self]
        return [Box(self.south, self.north, self.west, 180), Box(self.south, self.north, -180, self.east)]


def distance_m(a: Place, b: Place) -> float:
    """Along the great circle (haversine)."""
    lat_a, lat_b = math.radians(a.latitude), math.radians(b.latitude)
    half_lat = (lat_b - lat_a) / 2
    half_lon = math.radians(b.longitude - a.longitude) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, h)))


def bearing_deg(a: Place, b: Place) -> float:
    """Direction in which ``b`` lies from ``a``: degrees clockwise from north, 0 to 360."""
    lat_a, lat_b = math.radians(a.latitude), math.radians(b.latitude)
    lon = math.radians(b.longitude - a.longitude)
    east = math.sin(lon) * math.cos(lat_b)
    north = math.cos(lat_a) * math.sin(lat_b) - math.sin(lat_a) * math.cos(lat_b) * math.cos(lon)
    return math.degrees(math.atan2(east, north)) % 360


def around(center: Place, radius_m: float) -> Box:
    """Bounds of a circle; at a pole all meridians."""
    angle = radius_m / EARTH_RADIUS_M * (1 + 1e-9)
    degrees = math.degrees(angle) + 1e-9
    south, north = center.latitude - degrees, center.latitude + degrees
    if south <= -90 or north >= 90:
        return Box(max(south, -90), min(north, 90), -180, 180)
    # The widest place of the circle is nearer to the pole than its middle.
    wide = math.degrees(math.asin(min(1.0, math.sin(angle) / math.cos(math.radians(center.latitude))))) + 1e-9
    if wide >= 180:
        return Box(south, north, -180, 180)
    return Box(south, north, _wrapped(center.longitude - wide), _wrapped(center.longitude + wide))


def _wrapped(longitude: float) -> float:
    return longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180


class Shape(Protocol):
    """A part of the ground."""

    @property
    def boxes(self) -> Sequence[Box]:
        """Bounds: what lies in none of them is not in the shape."""

    @property
    def middle(self) -> Place:
        """Where distances are measured from."""

    def holds(self, places: Sequence[Place]) -> Sequence[bool]:
        """Of each place, whether it lies within."""


def shape_of(where: Circle | Polygon | Corridor | LooksAt) -> Shape:
    """The shape that a question names. Raises :exc:`InvalidArgument` for one that encloses nothing."""
    match where:
        case Circle():
            return _Circle(where.center, where.radius_m)
        case Polygon():
            return _Polygon(where.corners)
        case Corridor():
            return _Corridor(where.points, where.width_m / 2)
        case LooksAt():
            return _Circle(where.point, 0.0)


class _Circle:
    def __init__(self, center: Place, radius_m: float) -> None:
        self.middle = center
        self._radius_m = radius_m
        self.boxes = [around(center, radius_m)]

    def holds(self, places: Sequence[Place]) -> Sequence[bool]:
        return [distance_m(self.middle, place) <= self._radius_m for place in places]


Point = tuple[float, float]
"""Metres east and north of a map's middle."""
Edge = tuple[Point, Point]


class _Map:
    """A flat map around the middle of some places."""

    def __init__(self, places: Sequence[Place]) -> None:
        self.box = _bounds(places)
        if self.box.east - self.box.west > 180:
            raise InvalidArgument("where: the shape crosses the 180th meridian; ask in two", field="where")
        self.middle = Place((self.box.south + self.box.north) / 2, (self.box.west + self.box.east) / 2)
        self._east_m = _METRES_PER_DEGREE * math.cos(math.radians(self.middle.latitude))

    def point(self, place: Place) -> Point:
        east = (place.longitude - self.middle.longitude) * self._east_m
        return east, (place.latitude - self.middle.latitude) * _METRES_PER_DEGREE

    def wider(self, box: Box, metres: float) -> Box:
        """A box, so much wider on each side."""
        lat = metres / _METRES_PER_DEGREE + 1e-9
        lon = metres / max(self._east_m, 1e-6) + 1e-9
        return Box(
            max(box.south - lat, -90),
            min(box.north + lat, 90),
            max(box.west - lon, -180),
            min(box.east + lon, 180),
        )


class _Polygon:
    def __init__(self, corners: Sequence[Place]) -> None:
        self._map = _Map(corners)
        self.boxes, self.middle = [self._map.wider(self._map.box, _EDGE_M)], self._map.middle
        points = [self._map.point(corner) for corner in corners]
        if len(set(points)) < 3:
            raise InvalidArgument("where.polygon: it has fewer than three corners", field="where.polygon")
        self._edges = list(zip(points, [*points[1:], points[0]], strict=True))

    def holds(self, places: Sequence[Place]) -> Sequence[bool]:
        """Even-odd rule: a ray to the east crosses the edges an odd number of times; edges belong to it."""
        on_edge, inside = _against(self._edges, [self._map.point(each) for each in places], _EDGE_M)
        return [on or odd for on, odd in zip(on_edge, inside, strict=True)]


class _Corridor:
    def __init__(self, points: Sequence[Place], half_m: float) -> None:
        self._map = _Map(points)
        self._half_m = half_m
        self.middle = self._map.middle
        line = [self._map.point(point) for point in points]
        self._edges = list(pairwise(line))
        self.boxes = [self._map.wider(box, half_m) for box in _along(points, self._edges, half_m)]

    def holds(self, places: Sequence[Place]) -> Sequence[bool]:
        return _against(self._edges, [self._map.point(each) for each in places], self._half_m)[0]


def _along(points: Sequence[Place], edges: Sequence[Edge], half_m: float) -> list[Box]:
    """Bounds of some stretches of a line: those of all of it hold much that is far from it."""
    lengths = [math.dist(a, b) for a, b in edges]
    step_m = max(4 * half_m, sum(lengths) / _MOST_BOXES, 1.0)
    boxes: list[Box] = []
    stretch, length_m = [points[0]], 0.0
    for start, end, edge_m in zip(points, points[1:], lengths, strict=False):
        cuts = max(1, math.ceil(edge_m / step_m))
        for cut in range(1, cuts + 1):
            part = cut / cuts
            stretch.append(
                Place(
                    start.latitude + (end.latitude - start.latitude) * part,
                    start.longitude + (end.longitude - start.longitude) * part,
                )
            )
            length_m += edge_m / cuts
            if length_m >= step_m:
                boxes.append(_bounds(stretch))
                stretch, length_m = [stretch[-1]], 0.0
    if len(stretch) > 1 or not boxes:
        boxes.append(_bounds(stretch))
    return boxes


def _bounds(places: Sequence[Place]) -> Box:
    latitudes = [place.latitude for place in places]
    longitudes = [place.longitude for place in places]
    return Box(min(latitudes), max(latitudes), min(longitudes), max(longitudes))


def _against(edges: Sequence[Edge], points: Sequence[Point], near_m: float) -> tuple[list[bool], list[bool]]:
    """Of each point: whether it is so near to an edge; whether edges are crossed odd times east of it.

    A thousand edges and all cameras of a province are compared within a second: for
    each edge, only the points at its height. Raises :exc:`LimitExceeded` beyond that.
    """
    import numpy as np

    if not points:
        return [], []
    at = np.array(points)
    order = np.argsort(at[:, 1], kind="stable")
    x, y = at[order, 0], at[order, 1]
    lines = np.array(edges).reshape(-1, 4)
    low = np.minimum(lines[:, 1], lines[:, 3]) - near_m
    high = np.maximum(lines[:, 1], lines[:, 3]) + near_m
    first, last = np.searchsorted(y, low, "left"), np.searchsorted(y, high, "right")
    if int((last - first).sum()) > _MOST_COMPARED:
        raise LimitExceeded(
            "where: the shape has too many corners for so many cameras: fewer corners, or a smaller shape",
            field="where",
            facts={"limit": "compared", "value": str(_MOST_COMPARED)},
        )
    near = np.zeros(len(points), dtype=bool)
    odd = np.zeros(len(points), dtype=bool)
    for (x1, y1, x2, y2), begin, end in zip(lines.tolist(), first.tolist(), last.tolist(), strict=True):
        if begin == end:
            continue
        xs, ys = x[begin:end], y[begin:end]
        dx, dy = x2 - x1, y2 - y1
        length = dx * dx + dy * dy
        along = np.clip(((xs - x1) * dx + (ys - y1) * dy) / length, 0, 1) if length else np.zeros_like(xs)
        near[begin:end] |= np.hypot(xs - (x1 + along * dx), ys - (y1 + along * dy)) <= near_m
        if dy:
            crossed = ((y1 > ys) != (y2 > ys)) & (xs < dx * (ys - y1) / dy + x1)
            odd[begin:end] ^= crossed
    back = np.empty_like(order)
    back[order] = np.arange(len(points))
    return near[back].tolist(), odd[back].tolist()


def sees(place: Place, view: View, point: Place) -> bool:
    """Whether a camera at a place, looking so, shows a point."""
    if distance_m(place, point) > (view.reach_m or DEFAULT_REACH_M):
        return False
    if view.angle_deg >= 360 or place == point:
        return True
    off = abs((bearing_deg(place, point) - view.direction_deg + 180) % 360 - 180)
    return off <= view.angle_deg / 2


def view_box(place: Place, view: View) -> Box:
    """Bounds of what a camera shows."""
    return around(place, view.reach_m or DEFAULT_REACH_M)
