"""Administration of a node's cameras: the contract, and its settings without a word of their passwords."""

import re
from dataclasses import dataclass, replace
from typing import Protocol
from urllib.parse import unquote, urlsplit

from nvr.errors import InvalidArgument
from nvr.footage.types import Camera, OwnerKind, Place, ReadContext, View

__all__ = [
    "MASK",
    "CameraAdmin",
    "CameraChanges",
    "CameraSettings",
    "mask_password",
    "restore_password",
    "view_of",
]

MASK = "***"
_LOGIN = re.compile(r"^((?:[a-z][a-z0-9+.-]*://)?[^:@/]*:)(?!//).*@", re.DOTALL | re.IGNORECASE)
# Cameras of many makes take the login in the path or the query instead.
_IN_QUERY = re.compile(r"(?i)((?:password|passwd|passwort|passphrase|pass|pwd|token)=)([^&/?#]*)")


def mask_password(url: str) -> str:
    """The address with every password in it replaced by ``***``.

    Hides too much rather than too little: all between the user's colon and the
    last ``@``, since people write passwords with ``/`` and ``@`` unescaped.
    """
    masked = _LOGIN.sub(rf"\g<1>{MASK}@", url)
    return _IN_QUERY.sub(rf"\g<1>{MASK}", masked)


def restore_password(url: str, stored: str, *, field: str = "main_url") -> str:
    """A masked address that was sent back, with the password that is stored.

    The password goes only to the host and user that it was given for: else
    whoever may change an address could have it sent to a host of theirs.
    Raises :exc:`InvalidArgument` when ``***`` stands for nothing.
    """
    if MASK not in url:
        return url
    if stored and url == mask_password(stored):
        return stored
    new, old = _split(url, field), _split(stored, field)
    if new[0] == MASK and old[0] and new[1:] == old[1:]:
        changed = url.replace(f":{MASK}@", f":{old[0]}@", 1)
        if MASK not in changed:
            return changed
    raise InvalidArgument(
        f"{field}: *** keeps a stored password only for the same user, host and port: give it again",
        field=field,
    )


def _split(url: str, field: str) -> tuple[str, str, str, int | None]:
    """Password as written, user, host, port."""
    try:
        parts = urlsplit(url)
        userinfo = parts.netloc.rpartition("@")[0]
        password = userinfo.partition(":")[2]
        return password, unquote(parts.username or ""), parts.hostname or "", parts.port
    except ValueError:
        # The message of urlsplit may quote the address.
        raise InvalidArgument(f"{field} is not an address such as rtsp://host/path", field=field) from None


@dataclass(frozen=True, slots=True, repr=False)
class CameraSettings:
    """How a node records a camera. Addresses may hold passwords; ``repr`` shows none."""

    name: str
    main_url: str
    sub_url: str = ""
    title: str = ""
    place: Place | None = None
    enabled: bool = True
    height_m: float | None = None
    """Of the lens over the ground."""
    view: View | None = None
    area: str = ""
    owner: OwnerKind = OwnerKind.UNKNOWN

    def masked(self) -> "CameraSettings":
        """With ``***`` for every password."""
        return replace(self, main_url=mask_password(self.main_url), sub_url=mask_password(self.sub_url))

    def __repr__(self) -> str:
        return (
            f"CameraSettings(name={self.name!r}, main_url={mask_password(self.main_url)!r}, "
            f"sub_url={mask_password(self.sub_url)!r}, title={self.title!r}, place={self.place!r}, "
            f"enabled={self.enabled!r}, height_m={self.height_m!r}, view={self.view!r}, "
            f"area={self.area!r}, owner={self.owner!r})"
        )


def view_of(direction_deg: float | None, angle_deg: float | None, reach_m: float | None) -> View | None:
    """A view from its parts; None when none is given.

    Raises :exc:`InvalidArgument` where the direction or the angle is missing.
    """
    if direction_deg is None and angle_deg is None and reach_m is None:
        return None
    for field, value in (("direction_deg", direction_deg), ("angle_deg", angle_deg)):
        if value is None:
            raise InvalidArgument(
                f"{field}: missing; a view has direction and angle, and may have a reach", field=field
            )
    return View(direction_deg or 0.0, angle_deg or 0.0, reach_m or 0.0)


@dataclass(frozen=True, slots=True, repr=False)
class CameraChanges:
    """What to change of a camera; None: leave as it is.

    ``sub_url=""`` removes the sub-stream, ``area=""`` the area.
    """

    name: str | None = None
    title: str | None = None
    main_url: str | None = None
    sub_url: str | None = None
    place: Place | None = None
    clear_place: bool = False
    enabled: bool | None = None
    height_m: float | None = None
    view: View | None = None
    clear_view: bool = False
    area: str | None = None
    owner: OwnerKind | None = None

    def __repr__(self) -> str:
        main_url = None if self.main_url is None else mask_password(self.main_url)
        sub_url = None if self.sub_url is None else mask_password(self.sub_url)
        return (
            f"CameraChanges(name={self.name!r}, title={self.title!r}, main_url={main_url!r}, "
            f"sub_url={sub_url!r}, place={self.place!r}, clear_place={self.clear_place!r}, "
            f"enabled={self.enabled!r}, height_m={self.height_m!r}, view={self.view!r}, "
            f"clear_view={self.clear_view!r}, area={self.area!r}, owner={self.owner!r})"
        )

    def apply(self, settings: CameraSettings) -> CameraSettings:
        """The settings after the change, masked passwords restored. Raises :exc:`InvalidArgument`."""
        main_url = settings.main_url
        if self.main_url is not None:
            main_url = restore_password(self.main_url, settings.main_url)
        sub_url = settings.sub_url
        if self.sub_url is not None:
            sub_url = restore_password(self.sub_url, settings.sub_url, field="sub_url")
        return CameraSettings(
            name=settings.name if self.name is None else self.name,
            main_url=main_url,
            sub_url=sub_url,
            title=settings.title if self.title is None else self.title,
            place=None if self.clear_place else self.place or settings.place,
            enabled=settings.enabled if self.enabled is None else self.enabled,
            height_m=settings.height_m if self.height_m is None else self.height_m,
            view=None if self.clear_view else self.view or settings.view,
            area=settings.area if self.area is None else self.area,
            owner=settings.owner if self.owner is None else self.owner,
        )


class CameraAdmin(Protocol):
    """Adds, changes and removes a node's cameras while it records. A camera is named by id or name.

    Raises ``nvr.errors``: :exc:`CameraExists`, :exc:`CameraNotFound`,
    :exc:`AmbiguousCamera`, :exc:`InvalidArgument`. ``dry_run`` checks the same
    and changes nothing.
    """

    async def add_camera(
        self, context: ReadContext, settings: CameraSettings, *, dry_run: bool = False
    ) -> Camera:
        """The camera, recording; its id is empty on a dry run."""

    async def update_camera(
        self, context: ReadContext, camera: str, changes: CameraChanges, *, dry_run: bool = False
    ) -> Camera:
        """The camera as it is now (on a dry run: as it would be)."""

    async def remove_camera(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> str:
        """The id by which its footage can still be read."""

    async def get_camera(self, context: ReadContext, camera: str) -> tuple[Camera, CameraSettings]:
        """The camera and its settings; passwords need not be masked here, the server does it."""
