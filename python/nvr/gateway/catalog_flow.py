"""Versions of the network catalog, brought to the nodes right below: each its part."""

import asyncio
import logging

from nvr.directory.directory import Directory
from nvr.errors import CatalogForeign, CatalogStale, NvrError
from nvr.footage.types import ReadContext
from nvr.gateway.links import Link
from nvr.network_catalog.holder import CatalogHolder, Held
from nvr.network_catalog.parts import part_for
from nvr.network_catalog.remote import RemoteHolder
from nvr.network_catalog.root import RootCatalog

__all__ = ["CatalogFlow"]

logger = logging.getLogger("nvr.gateway")

CAPABILITY = "catalog"
_AGAIN_S = 30.0
_LOOK_S = 2.0
_CONTEXT = ReadContext(purpose="catalog")


class CatalogFlow:
    """Keeps each child at the version that this node holds."""

    def __init__(self, holder: CatalogHolder, directory: Directory, root: RootCatalog | None) -> None:
        self._holder = holder
        self._directory = directory
        self._root = root

    async def run(self, link: Link) -> None:
        """Keeps one child, for ever."""
        done: tuple[Held, frozenset[str]] | None = None
        told = ""
        while True:
            await link.until(up=True)
            node = self._directory.node(link.node_id)
            if node is None or CAPABILITY not in node.capabilities:
                await self._pause(link)
                continue
            held, below = self._holder.held, self._directory.below(link.node_id)
            if done is not None and done[0] is held and done[1] == below:
                await self._pause(link)
                if not link.up:
                    # It may come back from a backup.
                    done = None
                continue
            try:
                await self._bring(link, held, below)
                done, told = (held, below), ""
            except NvrError as error:
                if str(error) != told:
                    logger.warning("node %s does not get the network catalog: %s", link.name, error)
                told = str(error)
                wait_s = _AGAIN_S if isinstance(error, CatalogForeign | CatalogStale) else _LOOK_S
                await self._pause(link, wait_s)

    async def _pause(self, link: Link, wait_s: float = _LOOK_S) -> None:
        """Until something else is held here, the link is down, or a while has passed."""
        waits = {
            asyncio.ensure_future(self._holder.changed(self._holder.held)),
            asyncio.ensure_future(link.until(up=False)),
        }
        try:
            await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _bring(self, link: Link, held: Held, below: frozenset[str]) -> None:
        child = RemoteHolder(link.channel, target=link.target)
        theirs = await child.held(_CONTEXT)
        if self._root is not None and theirs.catalog_id:
            await self._root.seen(theirs.catalog_id, theirs.number, theirs.id)
        if not held.catalog_id:
            return
        data, digest = await asyncio.to_thread(part_for, held, below)
        if digest == theirs.digest:
            return
        if theirs.catalog_id == held.catalog_id and theirs.number > held.version.number:
            raise CatalogStale(
                f"it holds version {theirs.number}, and this node only {held.version.number}",
                node=link.name,
            )
        await child.hold(_CONTEXT, held.catalog_id, held.version.number, data, digest)
        logger.info("node %s holds version %d of the network catalog", link.name, held.version.number)
