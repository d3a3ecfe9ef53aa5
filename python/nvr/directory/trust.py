"""What a child tells, before it is kept: it must be of sound form, and the tree must hang together.

A child may be broken or lie. What it tells is refused with :exc:`TreeRefused`,
whose ``facts["code"]`` says why: ``malformed``, ``cycle``, ``foreign`` (of nodes
that are not below it) or ``two_parents``.
"""

import math
import re
from collections.abc import Callable, Iterable

from nvr.directory.types import CameraEntry, DirectoryBatch, NodeEntry
from nvr.errors import TreeRefused
from nvr.footage.types import Camera, Place, View

__all__ = ["MOST_ENTRIES", "check_batch", "check_tree"]

MOST_ENTRIES = 10_000
"""In one batch. Those that this version sends have 500."""
_MOST_INTEGER = (1 << 63) - 1
_MOST_US = 253_402_300_799_000_000
_MOST_TEXT = 200
_MOST_ID = 64
# As long as ids and names are by contract: a cursor holds both.
_MOST_CAMERA_ID = 36
_CAMERA_NAME = re.compile(r'[^\s"/\\]{1,63}')
_MOST_REACH_M = 20_000


def check_batch(batch: DirectoryBatch, teller: str) -> None:
    """Raises :exc:`TreeRefused` for what no node of any version may tell. ``teller``: what to call it."""
    many = (batch.nodes, batch.nodes_gone, batch.cameras, batch.cameras_gone)
    if sum(map(len, many)) > MOST_ENTRIES:
        raise _malformed(teller, f"a batch of more than {MOST_ENTRIES} entries")
    if not 0 <= batch.version <= _MOST_INTEGER or len(batch.epoch) > _MOST_ID:
        raise _malformed(teller, "a version or an epoch that is none")
    for node in batch.nodes:
        if not _is_node(node):
            raise _malformed(teller, f"node {node.name[:60]!r} with values that cannot be")
    for entry in batch.cameras:
        if not _is_entry(entry):
            raise _malformed(teller, f"camera {entry.camera.name[:60]!r} with values that cannot be")


def check_tree(
    nodes: Iterable[NodeEntry], child_id: str, find: Callable[[str], NodeEntry | None], *, whole: bool
) -> None:
    """Raises :exc:`TreeRefused` where the way up from a node comes back to it.

    ``whole``: all is told; then each way must lead to the child.
    """
    sound = {child_id}
    for node in nodes:
        way: list[NodeEntry] = []
        at: NodeEntry | None = node
        while at is not None and at.id not in sound:
            if any(each.id == at.id for each in way):
                path = " → ".join(each.name for each in reversed([*way, at]))
                raise TreeRefused(
                    f"a cycle: {path}; a node cannot stand below itself",
                    facts={"code": "cycle", "path": path},
                )
            way.append(at)
            at = find(at.parent_id)
        if at is not None:
            sound.update(each.id for each in way)
        elif whole:
            raise TreeRefused(
                f"node {way[-1].name} is told to be below {way[-1].parent_id[:16]}…, which is not told of",
                facts={"code": "foreign"},
            )


def _malformed(teller: str, what: str) -> TreeRefused:
    return TreeRefused(f"node {teller} tells of {what}", facts={"code": "malformed"})


def _is_node(node: NodeEntry) -> bool:
    offset_us = node.clock_offset_us or 0
    return (
        _is_text(node.id, _MOST_ID)
        and _is_text(node.name, _MOST_TEXT)
        and len(node.parent_id) <= _MOST_ID
        and len(node.version) <= _MOST_TEXT
        and len(node.reason) <= _MOST_TEXT
        and len(node.capabilities) <= _MOST_TEXT
        and all(len(each) <= _MOST_TEXT for each in node.capabilities)
        and -_MOST_US <= node.seen_us <= _MOST_US
        and -_MOST_US <= offset_us <= _MOST_US
    )


def _is_entry(entry: CameraEntry) -> bool:
    camera = entry.camera
    return (
        _is_text(camera.id, _MOST_CAMERA_ID)
        and camera.id.isascii()
        and _is_name(camera.name)
        and len(camera.title) <= _MOST_TEXT
        and len(camera.area) <= _MOST_TEXT
        and (camera.place is None or _is_place(camera.place))
        and (camera.view is None or _is_view(camera.view))
        and (camera.height_m is None or math.isfinite(camera.height_m))
        and _are_streams(camera)
    )


def _is_text(text: str, most: int) -> bool:
    return 0 < len(text) <= most


def _is_name(text: str) -> bool:
    whole = _CAMERA_NAME.fullmatch(text) is not None and text.isprintable()
    return whole and len(text.encode("utf-8", "replace")) <= 63


def _is_place(place: Place) -> bool:
    # Also false for NaN.
    return -90 <= place.latitude <= 90 and -180 <= place.longitude <= 180


def _is_view(view: View) -> bool:
    return (
        0 <= view.direction_deg <= 360 and 0 <= view.angle_deg <= 360 and 0 <= view.reach_m <= _MOST_REACH_M
    )


def _are_streams(camera: Camera) -> bool:
    streams = camera.streams
    return len({stream.kind for stream in streams}) == len(streams) and all(
        0 <= stream.oldest_us <= _MOST_US and 0 <= stream.newest_us <= _MOST_US for stream in streams
    )
