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
        self._passed: set[str] = set()

    def has(self, name: str) -> bool:
        """Whether a node of this name is there; one that nobody has told of may be."""
        if name in self._passed or name == self._link.name:
            return True
        node = self._directory.node_named(name)
        if node is not None and self._directory.route(node.id) != self._link.node_id:
            # Two nodes may have taken one name: that of another child makes no liar of this one.
            named = (each for each in self._directory.nodes() if each.name == name)
            if not any(self._directory.route(each.id) == self._link.node_id for each in named):
                return False
        self._passed.add(name)
        return True

    def check_node(self, name: str) -> None:
        """Raises :exc:`LieError` when footage is said to be of a node elsewhere."""
        if not self.has(name):
            raise LieError(
                f"it says that its footage is of node {name[:80]}, which is not below it",
                node=self._link.name,
            )

    def check_coverage(self, items: Sequence[Span | Gap], range_: TimeRange) -> None:
        """Raises :exc:`LieError` for spans and gaps that overlap, lie outside, or are of a node elsewhere."""
        if not fits(items, range_):
            raise LieError(
                "its spans and gaps overlap, or lie outside of what it was asked", node=self._link.name
            )
        for item in items:
            if isinstance(item, Span):
                self.check_node(item.node)

    def notice(self, notice: Notice) -> Notice:
        """A child's warning; what it says against a node that is not below it is about itself."""
        return notice if self.has(notice.node) else replace(notice, node=self._link.name)
