"""The node at which the catalog is written."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from nvr.errors import CatalogAway, CatalogBehind, CatalogConflict, ConfigError, StoreError
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.changes import Change, changed, summary_of
from nvr.network_catalog.holder import CatalogHolder, Held
from nvr.network_catalog.parts import whole_of
from nvr.network_catalog.types import Catalog
from nvr.network_catalog.versions import (
    Difference,
    Entry,
    EntryKey,
    Version,
    catalog_of,
    difference,
    entries_of,
    taking_back,
    with_changes,
)

if TYPE_CHECKING:
    # Only the root needs what lies below it.
    from nvr.network_catalog.store.store import CatalogStore

__all__ = ["RootCatalog", "RootState"]

logger = logging.getLogger("nvr.network_catalog")

_T = TypeVar("_T")
_LOOK_S = 15.0
_LOOK_AWAY_S = 2.0
# What is kept in the database: from which version on all numbers are this database's, and
# the highest that a node held which is not.
_ADOPTED = "adopted"
_UNKNOWN = "unknown_held"


class RootState(Enum):
    """How the root stands."""

    READY = "ready"
    AWAY = "away"
    BEHIND = "behind"


class RootCatalog:
    """Writes versions into a database; what holds is in the node's holder too, and outlives the database.

    ``actor`` is who asks: kind and name of the caller.
    """

    def __init__(
        self, store: "CatalogStore", holder: CatalogHolder, *, now_us: Callable[[], int] | None = None
    ) -> None:
        self._store = store
        self._holder = holder
        self._now_us = now_us or (lambda: time.time_ns() // 1000)
        self._writing = asyncio.Lock()
        self._opened = False
        self._away = ""
        self._entries: dict[EntryKey, Entry] = {}
        self._newest = Version(0, "", 0, "", "")
        self._adopted = 0
        self._unknown = 0

    @property
    def state(self) -> RootState:
        """Whether it can be written, and if not, why."""
        if self._away:
            return RootState.AWAY
        return RootState.BEHIND if self._unknown else RootState.READY

    @property
    def highest_held(self) -> int:
        """Of a root that is behind: the highest version that a node holds."""
        return self._unknown

    async def open(self) -> None:
        """Reads the database, or goes on with what is held while that is away.

        Raises :exc:`ConfigError` for a database that is of another catalog than the node holds.
        """
        try:
            await self._look()
        except CatalogAway as error:
            self._is_away(error)

    async def keep(self) -> None:
        """Follows the database for ever: it may go and come back, and be restored."""
        while True:
            await asyncio.sleep(_LOOK_AWAY_S if self._away else _LOOK_S)
            try:
                async with self._writing:
                    await self._look()
            except CatalogAway as error:
                self._is_away(error)
            except (StoreError, ConfigError) as error:
                logger.error("the network catalog: %s", error)  # noqa: TRY400 - it says all

    async def change(
        self,
        changes: Sequence[Change],
        *,
        actor: str,
        request_id: str = "",
        summary: str = "",
        expected_version: int = 0,
        dry_run: bool = False,
    ) -> Version:
        """One version of all changes; the newest as it is when they change nothing.

        Raises :exc:`InvalidArgument`, :exc:`CatalogConflict`, :exc:`CatalogAway`, :exc:`CatalogBehind`.
        """

        def differences(entries: Mapping[EntryKey, Entry]) -> list[Difference]:
            return difference(entries, changed(entries, changes))

        return await self._write(
            differences,
            Version(0, "", 0, actor, summary or summary_of(changes), request_id),
            expected_version=expected_version,
            dry_run=dry_run,
        )

    async def undo(self, number: int, *, actor: str, request_id: str = "", dry_run: bool = False) -> Version:
        """A version that takes another back.

        Raises :exc:`NotFound`, and :exc:`CatalogConflict` where later ones changed the same entries.
        """
        was, changes = await self._of_store(
            lambda: (self._store.version(number), self._store.changes_of(number))
        )

        def differences(entries: Mapping[EntryKey, Entry]) -> list[Difference]:
            back = taking_back(entries, changes, self._newest.number)
            # It was whole before; later versions may rest on what goes.
            changed(with_changes(entries, back), ())
            return back

        made = Version(0, "", 0, actor, f"undo of {number}: {was.summary}"[:500], request_id, undoes=number)
        return await self._write(differences, made, dry_run=dry_run)

    async def adopt(self, *, actor: str, request_id: str = "", dry_run: bool = False) -> Version:
        """Makes what the database has the newest version, above all that any node holds."""
        unknown = self._unknown

        def differences(entries: Mapping[EntryKey, Entry]) -> list[Difference]:
            return []

        made = Version(
            max(unknown, self._newest.number) + 1,
            "",
            0,
            actor,
            f"adopted as it was restored; nodes held version {unknown}",
            request_id,
        )
        return await self._write(differences, made, dry_run=dry_run, adopting=True)

    async def versions(self, limit: int) -> list[Version]:
        """The newest versions, newest first. Raises :exc:`CatalogAway`."""
        return await self._of_store(lambda: self._store.versions(limit))

    async def backup(self) -> bytes:
        """The whole database, as :mod:`nvr.network_catalog.store.backup` writes it."""
        from nvr.network_catalog.store.backup import back_up

        return await self._of_store(lambda: back_up(self._store))

    async def seen(self, catalog_id: str, number: int, version_id: str) -> None:
        """A node below holds a version: one that this database does not know means that it was restored."""
        if self._away or catalog_id != self._store.catalog_id or number <= self._unknown:
            return
        async with self._writing:
            await self._compare(number, version_id)

    # --- within ------------------------------------------------------------------

    async def _write(
        self,
        differences: Callable[[Mapping[EntryKey, Entry]], list[Difference]],
        made: Version,
        *,
        expected_version: int = 0,
        dry_run: bool = False,
        adopting: bool = False,
    ) -> Version:
        async with self._writing:
            if self._away:
                # It may be back by now; else this says why not.
                await self._of_store(self._store.newest)
                await self._look()
            if self._unknown and not adopting:
                raise CatalogBehind(
                    f"a node of the tree holds version {self._unknown}, which this database does not know: "
                    "it was restored from a backup. Compare the two, then: nvr catalog adopt",
                    facts={"held": str(self._unknown)},
                )
            newest = self._newest
            if expected_version and expected_version != newest.number:
                raise CatalogConflict(
                    f"the change is of version {expected_version}, the newest is {newest.number}",
                    field="expected_version",
                    facts={"version": str(newest.number)},
                )
            changes = await asyncio.to_thread(differences, self._entries)
            version = replace(
                made,
                number=made.number or newest.number + 1,
                id=uuid.uuid4().hex,
                made_us=self._now_us(),
                added=sum(each.before is None for each in changes),
                removed=sum(each.after is None for each in changes),
                changed=sum(each.before is not None and each.after is not None for each in changes),
            )
            if not changes and not adopting:
                return replace(newest, added=0, changed=0, removed=0)
            if dry_run:
                return version
            try:
                await self._of_store(lambda: self._store.write(newest.number, version, changes))
                if adopting:
                    await self._of_store(lambda: self._store.remember(_ADOPTED, str(version.number)))
                    await self._of_store(lambda: self._store.remember(_UNKNOWN, "0"))
                    self._adopted, self._unknown = version.number, 0
            except CatalogConflict:
                await self._look()
                raise
            entries = await asyncio.to_thread(with_changes, self._entries, changes)
            await self._hold(version, entries)
            return version

    async def _of_store(self, ask: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(ask)
        except CatalogAway as error:
            self._is_away(error)
            raise

    def _is_away(self, error: CatalogAway) -> None:
        if not self._away:
            held = self._holder.held.version.number
            logger.error("%s; answers are of version %d until it is back", error, held)
        self._away = str(error)

    async def _look(self) -> None:
        """Reads what the database has, if it has something else than was read last."""
        if not self._opened:
            await asyncio.to_thread(self._store.open)
        newest = await asyncio.to_thread(self._store.newest)
        held = self._holder.held
        if held.catalog_id and held.catalog_id != self._store.catalog_id:
            raise ConfigError(
                f"catalog.database: {self._store.where} is of catalog {self._store.catalog_id[:8]}…, and "
                f"this node holds {held.catalog_id[:8]}…: give it the right database; or start it without "
                "one and let it release what it holds (nvr catalog release)"
            )
        if not self._opened or newest != self._newest:
            newest, content = await asyncio.to_thread(self._store.read)
            facts = await asyncio.to_thread(
                lambda: (self._store.recall(_ADOPTED), self._store.recall(_UNKNOWN))
            )
            self._adopted, self._unknown = (int(each or 0) for each in facts)
            self._newest, self._opened = newest, True
            self._entries = await asyncio.to_thread(entries_of, content)
            await self._compare(held.version.number, held.version.id)
            if not self._unknown and newest.number and newest.id != held.version.id:
                await self._hold(newest, self._entries, content)
        if self._away:
            self._away = ""
            logger.info("the catalog's database is back, with version %d", newest.number)

    async def _compare(self, number: int, version_id: str) -> None:
        """Finds out whether a version that a node holds is one of this database."""
        if number < max(self._adopted, 1) or number <= self._unknown:
            return
        if number == self._newest.number:
            known = version_id == self._newest.id
        else:
            versions = await self._of_store(lambda: self._store.known_as(number))
            known = versions == version_id
        if not known:
            self._unknown = number
            await self._of_store(lambda: self._store.remember(_UNKNOWN, str(number)))
            logger.error(
                "a node of the tree holds version %d of the network catalog, which the database does not "
                "know, since it was restored from a backup: nothing is written until nvr catalog adopt",
                number,
            )

    async def _hold(
        self, version: Version, entries: dict[EntryKey, Entry], content: Catalog | None = None
    ) -> None:
        self._newest, self._entries = version, entries

        def made() -> tuple[Held, bytes]:
            whole = content or catalog_of(entries.values())
            data, digest = whole_of(self._store.catalog_id, version, whole)
            tree = AreaTree(whole.areas, whole.retired).prepared()
            return Held(self._store.catalog_id, version, whole, tree, digest), data

        held, data = await asyncio.to_thread(made)
        await self._holder.put(held, data)
