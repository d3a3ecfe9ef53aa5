"""Values of leases; they mirror ``protos/nvr/v1/lease.proto``, which says what each means."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from nvr.footage.types import End, Notice, ReadContext
from nvr.security.confirm import Confirmation
from nvr.security.sealing import SealingKey

__all__ = [
    "GroupLease",
    "LeaseAuthority",
    "LeaseHolder",
    "LeaseState",
    "NodeLeases",
    "SealedCamera",
    "Standing",
]

Standing = Literal["steady", "taking", "yielding", "uncovered", "retired"]


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A camera as a recorder holds it, or could."""

    camera_id: str
    name: str = ""
    epoch: int = 0
    held: bool = False
    since_us: int = 0
    home: bool = False
    retired: bool = False
    recording: bool = False
    recording_for_us: int = 0
    reason: str = ""
    bitrate_bps: int = 0
    changed_us: int = 0
    reachable: bool = False
    probed: bool = False


@dataclass(frozen=True, slots=True)
class NodeLeases:
    """What a node holds, and what it could take."""

    node_id: str
    node: str
    now_us: int
    load_bps: int = 0
    free_bytes: int = 0
    cameras: Sequence[LeaseState] = ()


@dataclass(frozen=True, slots=True, repr=False)
class SealedCamera:
    """A camera's settings, readable by one node alone."""

    camera_id: str
    changed_us: int
    box: bytes

    @property
    def bound_to(self) -> str:
        """What the box is about."""
        return bound_to(self.camera_id, self.changed_us)

    def __repr__(self) -> str:
        return f"SealedCamera({self.camera_id!r}, {self.changed_us}, {len(self.box)} bytes)"


def bound_to(camera_id: str, changed_us: int) -> str:
    """What a box of a camera's settings is about."""
    return f"{camera_id}/{changed_us}"


class LeaseHolder(Protocol):
    """A recorder's side of its leases. See ``nvr.v1.LeaseService`` for each method."""

    async def list_leases(self, context: ReadContext) -> NodeLeases:
        """As it is now."""

    def heartbeat(
        self, context: ReadContext, interval_ms: int = 0
    ) -> AsyncIterator[NodeLeases | Notice | End]:
        """The same, again and again."""

    async def sealing_key(self, context: ReadContext) -> SealingKey:
        """The key to which settings for the node are sealed."""

    async def seal_camera(self, context: ReadContext, camera: str, recipient: SealingKey) -> SealedCamera:
        """A camera's settings for another node. Raises :exc:`nvr.errors.AccessDenied`."""

    async def prepare(self, context: ReadContext, sealed: SealedCamera) -> LeaseState:
        """Keeps them, and probes. Raises :exc:`nvr.errors.InvalidArgument`."""

    async def probe(self, context: ReadContext, camera: str) -> LeaseState:
        """Tries whether the camera answers. Raises :exc:`nvr.errors.CameraNotFound`."""

    async def take(self, context: ReadContext, camera: str, epoch: int) -> LeaseState:
        """Takes the duty. Raises :exc:`nvr.errors.LeaseStale`, :exc:`nvr.errors.CameraNotFound`."""

    async def confirm(self, context: ReadContext, camera: str, epoch: int) -> Confirmation | None:
        """The node's word that it records, if it does."""

    async def give_up(
        self, context: ReadContext, camera: str, epoch: int, taker_id: str, confirmation: Confirmation
    ) -> LeaseState:
        """Yields. Raises :exc:`nvr.errors.LeaseStale`, :exc:`nvr.errors.AccessDenied`."""

    async def forget(self, context: ReadContext, camera: str, *, retired: bool = False) -> None:
        """Deletes kept settings. Raises :exc:`nvr.errors.LeaseHeld`."""

    async def adopt(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> LeaseState:
        """Makes it the node's own. Raises :exc:`nvr.errors.CameraExists`."""


@dataclass(frozen=True, slots=True)
class GroupLease:
    """How a lease of a group stands."""

    camera_id: str
    name: str
    group: str
    home: str
    holder: str
    epoch: int
    recording: bool
    state: Standing
    recorded_by: Sequence[str] = ()
    standbys: Sequence[str] = ()
    bitrate_bps: int = 0


class LeaseAuthority(Protocol):
    """The authority over the leases of groups. See ``nvr.v1.LeaseAuthorityService``."""

    def list_group_leases(self, context: ReadContext) -> AsyncIterator[GroupLease | Notice | End]:
        """Every camera of the groups, by group and name."""

    async def move_lease(
        self, context: ReadContext, camera: str, to: str, *, dry_run: bool = False
    ) -> GroupLease:
        """Decides a move. Raises :exc:`nvr.errors.LeaseRefused`, :exc:`nvr.errors.CameraNotFound`."""

    async def give_back_leases(
        self, context: ReadContext, node: str = "", *, dry_run: bool = False
    ) -> tuple[Sequence[GroupLease], Sequence[GroupLease]]:
        """Those that move to their homes now, and those that stay."""
