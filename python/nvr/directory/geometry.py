"""Places on the ground: distances, directions, and what lies within what.

WGS 84 degrees on a sphere of the earth's mean radius: off by at most 0.6 %,
which is less than cameras' places are known. Polygons and lines are taken on a
flat map around their middle (equirectangular), good for some hundred kilometres.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nvr.errors import InvalidArgument
from nvr.footage.places import Circle, Corridor, LooksAt, Polygon
from nvr.footage.types import Place, View

__all__ = ["Box", "Shape", "bearing_deg", "distance_m", "sees", "shape_of", "view_box"]

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius (IUGG)."""
DEFAULT_REACH_M = 50.0
"""How far a camera is taken to show enough to be of use, where that is not told."""
_METRES_PER_DEGREE = math.radians(1) * EARTH_RADIUS_M


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
    def box(self) -> Box:
        """Bounds."""

    @property
    def middle(self) -> Place:
        """Where distances are measured from."""

    def holds(self, place: Place) -> bool:
        """Whether a place lies within it."""


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
        self.box = around(center, radius_m)

    def holds(self, place: Place) -> bool:
        return distance_m(self.middle, place) <= self._radius_m


Point = tuple[float, float]
"""Metres east and north of a map's middle."""


class _Map:
    """A flat map around the middle of some places."""

    def __init__(self, places: Sequence[Place]) -> None:
        latitudes = [place.latitude for place in places]
        longitudes = [place.longitude for place in places]
        self.box = Box(min(latitudes), max(latitudes), min(longitudes), max(longitudes))
        if self.box.east - self.box.west > 180:
            raise InvalidArgument("where: the shape crosses the 180th meridian; ask in two", field="where")
        self.middle = Place((self.box.south + self.box.north) / 2, (self.box.west + self.box.east) / 2)
        self._east_m = _METRES_PER_DEGREE * math.cos(math.radians(self.middle.latitude))

    def point(self, place: Place) -> Point:
        east = (place.longitude - self.middle.longitude) * self._east_m
        return east, (place.latitude - self.middle.latitude) * _METRES_PER_DEGREE

    def wider(self, metres: float) -> Box:
        """The bounds, so much wider on each side."""
        lat = metres / _METRES_PER_DEGREE
        lon = metres / max(self._east_m, 1e-6)
        box = self.box
        return Box(
            max(box.south - lat, -90),
            min(box.north + lat, 90),
            max(box.west - lon, -180),
            min(box.east + lon, 180),
        )


class _Polygon:
    def __init__(self, corners: Sequence[Place]) -> None:
        self._map = _Map(corners)
        self.box, self.middle = self._map.box, self._map.middle
        self._corners = [self._map.point(corner) for corner in corners]
        if len(set(self._corners)) < 3:
            raise InvalidArgument("where.polygon: it has fewer than three corners", field="where.polygon")

    def holds(self, place: Place) -> bool:
        """Even-odd rule: a ray to the east crosses the edges an odd number of times; edges belong to it."""
        x, y = self._map.point(place)
        inside = False
        x1, y1 = self._corners[-1]
        for x2, y2 in self._corners:
            if _from_edge_m((x, y), (x1, y1), (x2, y2)) < 1e-3:
                return True
            if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
                inside = not inside
            x1, y1 = x2, y2
        return inside


class _Corridor:
    def __init__(self, points: Sequence[Place], half_m: float) -> None:
        self._map = _Map(points)
        self._half_m = half_m
        self.box, self.middle = self._map.wider(half_m), self._map.middle
        self._points = [self._map.point(point) for point in points]

    def holds(self, place: Place) -> bool:
        at = self._map.point(place)
        edges = zip(self._points, self._points[1:], strict=False)
        return any(_from_edge_m(at, a, b) <= self._half_m for a, b in edges)


def _from_edge_m(at: Point, a: Point, b: Point) -> float:
    """Distance of a point from the straight line between two others."""
    (x, y), (x1, y1), (x2, y2) = at, a, b
    dx, dy = x2 - x1, y2 - y1
    length = dx * dx + dy * dy
    along = 0.0 if length == 0 else max(0.0, min(1.0, ((x - x1) * dx + (y - y1) * dy) / length))
    return math.hypot(x - (x1 + along * dx), y - (y1 + along * dy))


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
