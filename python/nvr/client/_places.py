"""Places, lengths and speeds as callers give them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from nvr.errors import InvalidArgument
from nvr.footage.checks import checked_place
from nvr.footage.places import Circle, Corridor, InArea, LooksAt, Named, Polygon, Where
from nvr.footage.types import Place

PlaceLike = Place | tuple[float, float]
"""A place, or (latitude, longitude) in degrees."""
Length = float | str
"""Metres, or text such as ``"300m"`` and ``"1.5km"``."""
Speed = float | str
"""Metres a second, or text such as ``"40km/h"`` and ``"12m/s"``."""

_LENGTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(m|km)", re.ASCII)
_SPEED = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(m/s|km/h)", re.ASCII)
_METRES = {"m": 1.0, "km": 1000.0}
_METRES_PER_SECOND = {"m/s": 1.0, "km/h": 1 / 3.6}


def parse_length(value: Length, *, field: str) -> float:
    """Metres. Raises :exc:`nvr.errors.InvalidArgument`."""
    return _parse(value, _LENGTH, _METRES, field, 'metres, or text such as "300m" and "1.5km"')


def parse_speed(value: Speed, *, field: str) -> float:
    """Metres a second. Raises :exc:`nvr.errors.InvalidArgument`."""
    return _parse(value, _SPEED, _METRES_PER_SECOND, field, 'metres a second, or text such as "40km/h"')


def _parse(
    value: float | str, shape: re.Pattern[str], units: dict[str, float], field: str, what: str
) -> float:
    if isinstance(value, str):
        match = shape.fullmatch(value.strip())
        number = float(match[1]) * units[match[2]] if match else math.nan
    else:
        number = float(value)
    # Also false for NaN.
    if not 0 < number < math.inf:
        raise InvalidArgument(f"{field}: {value!r} is not {what}", field=field)
    return number


def resolve_where(
    *,
    cameras: Sequence[str] = (),
    area: str | None = None,
    near: PlaceLike | None = None,
    radius: Length | None = None,
    polygon: Sequence[PlaceLike] | None = None,
    along: Sequence[PlaceLike] | None = None,
    width: Length | None = None,
    looks_at: PlaceLike | None = None,
) -> Where | None:
    """Which cameras a caller means; None: all. Raises :exc:`nvr.errors.InvalidArgument`."""
    if isinstance(cameras, str):
        raise InvalidArgument("cameras: a list of names, not one name", field="cameras")
    given = {
        "cameras": bool(cameras),
        "area": area is not None,
        "near": near is not None,
        "polygon": polygon is not None,
        "along": along is not None,
        "looks_at": looks_at is not None,
    }
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        raise InvalidArgument(f"give one place, not {' and '.join(named)}", field=named[1])
    for name, value, of, of_value in (("radius", radius, "near", near), ("width", width, "along", along)):
        if (value is None) != (of_value is None):
            raise InvalidArgument(f"{of} and {name} go together", field=name if value is None else of)
    if cameras:
        return Named(tuple(cameras))
    if area is not None:
        if not area.strip():
            raise InvalidArgument("area: a code or a name", field="area")
        return InArea(area)
    if near is not None and radius is not None:
        return Circle(_place(near), parse_length(radius, field="radius"))
    if polygon is not None:
        if len(polygon) < 3:
            raise InvalidArgument("polygon: it has at least three corners", field="polygon")
        return Polygon(tuple(map(_place, polygon)))
    if along is not None and width is not None:
        if len(along) < 2:
            raise InvalidArgument("along: a line has at least two points", field="along")
        return Corridor(tuple(map(_place, along)), parse_length(width, field="width"))
    return None if looks_at is None else LooksAt(_place(looks_at))


def _place(value: PlaceLike) -> Place:
    place = checked_place(value)
    if place is None:
        raise InvalidArgument("a place is (latitude, longitude) in degrees", field="place")
    return place
