"""What a node answers about the catalog: a root or not, with its database or without."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum

from nvr.footage.types import End, Notice, ReadContext
from nvr.network_catalog.holder import CatalogHolder
from nvr.network_catalog.root import RootCatalog, RootState
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry, RetiredArea

__all__ = ["CatalogReader", "CatalogStanding", "StandingState"]


class StandingState(Enum):
    """How a node's catalog stands; see ``nvr.v1.CatalogState``."""

    UNKNOWN = "unknown"
    NONE = "none"
    ROOT = "root"
    HELD = "held"
    AWAY = "away"
    BEHIND = "behind"


_OF_ROOT = {
    RootState.READY: StandingState.ROOT,
    RootState.AWAY: StandingState.AWAY,
    RootState.BEHIND: StandingState.BEHIND,
}


@dataclass(frozen=True, slots=True)
class CatalogStanding:
    """How it stands. ``version`` 0: there is none; ``highest_held``: of a root that is behind."""

    state: StandingState
    catalog_id: str = ""
    version: int = 0
    made_us: int = 0
    areas: int = 0
    nodes: int = 0
    cameras: int = 0
    highest_held: int = 0


class CatalogReader:
    """Answers from what the node holds, which a root keeps up with its database."""

    def __init__(self, holder: CatalogHolder, root: RootCatalog | None = None) -> None:
        self._holder = holder
        self._root = root

    def standing(self) -> CatalogStanding:
        """How it stands now."""
        held = self._holder.held
        if self._root is not None:
            state = _OF_ROOT[self._root.state]
        else:
            state = StandingState.HELD if held.catalog_id else StandingState.NONE
        return CatalogStanding(
            state,
            held.catalog_id,
            held.version.number,
            held.version.made_us,
            len(held.content.areas),
            len(held.content.nodes),
            len(held.content.cameras),
            0 if self._root is None else self._root.highest_held,
        )

    async def list_areas(
        self, context: ReadContext, within: str = "", *, former: bool = False
    ) -> AsyncIterator[Area | RetiredArea | Notice | End]:
        """Parents before children, former ones last. Raises :exc:`AreaNotFound`, :exc:`AreaAmbiguous`."""
        held = self._holder.held
        codes = held.tree.codes(within) if within else None
        for area in held.tree:
            if codes is None or area.code in codes:
                yield area
        if former:
            for retired in held.content.retired:
                if codes is None or retired.code in codes:
                    yield retired
        yield End(complete=True)

    async def list_nodes(self, context: ReadContext) -> AsyncIterator[NodeEntry | Notice | End]:
        """By name."""
        for node in self._holder.held.content.nodes:
            yield node
        yield End(complete=True)

    async def list_cameras(self, context: ReadContext) -> AsyncIterator[CameraEntry | Notice | End]:
        """By node and name."""
        for camera in self._holder.held.content.cameras:
            yield camera
        yield End(complete=True)
