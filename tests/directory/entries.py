"""Nodes and cameras for tests of the directory."""

import uuid

from hypothesis import strategies as st

from nvr.directory.types import CameraEntry, NodeEntry
from nvr.footage.types import (
    Camera,
    NodeKind,
    OwnerKind,
    Place,
    StreamInfo,
    StreamName,
    StreamState,
    View,
)

SECOND = 1_000_000
ZERO_US = 1_731_182_400 * SECOND


def node_id(name: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_DNS, name).hex * 2


def node(name: str, parent: str = "", **more: object) -> NodeEntry:
    entry = NodeEntry(node_id(name), name, node_id(parent) if parent else "", NodeKind.RECORDER, "0.2.0")
    return entry if not more else NodeEntry(**{**_fields(entry), **more})  # type: ignore[arg-type]


def _fields(entry: NodeEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in NodeEntry.__slots__}


def camera_id(number: int) -> str:
    return f"0193143f-0000-7000-8000-{number:012x}"


def camera(
    number: int,
    name: str = "",
    *,
    place: Place | None = None,
    view: View | None = None,
    area: str = "",
    state: StreamState = StreamState.RECORDING,
    reason: str = "",
    kept: tuple[int, int] = (ZERO_US, ZERO_US + 100 * SECOND),
    kind: StreamName = "main",
) -> Camera:
    stream = StreamInfo(
        kind,
        state,
        reason,
        oldest_us=kept[0],
        newest_us=0 if state is StreamState.RECORDING else kept[1],
    )
    return Camera(
        camera_id(number),
        name or f"camera-{number}",
        place=place,
        streams=(stream,),
        view=view,
        area=area,
        owner=OwnerKind.HOUSEHOLD,
    )


def entry(of: str, told: Camera, *, assigned: bool = True, epoch: int = 0) -> CameraEntry:
    return CameraEntry(node_id(of), told, assigned, epoch)


places = st.builds(
    Place,
    st.floats(19.8, 20.0) | st.sampled_from([19.9, 19.90000001]),
    st.floats(105.8, 106.0) | st.sampled_from([105.9, 105.90000001]),
)
views = st.builds(View, st.floats(0, 360), st.floats(1, 360), st.sampled_from([0.0, 30.0, 500.0, 20_000.0]))
cameras = st.builds(
    camera,
    st.integers(0, 12),
    st.sampled_from(["", "gate", "yard", "chợ"]),
    place=st.none() | places,
    view=st.none() | views,
    area=st.sampled_from(["", "38-1", "38-2"]),
    state=st.sampled_from([StreamState.RECORDING, StreamState.WAITING, StreamState.DISABLED]),
    reason=st.sampled_from(["", "unreachable", "removed"]),
    kept=st.tuples(st.integers(0, 50), st.integers(0, 50)).map(
        lambda pair: (ZERO_US + pair[0] * SECOND, ZERO_US + (pair[0] + pair[1]) * SECOND)
    ),
)
