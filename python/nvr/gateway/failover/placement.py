"""Which node takes a camera: dedicated standbys first, then the one that is loaded least. No chance in it."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Candidate", "choose", "standby_order"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that reaches the camera. ``recording``: it records it already, so that taking costs nothing."""

    node: str
    recording: bool
    standby: bool


def choose(
    candidates: Iterable[Candidate],
    loads_bps: Mapping[str, int],
    bitrate_bps: int,
    capacity_bps: int | None,
) -> str | None:
    """The node; None when none has room."""
    fit = [
        each
        for each in candidates
        if each.recording or capacity_bps is None or loads_bps.get(each.node, 0) + bitrate_bps <= capacity_bps
    ]
    if not fit:
        return None
    return min(
        fit, key=lambda each: (not each.recording, not each.standby, loads_bps.get(each.node, 0), each.node)
    ).node


def standby_order(camera_id: str, nodes: Iterable[str]) -> list[str]:
    """The nodes in an order of the camera's own (rendezvous hashing).

    Each camera of a node has another order, so that what a dead one leaves is
    spread; and a node that joins or leaves changes no order of the others.
    """
    return sorted(nodes, key=lambda node: hashlib.sha256(f"{camera_id}/{node}".encode()).digest())
