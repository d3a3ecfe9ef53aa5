"""What a child may say: of nodes that are below it, within what it was asked, in order."""

from collections.abc import Sequence
from dataclasses import replace

from nvr.directory.directory import Directory
from nvr.footage.types import Gap, Notice, Span, TimeRange
from nvr.gateway.links import AnyLink
from nvr.gateway.merge import fits
from nvr.gateway.trouble import LieError

__all__ = ["Below"]


class Below:
    """The nodes behind a link, for which its child may speak."""

    def __init__(self, directory: Directory, link: AnyLink) -> None:
        self._directory = directory
        self._link = link
        self._names: dict[str, str] = {}

    def name(self, said: str) -> str | None:
        """What a node is called here that the child calls so; None: it is elsewhere.

        Two nodes may have taken one name: the child means that of its own. A node that
        nobody has told of yet may be there.
        """
        name = self._names.get(said)
        if name is None:
            found = self._find(said)
            if found is None:
                return None
            name = self._names[said] = found
        return name

    def _find(self, said: str) -> str | None:
        directory, child_id = self._directory, self._link.node_id
        node = directory.node_named(said)
        if node is not None and directory.route(node.id) == child_id:
            return directory.name_of(node.id)
        for each in directory.nodes():
            if each.name == said and directory.route(each.id) == child_id:
                return directory.name_of(each.id)
        return said if node is None or said == self._link.name else None

    def check_node(self, said: str) -> str:
        """What a node is called here. Raises :exc:`LieError` when it is elsewhere."""
        name = self.name(said)
        if name is None:
            raise LieError(
                f"it says that its footage is of node {said[:80]}, which is not below it",
                node=self._link.name,
            )
        return name

    def check_coverage(self, items: Sequence[Span | Gap], range_: TimeRange) -> Sequence[Span | Gap]:
        """The items, with the names of nodes as they are here.

        Raises :exc:`LieError` for spans and gaps that overlap, lie outside, or are of a node elsewhere.
        """
        if not fits(items, range_):
            raise LieError(
                "its spans and gaps overlap, or lie outside of what it was asked", node=self._link.name
            )
        names = {item.node: "" for item in items if isinstance(item, Span)}
        for said in names:
            names[said] = self.check_node(said)
        if all(said == name for said, name in names.items()):
            return items
        return [replace(item, node=names[item.node]) if isinstance(item, Span) else item for item in items]

    def notice(self, notice: Notice) -> Notice:
        """A child's warning; what it says against a node that is not below it is about itself."""
        return replace(notice, node=self.name(notice.node) or self._link.name)
