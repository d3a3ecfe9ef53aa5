"""Areas, nodes and cameras of the whole network, and all of them at one version.

An entry that exists is well-formed: its constructor raises
:exc:`nvr.errors.InvalidArgument` with the field at fault and its value. Text is
kept in Unicode's NFC, without blanks at its ends or doubled within. Whether areas
form a tree is for :class:`nvr.network_catalog.areas.AreaTree` to say, whether all
entries fit together for :func:`check_catalog`.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nvr.errors import InvalidArgument
from nvr.footage.checks import checked_height, checked_place, checked_view
from nvr.footage.types import OwnerKind, Place, View

__all__ = [
    "MOST_AREAS",
    "MOST_CAMERAS",
    "MOST_DEPTH",
    "MOST_INTO",
    "MOST_NAME",
    "MOST_NODES",
    "Area",
    "CameraEntry",
    "Catalog",
    "NodeEntry",
    "RetiredArea",
    "check_catalog",
]

MOST_AREAS = 100_000
"""Areas and retired codes together. A country of 34 provinces has 3,321 communes and 90,000 hamlets."""
MOST_DEPTH = 16
"""Tiers of areas, the root's included."""
MOST_NODES = 100_000
MOST_CAMERAS = 2_000_000
MOST_INTO = 1_000
"""Areas that one retired code counts to."""
MOST_NAME = 100
"""Characters of an area's name."""
_MOST_TITLE = 200

_CODE = re.compile(r"[A-Za-z0-9._-]{1,63}")
_SLUG = re.compile(r"[a-z0-9-]{1,63}")
_NODE_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_CAMERA_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Area:
    """A part of the network's ground. ``parent``: code of the area it lies in; None: it is the root.

    ``level``: a word for its tier, such as ``province``, ``district`` or ``commune``.
    """

    code: str
    name: str
    parent: str | None
    level: str

    def __post_init__(self) -> None:
        _check_area(self)


@dataclass(frozen=True, slots=True)
class RetiredArea:
    """A code that no longer is an area, as it was when it last was one.

    ``into``: codes of the areas that took over from it, which may be retired in
    their turn. What still bears the code counts to each of them; to the areas around
    ``parent`` when there are none.
    """

    code: str
    name: str
    parent: str | None
    level: str
    into: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_area(self)
        object.__setattr__(self, "into", tuple(self.into))
        if len(self.into) > MOST_INTO:
            raise InvalidArgument(
                f"into: {self.code} counts to {len(self.into)} areas; at most {MOST_INTO}", field="into"
            )
        for code in self.into:
            _match(_CODE, code, "into", "a code: 1 to 63 of A-Z a-z 0-9 . _ -")
        if self.code in self.into or len(set(self.into)) < len(self.into):
            raise InvalidArgument(
                f"into: {self.code} counts to itself, or to an area twice: {', '.join(self.into)[:200]}",
                field="into",
            )


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node. ``area``: code of the area that it serves; empty: none is set."""

    node_id: str
    name: str
    area: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        _match(_NODE_ID, self.node_id, "node_id", "an id: 1 to 64 of A-Z a-z 0-9 . _ : -")
        _match(_SLUG, self.name, "name", "a name: 1 to 63 of a-z, 0-9 and -")
        _check_area_code(self.area)
        object.__setattr__(self, "title", _text(self.title, "title", _MOST_TITLE))


@dataclass(frozen=True, slots=True)
class CameraEntry:
    """A camera, as every node below is to show it.

    ``node_id``: the node that is to record it; empty: none yet. ``area``: code of the
    area that it stands in; empty: none is set. ``height_m``: of the lens over the ground.
    """

    camera_id: str
    name: str
    title: str = ""
    node_id: str = ""
    area: str = ""
    place: Place | None = None
    height_m: float | None = None
    view: View | None = None
    owner: OwnerKind = OwnerKind.UNKNOWN

    def __post_init__(self) -> None:
        _match(_CAMERA_ID, self.camera_id, "camera_id", "a camera's id: a UUID in lower case")
        _match(_SLUG, self.name, "name", "a camera's name: 1 to 63 of a-z, 0-9 and -")
        object.__setattr__(self, "title", _text(self.title, "title", _MOST_TITLE))
        if self.node_id:
            _match(_NODE_ID, self.node_id, "node_id", "an id: 1 to 64 of A-Z a-z 0-9 . _ : -")
        _check_area_code(self.area)
        checked_place(self.place)
        checked_height(self.height_m)
        checked_view(self.view)

    @property
    def latitude(self) -> float | None:
        """Degrees north, WGS 84."""
        return None if self.place is None else self.place.latitude

    @property
    def longitude(self) -> float | None:
        """Degrees east, WGS 84."""
        return None if self.place is None else self.place.longitude


@dataclass(frozen=True, slots=True)
class Catalog:
    """The whole content of one version."""

    areas: tuple[Area, ...] = ()
    retired: tuple[RetiredArea, ...] = ()
    nodes: tuple[NodeEntry, ...] = ()
    cameras: tuple[CameraEntry, ...] = ()


def check_catalog(catalog: Catalog) -> None:
    """Raises :exc:`InvalidArgument` where entries do not fit together; the areas' tree is not looked at.

    Ids are there once, and names of nodes; a node's and a camera's area is an area or a
    retired code; a camera's node is a node, among whose cameras its name is unique.
    """
    for field, entries, most in (
        ("areas", len(catalog.areas) + len(catalog.retired), MOST_AREAS),
        ("nodes", len(catalog.nodes), MOST_NODES),
        ("cameras", len(catalog.cameras), MOST_CAMERAS),
    ):
        if entries > most:
            raise InvalidArgument(f"{field}: {entries:,} of them; at most {most:,}", field=field)
    codes = _once("areas.code", [*(a.code for a in catalog.areas), *(r.code for r in catalog.retired)])
    node_ids = _once("nodes.node_id", (node.node_id for node in catalog.nodes))
    _once("nodes.name", (node.name for node in catalog.nodes))
    _once("cameras.camera_id", (camera.camera_id for camera in catalog.cameras))
    _once("cameras.name", (f"{each.node_id}/{each.name}" for each in catalog.cameras if each.node_id))
    for node in catalog.nodes:
        if node.area:
            _known(codes, node.area, "nodes.area", f"node {node.name}")
    for camera in catalog.cameras:
        if camera.area:
            _known(codes, camera.area, "cameras.area", f"camera {camera.name}")
        if camera.node_id:
            _known(node_ids, camera.node_id, "cameras.node_id", f"camera {camera.name}")


def _once(field: str, values: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise InvalidArgument(f"{field}: {value[:_SHOWN]!r} is there twice", field=field)
        seen.add(value)
    return seen


def _known(known: Collection[str], value: str, field: str, of: str) -> None:
    if value not in known:
        raise InvalidArgument(f"{field}: {of} has {value!r}, which is not in the catalog", field=field)


def _check_area(area: Area | RetiredArea) -> None:
    _match(_CODE, area.code, "code", "a code: 1 to 63 of A-Z a-z 0-9 . _ -")
    object.__setattr__(area, "name", _text(area.name, "name", MOST_NAME))
    if not area.name or "," in area.name:
        raise InvalidArgument(
            f"name: {area.name!r} is not a name: some characters, and no comma (it parts a name from "
            "that of the area around)",
            field="name",
        )
    if area.parent is not None:
        _match(_CODE, area.parent, "parent", "a code: 1 to 63 of A-Z a-z 0-9 . _ -")
    _match(_SLUG, area.level, "level", "a word such as commune: 1 to 63 of a-z, 0-9 and -")


def _check_area_code(code: str) -> None:
    if code:
        _match(_CODE, code, "area", "a code: at most 63 of A-Z a-z 0-9 . _ -")


def _match(pattern: re.Pattern[str], value: str, field: str, what: str) -> None:
    if pattern.fullmatch(value) is None:
        raise InvalidArgument(f"{field}: {value[:_SHOWN]!r} is not {what}", field=field)


def _text(value: str, field: str, most: int) -> str:
    """In NFC, without blanks at its ends or doubled within."""
    # Normalising is bounded: what is far too long is refused before.
    if len(value) <= 4 * most:
        value = " ".join(unicodedata.normalize("NFC", value).split())
    if len(value) > most:
        raise InvalidArgument(
            f"{field}: {value[:_SHOWN]!r} has {len(value)} characters; at most {most}", field=field
        )
    if not value.isprintable():
        raise InvalidArgument(
            f"{field}: {value[:_SHOWN]!r} has characters that cannot be printed", field=field
        )
    return value
