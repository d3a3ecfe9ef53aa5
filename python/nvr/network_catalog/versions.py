"""Versions of the catalog: what each is of, and what lies between two."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nvr.errors import CatalogConflict
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry, RetiredArea

__all__ = [
    "Difference",
    "Entry",
    "EntryKey",
    "Version",
    "catalog_of",
    "difference",
    "entries_of",
    "taking_back",
    "with_changes",
]

Entry = Area | RetiredArea | NodeEntry | CameraEntry


class EntryKey(NamedTuple):
    """An entry by its kind (``area``, ``former_area``, ``node``, ``camera``) and its id or code."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version. ``id``: minted with it; ``undoes``: the version that it takes back, or 0."""

    number: int
    id: str
    made_us: int
    actor: str
    summary: str
    request_id: str = ""
    undoes: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of an entry. None: it was not, or is no more."""

    key: EntryKey
    before: Entry | None
    after: Entry | None


def entries_of(catalog: Catalog) -> dict[EntryKey, Entry]:
    """All entries by their keys."""
    found: dict[EntryKey, Entry] = {}
    found.update((EntryKey("area", each.code), each) for each in catalog.areas)
    found.update((EntryKey("former_area", each.code), each) for each in catalog.retired)
    found.update((EntryKey("node", each.node_id), each) for each in catalog.nodes)
    found.update((EntryKey("camera", each.camera_id), each) for each in catalog.cameras)
    return found


def difference(before: Mapping[EntryKey, Entry], after: Mapping[EntryKey, Entry]) -> list[Difference]:
    """What was added, changed and taken out."""
    changes = [
        Difference(key, before.get(key), entry)
        for key, entry in after.items()
        # Most entries are the very same object.
        if before.get(key) is not entry and before.get(key) != entry
    ]
    changes += [Difference(key, entry, None) for key, entry in before.items() if key not in after]
    return changes


def with_changes(entries: Mapping[EntryKey, Entry], changes: Iterable[Difference]) -> dict[EntryKey, Entry]:
    """The entries after the changes."""
    found = dict(entries)
    for change in changes:
        if change.after is None:
            found.pop(change.key, None)
        else:
            found[change.key] = change.after
    return found


def taking_back(
    current: Mapping[EntryKey, Entry], changes: Iterable[Difference], newest: int
) -> list[Difference]:
    """What takes changes back. Raises :exc:`CatalogConflict` where an entry was changed again since."""
    back = []
    for change in changes:
        if current.get(change.key) != change.after:
            raise CatalogConflict(
                f"{change.key.kind.replace('_', ' ')} {change.key.id} was changed again since: "
                "take back the later version first",
                facts={"version": str(newest)},
            )
        back.append(Difference(change.key, change.after, change.before))
    return back


def catalog_of(entries: Iterable[Entry]) -> Catalog:
    """The catalog of some entries, in the order of their codes, or of node and name."""
    areas: list[Area] = []
    retired: list[RetiredArea] = []
    nodes: list[NodeEntry] = []
    cameras: list[CameraEntry] = []
    for entry in entries:
        match entry:
            case Area():
                areas.append(entry)
            case RetiredArea():
                retired.append(entry)
            case NodeEntry():
                nodes.append(entry)
            case CameraEntry():
                cameras.append(entry)
    return Catalog(
        areas=tuple(sorted(areas, key=lambda each: each.code)),
        retired=tuple(sorted(retired, key=lambda each: each.code)),
        nodes=tuple(sorted(nodes, key=lambda each: (each.name, each.node_id))),
        cameras=tuple(sorted(cameras, key=lambda each: (each.node_id, each.name, each.camera_id))),
    )
