"""A recorder's leases, in the catalog's database: what it holds, and what it could take.

Calls block, and may come from any thread. What a call changed is on disk when
it returns: what is answered after it stays true through a crash.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nvr.catalog.catalog import FILE_NAME
from nvr.catalog.database import Database
from nvr.errors import LeaseStale
from nvr.security.node_key import NodeKey
from nvr.security.seal import seal, unseal

__all__ = ["Lease", "LeaseBook", "Prepared"]


@dataclass(frozen=True, slots=True)
class Lease:
    """``epoch``: the highest known; ``taker_id``: who took it from this node, if somebody did."""

    camera_id: str
    epoch: int = 0
    held: bool = True
    taker_id: str = ""
    since_us: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Prepared:
    """Settings of another node's camera. ``settings``: text that its keeper understands, sealed on disk."""

    camera_id: str
    sender_id: str
    settings: str
    changed_us: int

    def __repr__(self) -> str:
        return f"Prepared({self.camera_id!r}, changed_us={self.changed_us})"


class LeaseBook:
    """The tables ``lease`` and ``prepared``, by a connection of their own: opened after the catalog."""

    def __init__(self, folder: Path, key: NodeKey, *, now_us: Callable[[], int] | None = None) -> None:
        """Raises :exc:`StoreError`."""
        self._key = key
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        # The catalog has brought the file to the newest schema.
        self._database = Database(folder / FILE_NAME, "the leases", lambda _: None)
        self._db = self._database.connection

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def leases(self) -> dict[str, Lease]:
        """All that differ from what a camera begins with, by the camera's id."""
        with self._database.reading():
            rows = self._db.execute("SELECT camera_id, epoch, held, taker_id, since_us FROM lease").fetchall()
        return {row[0]: Lease(row[0], row[1], bool(row[2]), row[3], row[4]) for row in rows}

    def prepared(self) -> dict[str, Prepared]:
        """All, by the camera's id. Raises :exc:`DamagedError` when one cannot be opened."""
        with self._database.reading():
            rows = self._db.execute(
                "SELECT camera_id, sender_id, sealed, changed_us FROM prepared"
            ).fetchall()
        return {
            camera_id: Prepared(
                camera_id, sender, unseal(self._key, sealed, bound_to=_place(camera_id)), changed
            )
            for camera_id, sender, sealed, changed in rows
        }

    def take(self, camera_id: str, epoch: int) -> Lease:
        """The duty is the node's. Raises :exc:`LeaseStale` unless the epoch is new, or held already."""
        with self._database.transaction():
            known = self._get(camera_id)
            if epoch < known.epoch or (epoch == known.epoch and not known.held):
                raise _stale(known, epoch)
            if (epoch, True) == (known.epoch, known.held):
                return known
            return self._put(Lease(camera_id, epoch, held=True, since_us=self._now_us()))

    def give_up(self, camera_id: str, epoch: int, taker_id: str) -> Lease:
        """The duty is another node's. Raises :exc:`LeaseStale` unless the epoch is above the one held."""
        with self._database.transaction():
            known = self._get(camera_id)
            if epoch < known.epoch or (epoch == known.epoch and known.held):
                raise _stale(known, epoch)
            if not known.held and (epoch, taker_id) == (known.epoch, known.taker_id):
                return known
            return self._put(Lease(camera_id, epoch, held=False, taker_id=taker_id, since_us=self._now_us()))

    def mark(self, camera_id: str) -> Lease:
        """Remembers that others may record the camera: what becomes of it is told from now on."""
        with self._database.transaction():
            return self._put(self._get(camera_id))

    def prepare(self, prepared: Prepared) -> None:
        """Keeps the settings of another node's camera."""
        sealed = seal(self._key, prepared.settings, bound_to=_place(prepared.camera_id))
        with self._database.transaction():
            self._db.execute(
                "INSERT INTO prepared (camera_id, sender_id, sealed, changed_us) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (camera_id) DO UPDATE SET sender_id = excluded.sender_id, "
                "sealed = excluded.sealed, changed_us = excluded.changed_us",
                (prepared.camera_id, prepared.sender_id, sealed, prepared.changed_us),
            )

    def adopted(self, camera_id: str) -> None:
        """Deletes the kept settings of a camera that is this node's own by now; its lease stays."""
        with self._database.transaction():
            self._db.execute("DELETE FROM prepared WHERE camera_id = ?", (camera_id,))

    def forget(self, camera_id: str) -> Lease:
        """Deletes them; the camera is not this node's duty any more. Its epoch stays known."""
        with self._database.transaction():
            self._db.execute("DELETE FROM prepared WHERE camera_id = ?", (camera_id,))
            known = self._get(camera_id)
            return self._put(Lease(camera_id, known.epoch, held=False, since_us=self._now_us()))

    def _get(self, camera_id: str) -> Lease:
        row = self._db.execute(
            "SELECT epoch, held, taker_id, since_us FROM lease WHERE camera_id = ?", (camera_id,)
        ).fetchone()
        return Lease(camera_id) if row is None else Lease(camera_id, row[0], bool(row[1]), row[2], row[3])

    def _put(self, lease: Lease) -> Lease:
        self._db.execute(
            "INSERT INTO lease (camera_id, epoch, held, taker_id, since_us) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (camera_id) DO UPDATE SET epoch = excluded.epoch, held = excluded.held, "
            "taker_id = excluded.taker_id, since_us = excluded.since_us",
            (lease.camera_id, lease.epoch, int(lease.held), lease.taker_id, lease.since_us),
        )
        return lease


def _place(camera_id: str) -> str:
    return f"{camera_id}/prepared"


def _stale(known: Lease, epoch: int) -> LeaseStale:
    return LeaseStale(
        f"epoch {epoch} of camera {known.camera_id} is not the newest: {known.epoch} is known here"
        + ("" if known.held else ", which another node took"),
        field="epoch",
        facts={"epoch": str(known.epoch)},
    )
