"""Areas as a node knows them: those of the catalog that it holds, and codes that only cameras have."""

from collections.abc import Callable

from nvr.directory.directory import Directory
from nvr.errors import AreaAmbiguous, AreaNotFound
from nvr.network_catalog.areas import AreaTree

__all__ = ["HeldAreas"]

_NO_AREAS = AreaTree()


class HeldAreas:
    """A :class:`nvr.directory.types.AreaResolver`. ``tree``: gives the newest; None: there is no catalog."""

    def __init__(self, directory: Directory, tree: Callable[[], AreaTree] | None = None) -> None:
        self._directory = directory
        self._tree = tree or (lambda: _NO_AREAS)

    def codes(self, area: str) -> frozenset[str]:
        """Codes of an area by its code or name, of all within it, and of all that count to it.

        Raises :exc:`AreaNotFound`, :exc:`AreaAmbiguous`.
        """
        try:
            found = self._tree().codes(area)
        except AreaNotFound as error:
            if self._directory.has_area(area):
                return frozenset((area,))
            own = self._directory.own.name
            raise AreaNotFound(
                f"{error.message}; and no camera below {own} is in an area {area[:200]!r}",
                field="where.area",
                facts=error.facts,
                node=own,
            ) from None
        except AreaAmbiguous:
            if self._directory.has_area(area):
                return frozenset((area,))
            raise
        # Recorders may tell codes that nobody has put into the catalog, and that are like a name there.
        told = area not in found and self._directory.has_area(area)
        return found | {area} if told else found
