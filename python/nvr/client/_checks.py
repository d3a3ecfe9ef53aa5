"""What an administrator gives of a camera, checked before it travels."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from nvr.errors import InvalidArgument
from nvr.footage.types import Place

_NAME = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
_MAX_TITLE = 200
_MAX_URL = 2000


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
    if parts.scheme not in {"rtsp", "rtsps"} or not parts.hostname or not port_is_right:
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
