"""What a node holds of the catalog: in memory, and in a file that is there whole or not at all."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError as ProtobufDecodeError

from nvr.errors import CatalogForeign, CatalogStale, DamagedError, InvalidArgument
from nvr.files import file_errors, sync_folder, write_whole
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.convert import held_from_pb
from nvr.network_catalog.types import Catalog
from nvr.network_catalog.versions import Version
from nvr.v1 import catalog_pb2

__all__ = ["MOST_BYTES", "NOTHING_HELD", "CatalogHolder", "Held"]

logger = logging.getLogger("nvr.network_catalog")

FILE_NAME = "network-catalog"
MOST_BYTES = 256 << 20
"""Of a serialized HeldCatalog. A province of 136,000 cameras has 25 MB."""
_DIGEST = 32


@dataclass(frozen=True, slots=True)
class Held:
    """A version, or a part of it, that a node holds. ``digest``: of its bytes; empty: it holds none."""

    catalog_id: str
    version: Version
    content: Catalog
    tree: AreaTree
    digest: bytes


NOTHING_HELD = Held("", Version(0, "", 0, "", ""), Catalog(), AreaTree(), b"")


class CatalogHolder:
    """For the event loop's thread; only :meth:`hold` may be called from another."""

    def __init__(self, folder: Path) -> None:
        """Reads what the node's data folder has. What is damaged is left aside: it comes anew from above."""
        self._path = folder / FILE_NAME
        self._held = NOTHING_HELD
        self._news = asyncio.Event()
        self.on_change: list[Callable[[Held], None]] = []
        try:
            self._held = self._read()
        except (DamagedError, InvalidArgument) as error:
            logger.error("%s is left aside: %s", self._path, error)  # noqa: TRY400 - it says all

    @property
    def held(self) -> Held:
        """What the node holds now."""
        return self._held

    async def changed(self, since: Held) -> None:
        """Returns when something else is held."""
        while self._held is since:
            self._news.clear()
            await self._news.wait()

    async def take(self, data: bytes, digest: bytes) -> Held:
        """Holds a serialized ``HeldCatalog`` from above; it is durable when this returns.

        Raises :exc:`InvalidArgument` for bytes that are none, :exc:`CatalogForeign`
        and :exc:`CatalogStale`.
        """
        if hashlib.sha256(data).digest() != digest:
            raise InvalidArgument("digest: the pieces do not make what was announced", field="digest")
        held = await asyncio.to_thread(_parsed, data, digest)
        self._check(held)
        await self._keep(held, data)
        return held

    async def put(self, held: Held, data: bytes) -> None:
        """Holds what this node's own database has, whatever was held before."""
        await self._keep(held, data)

    async def release(self) -> str:
        """Forgets what is held; the id of its catalog."""
        catalog_id = self._held.catalog_id
        await asyncio.to_thread(self._delete)
        self._switch(NOTHING_HELD)
        return catalog_id

    def _check(self, new: Held) -> None:
        old = self._held
        if not old.catalog_id:
            return
        if new.catalog_id != old.catalog_id:
            raise CatalogForeign(
                f"this node holds catalog {old.catalog_id[:8]}…, not {new.catalog_id[:8]}…: if the network "
                "has a new root, release the old catalog here (nvr catalog release)",
                facts={"catalog": old.catalog_id, "version": str(old.version.number)},
            )
        # The same version again has other cameras, where nodes below came or went.
        same = new.version.number == old.version.number and new.version.id == old.version.id
        if new.version.number <= old.version.number and not same:
            raise CatalogStale(
                f"this node holds version {old.version.number}; {new.version.number} is not newer",
                facts={"version": str(old.version.number)},
            )

    async def _keep(self, held: Held, data: bytes) -> None:
        await asyncio.to_thread(write_whole, self._path, held.digest + data)
        self._switch(held)

    def _switch(self, held: Held) -> None:
        self._held = held
        for tell in self.on_change:
            tell(held)
        self._news.set()

    def _read(self) -> Held:
        with file_errors("cannot read", self._path):
            try:
                size = self._path.stat().st_size
            except FileNotFoundError:
                return NOTHING_HELD
            if size > MOST_BYTES + _DIGEST:
                raise DamagedError(f"{self._path} has {size:,} bytes; at most {MOST_BYTES:,} are held")
            data = self._path.read_bytes()
        digest, data = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(data).digest() != digest:
            raise DamagedError(f"{self._path} is not what was written")
        return _parsed(data, digest)

    def _delete(self) -> None:
        with file_errors("cannot remove", self._path):
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)


def _parsed(data: bytes, digest: bytes) -> Held:
    try:
        message = catalog_pb2.HeldCatalog.FromString(data)
    except ProtobufDecodeError as error:
        raise InvalidArgument("piece: the whole is not a HeldCatalog", field="piece") from error
    if not message.catalog_id or not message.version or len(message.catalog_id) > 64:
        raise InvalidArgument("piece: the whole is of no catalog, or of no version", field="piece")
    version, content, tree = held_from_pb(message)
    return Held(message.catalog_id, version, content, tree, digest)
