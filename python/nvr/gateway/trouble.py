"""What went wrong with a node below, as a warning with a stable code: it costs its own answer only."""

from collections.abc import Sequence

from nvr.errors import (
    AccessDenied,
    DeadlineExceeded,
    Incomplete,
    NodeUnavailable,
    NvrError,
    TreeRefused,
)
from nvr.footage.calls import OMISSIONS
from nvr.footage.types import Notice, TimeRange

__all__ = ["LieError", "code_of", "not_known", "omissions", "refused", "trouble"]


class LieError(NvrError):
    """A node's answer contradicts what it may say."""

    reason = "NODE_LIED"


def code_of(error: BaseException) -> str:
    """The warning code that an error of a node stands for; see ``nvr.v1.Warning.code``."""
    if isinstance(error, TreeRefused | LieError):
        return "node_lied"
    if isinstance(error, DeadlineExceeded | TimeoutError):
        return "deadline"
    if isinstance(error, AccessDenied):
        return "node_refused"
    if isinstance(error, NodeUnavailable):
        return "node_unreachable"
    return "node_failed"


def trouble(
    error: BaseException, *, node: str, camera_id: str = "", range: TimeRange | None = None, cameras: int = 0
) -> Notice:
    """A warning about a node whose answer is missing: the one that failed, else ``node``, that was asked."""
    node = getattr(error, "node", "") or node
    text = error.message if isinstance(error, NvrError) else "it did not answer in time"
    return Notice(code_of(error), f"no answer of node {node}: {text}", node, camera_id, range, cameras)


def omissions(notices: Sequence[Notice]) -> list[Notice]:
    """The warnings that say that something is missing."""
    return [notice for notice in notices if notice.code in OMISSIONS]


def not_known(missing: Sequence[Notice]) -> NodeUnavailable:
    """The error where no node that answers has something, and another may."""
    return NodeUnavailable(missing[0].message, node=missing[0].node)


def refused(missing: Sequence[Notice]) -> Incomplete:
    """The error of an answer that is one value, and to which a node that may have a better one is missing."""
    first = missing[0]
    return Incomplete(
        f"partial answers were refused, and part is missing: {first.message}",
        facts={"warning": first.code},
        node=first.node,
    )
