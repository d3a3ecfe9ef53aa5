"""What a node and all nodes below it have: written from below, told upwards, asked by place and time.

A row for each camera and node that has it, with a version that grows with each
change: whoever gives back the last version that it kept gets what has changed
since. Nodes (some thousand at most) are in memory as well, cameras are not.

For one thread, the event loop's: calls are short. What is written is on disk
when the call returns, except for the newest changes at a power failure.
"""

import asyncio
import difflib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from nvr.directory import geometry
from nvr.directory.convert import (
    camera_entry_from_pb,
    camera_entry_to_pb,
    node_entry_from_pb,
    node_entry_to_pb,
    told_camera,
)
from nvr.directory.merge import is_removed, kept, merged_camera, rank
from nvr.directory.schema import close_database, open_database
from nvr.directory.trust import check_batch, check_tree
from nvr.directory.types import CameraEntry, DirectoryBatch, NodeEntry
from nvr.errors import AmbiguousCamera, CameraNotFound, StoreError, TreeRefused
from nvr.footage.types import Camera, StreamState
from nvr.v1 import directory_pb2

__all__ = ["Directory"]

_MAX_CANDIDATES = 20
_MAX_TOMBSTONES = 20_000
_ID_DIGITS = 16
_BURY_EVERY = 1_000
_MOST_KEPT = 4096
"""Cameras that are kept in memory as they were last asked for."""
_CAMERA = (
    *("node", "id", "name", "area", "latitude", "longitude", "assigned", "state", "first", "removed"),
    *("main_oldest", "main_newest", "sub_oldest", "sub_newest", "entry", "kept", "gone", "version"),
)
_INSERT_CAMERA = f"INSERT INTO camera ({', '.join(_CAMERA)}) VALUES ({', '.join('?' * len(_CAMERA))})"  # noqa: S608
_UPDATE_CAMERA = f"UPDATE camera SET {', '.join(f'{name} = ?' for name in _CAMERA)} WHERE key = ?"  # noqa: S608


@dataclass(slots=True)
class _Node:
    key: int
    entry: NodeEntry
    child: str
    """Id of the child by which it is reached; empty: this node."""


class Directory:
    """``path`` None: in memory. ``own``: this node; its parent is told of it first."""

    def __init__(self, path: Path | None, own: NodeEntry, *, now_us: Callable[[], int] | None = None) -> None:
        """Raises :exc:`StoreError` when the file cannot be opened."""
        self._db = open_database(path)
        self._where = ":memory:" if path is None else str(path)
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._changed = asyncio.Event()
        self._nodes: dict[str, _Node] = {}
        self._ids: dict[str, str] | None = None
        self._names: dict[str, str] = {}
        self._views: dict[str, tuple[CameraEntry, str, Camera]] = {}
        facts = dict(self._db.execute("SELECT name, value FROM fact").fetchall())
        self.epoch: str = facts["epoch"]
        self._version = int(facts["version"])
        self._horizon = int(facts.get("horizon", 0))
        self._buried = self._version
        self._away: frozenset[str] | None = None
        self._expected: frozenset[str] | None = None
        self._strangers: frozenset[str] | None = None
        self._below: dict[str, frozenset[str]] | None = None
        rows = self._db.execute("SELECT key, id, child, entry FROM node WHERE NOT gone").fetchall()
        for key, node_id, child, raw in rows:
            self._nodes[node_id] = _Node(key, _node_from(raw), child)
        self.own = replace(own, parent_id="", connected=True, reason="", seen_us=0)
        with self._writing():
            # A node that was made anew has another id: nothing that was kept is of it.
            for node in [node for node in self._nodes.values() if not node.child and node.entry.id != own.id]:
                self._drop_node(node)
            self._put_node(self.own, "")
            # Until a link is up again, nobody knows.
            for node in list(self._nodes.values()):
                if node.child == node.entry.id and node.entry.connected:
                    lost = replace(node.entry, connected=False, reason="node_unreachable")
                    self._put_node(lost, node.child)

    def close(self) -> None:
        """Closes the file."""
        close_database(self._db)

    @property
    def database(self) -> sqlite3.Connection:
        """For questions; only this class writes."""
        return self._db

    @property
    def version(self) -> int:
        """Grows with each change."""
        return self._version

    @property
    def horizon(self) -> int:
        """Changes since an older version than this are not known one by one any more."""
        return self._horizon

    async def changed(self, since: int) -> None:
        """Returns when the version is greater."""
        while self._version <= since:
            self._changed.clear()
            await self._changed.wait()

    # --- nodes ---------------------------------------------------------------

    def nodes(self) -> list[NodeEntry]:
        """All that are known, this one among them."""
        return [node.entry for node in self._nodes.values()]

    def node(self, node_id: str) -> NodeEntry | None:
        """One of them."""
        node = self._nodes.get(node_id)
        return None if node is None else node.entry

    def node_named(self, name: str) -> NodeEntry | None:
        """The node of a name, as :meth:`name_of` gives it."""
        if self._ids is None:
            # Of two that give themselves the same name, the one that was known first has it.
            known = sorted(self._nodes.values(), key=lambda node: -node.key)
            self._ids = {node.entry.name: node.entry.id for node in known}
            self._ids |= {self.short_id(node.entry.id): node.entry.id for node in known}
        node_id = self._ids.get(name)
        return None if node_id is None else self.node(node_id)

    def name_of(self, node_id: str) -> str:
        """What a node is called here: its name, or the beginning of its id where another had that first."""
        name = self._names.get(node_id)
        if name is None:
            node = self._nodes.get(node_id)
            if node is None:
                return self.short_id(node_id)
            named = self.node_named(node.entry.name)
            owns = named is not None and named.id == node_id
            name = self._names[node_id] = node.entry.name if owns else self.short_id(node_id)
        return name

    @staticmethod
    def short_id(node_id: str) -> str:
        """The beginning of an id, by which a node can be named on every tier."""
        return node_id[:_ID_DIGITS]

    def is_named(self, node_id: str, text: str) -> bool:
        """Whether a node is meant by a name: its own, or the beginning of its id."""
        return text in (self._nodes[node_id].entry.name, self.short_id(node_id))

    def route(self, node_id: str) -> str | None:
        """Id of the child by which a node is reached; empty: it is this one; None: it is not known."""
        node = self._nodes.get(node_id)
        return None if node is None else node.child

    def below(self, child_id: str) -> frozenset[str]:
        """Ids of a child and of all nodes that are reached by it."""
        if self._below is None:
            ids: dict[str, list[str]] = {}
            for node_id, node in self._nodes.items():
                ids.setdefault(node.child, []).append(node_id)
            self._below = {child: frozenset(of) for child, of in ids.items()}
        return self._below.get(child_id, frozenset())

    def children(self) -> list[NodeEntry]:
        """The nodes that this one asks directly."""
        return [node.entry for node in self._nodes.values() if node.child == node.entry.id]

    def away(self) -> frozenset[str]:
        """Ids of the nodes to which, or to a node above which, there is no connection."""
        if self._away is None:
            self._away = frozenset(node_id for node_id in self._nodes if self._is_away(node_id))
        return self._away

    def expect(self, node_ids: frozenset[str] | None) -> None:
        """Which nodes there are to be, by their ids; None: nobody has said.

        Any other is a stranger. What it has of a camera comes after what all others have.
        """
        if node_ids == self._expected:
            return
        self._expected, self._strangers = node_ids, None
        shared = "SELECT id FROM camera WHERE NOT gone GROUP BY id HAVING count(*) > 1"
        with self._writing():
            for (camera_id,) in self._db.execute(shared).fetchall():
                self._settle(camera_id)

    @property
    def strangers(self) -> frozenset[str]:
        """Names of the nodes that are not expected."""
        if self._strangers is None:
            self._strangers = frozenset(
                self.name_of(node_id) for node_id in self._nodes if self._is_stranger(node_id)
            )
        return self._strangers

    def _is_stranger(self, node_id: str) -> bool:
        return self._expected is not None and node_id not in self._expected and node_id != self.own.id

    def _rank(self, entry: CameraEntry) -> tuple[bool, bool, int, str]:
        return self._is_stranger(entry.node_id), *rank(entry)

    def _is_away(self, node_id: str) -> bool:
        for _ in range(len(self._nodes)):
            node = self._nodes.get(node_id)
            if node is None or not node.child:
                break
            if not node.entry.connected:
                return True
            node_id = node.entry.parent_id
        return False

    def now_us(self) -> int:
        """Microseconds since the epoch, by the clock of this node."""
        return self._now_us()

    def path(self, node_id: str) -> str:
        """Names from this node down to one: ``province → district-1 → commune-3``."""
        names: list[str] = []
        seen: set[str] = set()
        while (node := self._nodes.get(node_id)) is not None and node_id not in seen:
            seen.add(node_id)
            names.append(node.entry.name)
            node_id = node.entry.parent_id
        return " → ".join(reversed(names))

    def clock_offset_us(self, node_id: str) -> int | None:
        """A node's clock minus this one's, through all tiers between; None: not measured all the way."""
        total_us, tiers = 0, 0
        while (node := self._nodes.get(node_id)) is not None and node.child and tiers < len(self._nodes):
            if node.entry.clock_offset_us is None:
                return None
            total_us += node.entry.clock_offset_us
            node_id, tiers = node.entry.parent_id, tiers + 1
        return total_us

    # --- writing: this node's cameras -----------------------------------------

    def put_cameras(self, cameras: Iterable[CameraEntry]) -> None:
        """Adds or changes cameras of this node (``node_id`` is filled in)."""
        with self._writing():
            own = self._nodes[self.own.id]
            for entry in cameras:
                self._put_camera(own, entry)

    def remove_cameras(self, camera_ids: Iterable[str]) -> None:
        """Forgets cameras of this node."""
        with self._writing():
            own = self._nodes[self.own.id]
            for camera_id in camera_ids:
                self._drop_camera(own, camera_id)

    def own_camera_ids(self) -> set[str]:
        """Ids of this node's cameras."""
        own = self._nodes[self.own.id]
        rows = self._db.execute("SELECT id FROM camera WHERE node = ? AND NOT gone", (own.key,))
        return {row[0] for row in rows}

    # --- writing: what children tell ------------------------------------------

    def resume(self, child_id: str) -> tuple[str, int]:
        """Epoch and version of the last batch kept of a child; empty and 0: none."""
        row = self._db.execute("SELECT epoch, version FROM child WHERE id = ?", (child_id,)).fetchone()
        return ("", 0) if row is None else (str(row[0]), int(row[1]))

    def apply(self, child_id: str, batch: DirectoryBatch) -> None:
        """Keeps a batch of a child, or none of it.

        Raises :exc:`TreeRefused` for what contradicts the tree: a cycle, a node that
        another child has already, a camera of a node that is not below the child.
        """
        known = self._nodes.get(child_id)
        check_batch(batch, child_id[:16] + "…" if known is None else known.entry.name)
        with self._writing():
            if batch.snapshot:
                self._begin_sweep(child_id)
            # What is gone first: it may be back within the same batch.
            for node_id in batch.nodes_gone:
                node = self._nodes.get(node_id)
                if node is not None and node.child == child_id and node_id != child_id:
                    self._drop_node(node)
            for entry in batch.nodes:
                self._put_told_node(child_id, entry)
            if child_id not in self._nodes:
                raise TreeRefused(
                    f"node {child_id[:16]}… tells of others before itself", facts={"code": "foreign"}
                )
            for gone in batch.cameras_gone:
                # Of a node that is gone itself, its cameras are gone already.
                if gone.node_id in self._nodes:
                    self._drop_camera(self._told_by(child_id, gone.node_id), gone.camera_id)
            for camera in batch.cameras:
                self._put_camera(self._told_by(child_id, camera.node_id), camera)
            sweeping = self._sweeping(child_id) or batch.snapshot
            if batch.current and sweeping:
                self._sweep(child_id)
                sweeping = False
            if batch.nodes or batch.nodes_gone:
                below = [node.entry for node in self._nodes.values() if node.child == child_id]
                check_tree(below, child_id, self.node, whole=batch.current)
            self._db.execute(
                "INSERT OR REPLACE INTO child VALUES (?, ?, ?, ?)",
                (child_id, batch.epoch, batch.version, int(sweeping)),
            )

    def set_link(
        self,
        child_id: str,
        *,
        connected: bool,
        reason: str = "",
        seen_us: int = 0,
        clock_offset_us: int | None = None,
    ) -> None:
        """Keeps whether there is a connection to a child, and since when there is none."""
        node = self._nodes.get(child_id)
        if node is None:
            return
        entry = replace(node.entry, connected=connected, reason=reason)
        if seen_us:
            entry = replace(entry, seen_us=seen_us)
        if clock_offset_us is not None:
            entry = replace(entry, clock_offset_us=clock_offset_us)
        if entry != node.entry:
            with self._writing():
                self._put_node(entry, child_id)

    def forget(self, child_id: str) -> None:
        """Removes a child and all below it: it is not one any more."""
        with self._writing():
            for node in [node for node in self._nodes.values() if node.child == child_id]:
                self._drop_node(node)
            self._db.execute("DELETE FROM child WHERE id = ?", (child_id,))

    # --- reading ---------------------------------------------------------------

    def entries(self, camera_ids: Sequence[str]) -> dict[str, list[CameraEntry]]:
        """What each node has of cameras, the one that is to record it first, then the higher epoch."""
        found: dict[str, list[CameraEntry]] = {}
        for first in range(0, len(camera_ids), 500):
            some = camera_ids[first : first + 500]
            marks = ", ".join("?" * len(some))
            rows = self._db.execute(
                f"SELECT id, entry FROM camera WHERE NOT gone AND id IN ({marks})",  # noqa: S608 - marks
                tuple(some),
            )
            for camera_id, raw in rows:
                found.setdefault(camera_id, []).append(_asked_camera_from(raw))
        for entries in found.values():
            entries.sort(key=self._rank)
        return found

    def resolve(self, text: str) -> tuple[str, list[CameraEntry]]:
        """The camera that an id, a name or ``node/name`` means, as each node has it.

        A camera that was removed is found by its id only. Raises
        :exc:`CameraNotFound` and :exc:`AmbiguousCamera`.
        """
        ids = self.meant(text)
        if len(ids) == 1:
            return ids[0], self.entries(ids)[ids[0]]
        if ids:
            raise self._ambiguous(text, ids)
        raise self._not_found(text)

    def meant(self, text: str) -> list[str]:
        """Ids of all cameras that an id, a name or ``node/name`` can mean."""
        if self._db.execute("SELECT 1 FROM camera WHERE id = ? AND NOT gone", (text.lower(),)).fetchone():
            return [text.lower()]
        node, slash, name = text.rpartition("/")
        rows = self._db.execute(
            # Of the rows that stand for a camera there is one index, of the few others another.
            "SELECT c.id, n.id FROM camera c JOIN node n ON n.key = c.node "
            "WHERE c.name = ?1 AND c.first AND c.state <> 'removed' UNION "
            "SELECT c.id, n.id FROM camera c JOIN node n ON n.key = c.node "
            "WHERE c.name = ?1 AND NOT c.first AND NOT c.gone AND c.state <> 'removed' "
            "ORDER BY 1 LIMIT 1000",
            (name,),
        ).fetchall()
        return list(dict.fromkeys(i for i, of in rows if not slash or self.is_named(of, node)))

    def _ambiguous(self, text: str, ids: Sequence[str]) -> AmbiguousCamera:
        names = sorted(
            f"{self.name_of(entries[0].node_id)}/{entries[0].camera.name}"
            for entries in self.entries(ids[:_MAX_CANDIDATES]).values()
        )
        return AmbiguousCamera(
            f"{text[:200]!r} means {len(ids)} cameras: {', '.join(names)}",
            field="camera",
            facts={"candidates": ",".join(names)},
            node=self.own.name,
        )

    def _not_found(self, text: str) -> CameraNotFound:
        name = text.rpartition("/")[2]
        # Names that begin alike are what people mistype among; all of a province are too many to compare.
        rows = self._db.execute(
            "SELECT DISTINCT name FROM camera WHERE first AND NOT removed "
            "AND name >= ? AND name < ? LIMIT 1000",
            (name[:1], name[:1] + "\U0010ffff"),
        ).fetchall()
        near = difflib.get_close_matches(name[:100], [row[0] for row in rows], n=1)
        hint = f"; did you mean {near[0]}?" if near and near[0] != name else ""
        return CameraNotFound(
            f"node {self.own.name} knows no camera {text[:200]!r}{hint}", field="camera", node=self.own.name
        )

    def active_ids(self) -> list[str]:
        """Ids of all cameras that are not removed."""
        rows = self._db.execute("SELECT DISTINCT id FROM camera WHERE NOT gone AND state <> 'removed'")
        return [row[0] for row in rows]

    def has_area(self, code: str) -> bool:
        """Whether any camera is in an area of this code."""
        query = "SELECT 1 FROM camera WHERE area = ? AND first LIMIT 1"
        return bool(code) and self._db.execute(query, (code,)).fetchone() is not None

    def camera_view(self, entries: Sequence[CameraEntry]) -> Camera:
        """A camera as readers see it, from what each node has of it."""
        first, name = entries[0], self.name_of(entries[0].node_id)
        if len(entries) > 1:
            return merged_camera(entries, {e.node_id: self.name_of(e.node_id) for e in entries})
        # One node alone has nearly every camera, and the same ones are asked for again and again.
        known = self._views.get(first.camera.id)
        if known is not None and known[0] is first and known[1] == name:
            return known[2]
        view = merged_camera(entries, {first.node_id: name})
        if len(self._views) >= _MOST_KEPT:
            self._views.clear()
        self._views[view.id] = first, name, view
        return view

    def camera_named(self, entries: Sequence[CameraEntry]) -> Camera:
        """Of a camera its id and the node that is to record it, for who knows the rest."""
        first = entries[0]
        return Camera(first.camera.id, "", node=self.name_of(first.node_id))

    # --- inside ----------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """All that is written within, or nothing; those who wait for changes are woken."""
        version, nodes = self._version, dict(self._nodes)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._bury()
                facts = [("version", str(self._version)), ("horizon", str(self._horizon))]
                self._db.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts)
                self._db.execute("COMMIT")
            except BaseException:
                self._version, self._nodes = version, nodes
                self._forget_ways()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self._where}: the directory: {error}", filename=self._where) from error
        if self._version > version:
            self._changed.set()

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def _forget_ways(self) -> None:
        """What is worked out from the nodes is so anew."""
        self._away = self._ids = self._strangers = self._below = None
        self._names = {}

    def _put_node(self, entry: NodeEntry, child: str) -> None:
        known = self._nodes.get(entry.id)
        if known is not None and known.entry == entry and known.child == child:
            self._db.execute("UPDATE node SET kept = 1 WHERE key = ? AND NOT kept", (known.key,))
            return
        raw = node_entry_to_pb(entry).SerializeToString()
        version = self._next_version()
        (key,) = self._db.execute(
            "INSERT INTO node (id, child, entry, kept, gone, version) VALUES (?, ?, ?, 1, 0, ?) "
            "ON CONFLICT (id) DO UPDATE SET child = excluded.child, entry = excluded.entry, kept = 1, "
            "gone = 0, version = excluded.version RETURNING key",
            (entry.id, child, raw, version),
        ).fetchone()
        self._nodes[entry.id] = _Node(key, entry, child)
        self._forget_ways()

    def _put_told_node(self, child_id: str, told: NodeEntry) -> None:
        entry = told if told.parent_id else replace(told, parent_id=self.own.id)
        known = self._nodes.get(told.id)
        if told.id == self.own.id:
            below = self.path(child_id) or f"{self.own.name} → {child_id[:16]}…"
            above = self._nodes.get(told.parent_id)
            via = f" → {above.entry.name}" if above is not None and above.entry.id != child_id else ""
            raise TreeRefused(
                f"a cycle: {below}{via} → {self.own.name}; a node cannot stand below itself",
                facts={"code": "cycle", "path": f"{below}{via} → {self.own.name}"},
            )
        if not told.parent_id and told.id != child_id:
            raise TreeRefused(f"node {child_id[:16]}… speaks for node {told.name}", facts={"code": "foreign"})
        if known is not None and known.child != child_id:
            other = self._nodes.get(known.child)
            if other is not None and other.entry.connected:
                child = self._nodes.get(child_id)
                name = child.entry.name if child is not None else told.name
                raise TreeRefused(
                    f"node {told.name} has two parents: {self.path(told.id)}, and {name}",
                    facts={"code": "two_parents", "path": self.path(told.id)},
                )
        if told.id == child_id and known is not None:
            # Of the connection itself this node knows best.
            entry = replace(
                entry,
                connected=known.entry.connected,
                reason=known.entry.reason,
                seen_us=known.entry.seen_us,
                clock_offset_us=known.entry.clock_offset_us,
            )
        self._put_node(entry, child_id)

    def _told_by(self, child_id: str, node_id: str) -> _Node:
        node = self._nodes.get(node_id)
        if node is None or node.child != child_id:
            raise TreeRefused(
                f"node {self._nodes[child_id].entry.name} tells of a camera of {node_id[:16]}…, "
                "which is not below it",
                facts={"code": "foreign"},
            )
        return node

    def _put_camera(self, node: _Node, told: CameraEntry) -> None:
        entry = CameraEntry(node.entry.id, told_camera(told.camera), told.assigned, told.epoch)
        raw = camera_entry_to_pb(entry).SerializeToString(deterministic=True)
        camera = entry.camera
        row = self._db.execute(
            "SELECT key, entry, gone FROM camera WHERE node = ? AND id = ?", (node.key, camera.id)
        ).fetchone()
        if row is not None and row[1] == raw and not row[2]:
            self._db.execute("UPDATE camera SET kept = 1 WHERE key = ? AND NOT kept", (row[0],))
            return
        others = "SELECT 1 FROM camera WHERE id = ? AND NOT gone AND node <> ? LIMIT 1"
        alone = self._db.execute(others, (camera.id, node.key)).fetchone() is None
        place = camera.place
        values = (
            *(node.key, camera.id, camera.name, camera.area),
            *(None if place is None else place.latitude, None if place is None else place.longitude),
            *(int(entry.assigned), _state(camera), int(alone), int(is_removed(camera))),
            *kept([entry], "main"),
            *kept([entry], "sub"),
            *(raw, 1, 0, self._next_version()),
        )
        if row is None:
            key = self._db.execute(_INSERT_CAMERA, values).lastrowid or 0
        else:
            key = row[0]
            self._db.execute(_UPDATE_CAMERA, (*values, key))
        if not alone:
            self._settle(camera.id)
            return
        before = None if row is None or row[2] else _camera_from(row[1]).camera
        if before is None or (before.place, before.view) != (camera.place, camera.view):
            if row is not None:
                self._drop_place(key)
            self._put_place(key, camera)

    def _settle(self, camera_id: str) -> None:
        """Chooses the row that stands for all rows of a camera."""
        rows = self._db.execute(
            "SELECT key, entry, first FROM camera WHERE id = ? AND NOT gone", (camera_id,)
        ).fetchall()
        known = sorted(
            ((_camera_from(raw), key, first) for key, raw, first in rows),
            key=lambda each: self._rank(each[0]),
        )
        for number, (_, key, first) in enumerate(known):
            self._drop_place(key)
            if first and number:
                self._db.execute("UPDATE camera SET first = 0 WHERE key = ?", (key,))
        if not known:
            return
        entries = [entry for entry, _, _ in known]
        _, key, _ = known[0]
        removed = all(is_removed(entry.camera) for entry in entries)
        self._db.execute(
            "UPDATE camera SET first = 1, removed = ?, main_oldest = ?, main_newest = ?, "
            "sub_oldest = ?, sub_newest = ? WHERE key = ?",
            (int(removed), *kept(entries, "main"), *kept(entries, "sub"), key),
        )
        self._put_place(key, entries[0].camera)

    def _put_place(self, key: int, camera: Camera) -> None:
        place = camera.place
        if place is None:
            return
        at = (place.latitude, place.latitude, place.longitude, place.longitude)
        self._db.execute("INSERT INTO stands VALUES (?, ?, ?, ?, ?)", (key, *at))
        if camera.view is not None:
            box = geometry.view_box(place, camera.view)
            for row, part in zip((key, -key), box.parts(), strict=False):
                bounds = (row, part.south, part.north, part.west, part.east)
                self._db.execute("INSERT INTO shown VALUES (?, ?, ?, ?, ?)", bounds)

    def _drop_place(self, key: int) -> None:
        self._db.execute("DELETE FROM stands WHERE key = ?", (key,))
        self._db.execute("DELETE FROM shown WHERE key IN (?, ?)", (key, -key))

    def _drop_camera(self, node: _Node, camera_id: str) -> None:
        row = self._db.execute(
            "UPDATE camera SET gone = 1, first = 0, entry = x'', version = ? "
            "WHERE node = ? AND id = ? AND NOT gone RETURNING key",
            (self._version + 1, node.key, camera_id),
        ).fetchone()
        if row is not None:
            self._next_version()
            self._drop_place(row[0])
            self._settle(camera_id)

    def _drop_node(self, node: _Node) -> None:
        ids = self._db.execute("SELECT id FROM camera WHERE node = ? AND NOT gone", (node.key,)).fetchall()
        for (camera_id,) in ids:
            self._drop_camera(node, camera_id)
        self._db.execute(
            "UPDATE node SET gone = 1, entry = x'', version = ? WHERE key = ?",
            (self._next_version(), node.key),
        )
        self._nodes.pop(node.entry.id, None)
        self._forget_ways()

    def _sweeping(self, child_id: str) -> bool:
        row = self._db.execute("SELECT sweeping FROM child WHERE id = ?", (child_id,)).fetchone()
        return row is not None and bool(row[0])

    def _begin_sweep(self, child_id: str) -> None:
        self._db.execute("UPDATE node SET kept = 0 WHERE child = ? AND NOT gone", (child_id,))
        self._db.execute(
            "UPDATE camera SET kept = 0 WHERE NOT gone AND node IN (SELECT key FROM node WHERE child = ?)",
            (child_id,),
        )

    def _sweep(self, child_id: str) -> None:
        """Drops what a snapshot that has come to its end did not name."""
        for node in [node for node in self._nodes.values() if node.child == child_id]:
            (kept,) = self._db.execute("SELECT kept FROM node WHERE key = ?", (node.key,)).fetchone()
            if not kept:
                self._drop_node(node)
                continue
            rows = self._db.execute(
                "SELECT id FROM camera WHERE node = ? AND NOT gone AND NOT kept", (node.key,)
            ).fetchall()
            for (camera_id,) in rows:
                self._drop_camera(node, camera_id)

    def _bury(self) -> None:
        """Removes the oldest tombstones when there are many; who asks since before then gets all anew."""
        if self._version - self._buried < _BURY_EVERY:
            return
        self._buried = self._version
        for table in ("camera", "node"):
            row = self._db.execute(
                f"SELECT version FROM {table} WHERE gone ORDER BY version DESC LIMIT 1 OFFSET ?",  # noqa: S608
                (_MAX_TOMBSTONES,),
            ).fetchone()
            if row is None:
                continue
            self._horizon = max(self._horizon, int(row[0]))
            if table == "node":
                below = "SELECT key FROM node WHERE gone AND version <= ?"
                self._db.execute(f"DELETE FROM camera WHERE node IN ({below})", row)  # noqa: S608
            self._db.execute(f"DELETE FROM {table} WHERE gone AND version <= ?", row)  # noqa: S608


def _state(camera: Camera) -> str:
    """One word for counting: of the main stream, or of the only one."""
    if not camera.streams:
        return "disabled"
    if is_removed(camera):
        return "removed"
    state = camera.streams[0].state
    if state is StreamState.RECORDING:
        return "recording"
    return "disabled" if state is StreamState.DISABLED else "waiting"


def _node_from(raw: bytes) -> NodeEntry:
    return node_entry_from_pb(directory_pb2.NodeEntry.FromString(raw))


def _camera_from(raw: bytes) -> CameraEntry:
    return camera_entry_from_pb(directory_pb2.CameraEntry.FromString(raw))


# Places that are asked about are asked about again; some 10 MB. Not for what is written: a recorder that
# nobody asks would keep each version of its cameras.
_asked_camera_from = lru_cache(maxsize=_MOST_KEPT)(_camera_from)
