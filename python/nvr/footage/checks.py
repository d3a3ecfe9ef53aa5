"""What an administrator gives of a camera, checked before it travels."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from nvr.errors import InvalidArgument
from nvr.footage.types import OwnerKind, Place, View

_NAME = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
_AREA = re.compile(r"[A-Za-z0-9._-]{0,63}")
_MAX_TITLE = 200
_MAX_URL = 2000
_FROM_A_HOST = ("rtsp", "rtspu", "http", "https", "rtmp", "rtmps", "srt", "tcp", "udp")
_ON_THE_NODE = ("file", "v4l2")

ViewLike = View | tuple[float, ...]
"""A view, or (direction, angle) in degrees, or (direction, angle, reach) with metres."""
OwnerLike = OwnerKind | Literal["unknown", "state", "household", "organisation"]
"""Whose a camera is."""


def checked_url(url: str, field: str) -> str:
    """The address of a stream; raises :exc:`nvr.errors.InvalidArgument`, whose message never quotes it."""
    shape = "rtsp://user:password@host:port/path"
    if len(url) > _MAX_URL:
        raise InvalidArgument(f"{field}: the address is longer than {_MAX_URL} characters", field=field)
    try:
        parts = urlsplit(url)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
        parts = urlsplit("")
    has_place = parts.path.startswith("/") if parts.scheme in _ON_THE_NODE else parts.hostname
    if parts.scheme not in (*_FROM_A_HOST, *_ON_THE_NODE) or not has_place or not port_is_right:
        raise InvalidArgument(
            f"{field}: not an address such as {shape} (special characters of a password as %XX)", field=field
        )
    return url


def checked_name(name: str) -> str:
    """A camera's name; raises :exc:`nvr.errors.InvalidArgument`."""
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"name: {name[:80]!r} is not 1 to 63 of the characters a-z, 0-9 and - (a title may have any)",
            field="name",
        )
    return name


def checked_title(title: str) -> str:
    """A camera's title; raises :exc:`nvr.errors.InvalidArgument`."""
    if len(title) > _MAX_TITLE:
        raise InvalidArgument(f"title: longer than {_MAX_TITLE} characters", field="title")
    return title


def checked_place(place: Place | tuple[float, float] | None) -> Place | None:
    """A place, or (latitude, longitude) in degrees; raises :exc:`nvr.errors.InvalidArgument`."""
    if place is None:
        return None
    latitude, longitude = (place.latitude, place.longitude) if isinstance(place, Place) else place
    if not -90 <= latitude <= 90:
        raise InvalidArgument(
            f"lat: {latitude} is not between -90 and 90 degrees north", field="place.latitude"
        )
    if not -180 <= longitude <= 180:
        raise InvalidArgument(
            f"lon: {longitude} is not between -180 and 180 degrees east", field="place.longitude"
        )
    return Place(latitude, longitude)


def checked_height(height_m: float | None) -> float | None:
    """Metres over the ground; raises :exc:`nvr.errors.InvalidArgument`."""
    if height_m is not None and not -500 <= height_m <= 9000:
        raise InvalidArgument(f"height_m: {height_m} is not between -500 and 9,000 metres", field="height_m")
    return height_m


def checked_view(view: ViewLike | None) -> View | None:
    """Where a camera looks; raises :exc:`nvr.errors.InvalidArgument`."""
    if view is None:
        return None
    if not isinstance(view, View):
        if len(view) not in (2, 3):
            raise InvalidArgument("view: (direction, angle) or (direction, angle, reach)", field="view")
        view = View(*view)
    for name, value, least, most in (
        ("direction_deg", view.direction_deg, 0, 360),
        ("angle_deg", view.angle_deg, 1, 360),
        ("reach_m", view.reach_m, 0, 20_000),
    ):
        if not least <= value <= most:
            raise InvalidArgument(f"{name}: {value} is not between {least} and {most}", field=f"view.{name}")
    return view


def checked_area(area: str) -> str:
    """Code of an area; raises :exc:`nvr.errors.InvalidArgument`."""
    if not _AREA.fullmatch(area):
        raise InvalidArgument(
            f"area: {area[:80]!r} is not a code: at most 63 of A-Z a-z 0-9 . _ -", field="area"
        )
    return area


def checked_owner(owner: OwnerKind | str) -> OwnerKind:
    """Whose a camera is; raises :exc:`nvr.errors.InvalidArgument`."""
    try:
        return OwnerKind(owner)
    except ValueError:
        known = ", ".join(kind.value for kind in OwnerKind)
        raise InvalidArgument(f"owner: {str(owner)[:40]!r} is none of {known}", field="owner") from None
