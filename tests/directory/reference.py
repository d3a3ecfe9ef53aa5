"""What lies where, by other means than the code's own: slow, and plain to see.

Each answer is None where it is so near to the border that rounding decides.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from nvr.footage.places import Circle, Corridor, LooksAt, Polygon
from nvr.footage.types import Place, View

RADIUS_M = 6_371_008.8
_NEAR_M = 0.01
_NEAR_DEG = 0.1
_UNTOLD_REACH_M = 50.0
Vector = tuple[float, float, float]
Point = tuple[float, float]


def _vector(place: Place) -> Vector:
    latitude, longitude = math.radians(place.latitude), math.radians(place.longitude)
    return (
        math.cos(latitude) * math.cos(longitude),
        math.cos(latitude) * math.sin(longitude),
        math.sin(latitude),
    )


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def distance_m(a: Place, b: Place) -> float:
    """Along the great circle: by the angle between two directions from the earth's middle."""
    u, v = _vector(a), _vector(b)
    across = _cross(u, v)
    return RADIUS_M * math.atan2(math.sqrt(_dot(across, across)), _dot(u, v))


def bearing_deg(a: Place, b: Place) -> float:
    """By the parts of the way that go north and east where it begins."""
    u, v = _vector(a), _vector(b)
    east = _cross((0.0, 0.0, 1.0), u)
    north = _cross(u, east)
    return math.degrees(math.atan2(_dot(v, east), _dot(v, north))) % 360


def _flat(places: Sequence[Place], place: Place) -> Point:
    """Metres on a flat map around the middle of some places, as ``docs/queries.md`` has it."""
    latitudes = [each.latitude for each in places]
    longitudes = [each.longitude for each in places]
    latitude = (min(latitudes) + max(latitudes)) / 2
    longitude = (min(longitudes) + max(longitudes)) / 2
    metres = math.radians(1) * RADIUS_M
    return (
        (place.longitude - longitude) * metres * math.cos(math.radians(latitude)),
        (place.latitude - latitude) * metres,
    )


def _from_segment_m(point: Point, start: Point, end: Point) -> float:
    """By thirds: the distance to the points of a segment falls, and then it rises."""

    def off_m(part: float) -> float:
        x, y = start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part
        return math.dist(point, (x, y))

    low, high = 0.0, 1.0
    for _ in range(100):
        third = (high - low) / 3
        if off_m(low + third) < off_m(high - third):
            high -= third
        else:
            low += third
    return off_m((low + high) / 2)


def _turned(point: Point, corners: Sequence[Point]) -> int:
    """How often who looks from a point along the edges turns around."""
    angle = 0.0
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        a = math.atan2(start[1] - point[1], start[0] - point[0])
        b = math.atan2(end[1] - point[1], end[0] - point[0])
        angle += (b - a + math.pi) % (2 * math.pi) - math.pi
    return round(angle / (2 * math.pi))


def within(off: float, most: float, near: float = _NEAR_M) -> bool | None:
    """Whether it is no more than the most."""
    return None if abs(off - most) <= near else off < most


def holds(where: Circle | Polygon | Corridor, place: Place) -> bool | None:
    """Whether a place lies in a shape. Of a polygon whose edges cross: by the even-odd rule."""
    match where:
        case Circle():
            return within(distance_m(where.center, place), where.radius_m)
        case Corridor():
            line = [_flat(where.points, each) for each in where.points]
            point = _flat(where.points, place)
            off_m = min(_from_segment_m(point, *edge) for edge in pairwise(line))
            return within(off_m, where.width_m / 2)
        case Polygon():
            corners = [_flat(where.corners, each) for each in where.corners]
            point = _flat(where.corners, place)
            edges = list(zip(corners, [*corners[1:], corners[0]], strict=True))
            if min(_from_segment_m(point, *edge) for edge in edges) <= _NEAR_M:
                return None
            # Each turn crosses a ray once more than back: the parities are the same.
            return _turned(point, corners) % 2 == 1


def sees(place: Place, view: View, where: LooksAt) -> bool | None:
    """Whether a camera's angle and reach hold a point."""
    metres = distance_m(place, where.point)
    near = within(metres, view.reach_m or _UNTOLD_REACH_M)
    if near is not True:
        return near
    if metres <= _NEAR_M:
        return None
    bearing = bearing_deg(place, where.point)
    off_deg = min((bearing - view.direction_deg) % 360, (view.direction_deg - bearing) % 360)
    return True if view.angle_deg >= 360 else within(off_deg, view.angle_deg / 2, _NEAR_DEG)
