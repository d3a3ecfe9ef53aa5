"""What goes into an authority and what comes out of it. Times are of a clock that is never set."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from nvr.lease.types import LeaseState

__all__ = [
    "Answer",
    "Change",
    "Command",
    "EventKind",
    "Forget",
    "Group",
    "LeaseEvent",
    "LeaseRecord",
    "Outcome",
    "Prepare",
    "Probe",
    "Take",
    "Yield",
]

Change = Literal["", "taken_over", "moved", "given_back"]
EventKind = Literal["lease_taken_over", "lease_given_back", "lease_moved", "standby_unreachable"]
_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Group:
    """Recorders that stand by for one another, by name. Durations in microseconds.

    ``standbys`` record nothing of their own (N+1). With ``spread`` the recorders
    take one another's cameras too, as evenly as bitrates allow.
    """

    name: str
    recorders: Sequence[str]
    standbys: Sequence[str] = ()
    spread: bool = True
    prepare_at: int = 2
    """At so many nodes each camera is prepared, standbys first."""
    give_back: bool = True
    capacity_bps: int | None = None
    """Of each node."""
    dead_after_us: int = 6 * _S
    """Silent for so long is dead."""
    pictures_after_us: int = 10 * _S
    """A holder without pictures for so long is as good as dead, where another node gets some."""
    stable_after_us: int = 30 * _S
    """Back for so long before it is given its cameras back; doubled for each death of the last hour."""
    overlap_us: int = 2 * _S
    """So long both record before one yields: more than clocks are apart."""
    probe_every_us: int = 600 * _S
    heartbeat_ms: int = 2000

    @property
    def members(self) -> tuple[str, ...]:
        """All its nodes."""
        return (*self.recorders, *(name for name in self.standbys if name not in self.recorders))


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What of a camera's lease is durable.

    ``epoch``: the highest handed out or learned of, and ``holder`` the node that
    has it. ``placed``: where the camera is meant to be when all is well.
    ``change``: how it came to its holder, until the change is complete.
    """

    camera_id: str
    name: str
    home: str
    holder: str
    epoch: int
    placed: str
    change: Change = ""
    came_from: str = ""
    retired: bool = False


@dataclass(frozen=True, slots=True)
class Prepare:
    """Settings go sealed from ``giver`` to ``node``."""

    camera_id: str
    node: str
    giver: str


@dataclass(frozen=True, slots=True)
class Probe:
    """``node`` tries whether it reaches the camera."""

    camera_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Take:
    """``node`` takes the camera. Its epoch is durable."""

    camera_id: str
    node: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Yield:
    """``node`` gives the camera up to ``taker``, whose confirmation is fetched first."""

    camera_id: str
    node: str
    epoch: int
    taker: str


@dataclass(frozen=True, slots=True)
class Forget:
    """``node`` forgets a camera that is not to be recorded any more."""

    camera_id: str
    node: str


Command = Prepare | Probe | Take | Yield | Forget


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a command. ``stale_epoch``: the newest that the node knew of, if it refused for that."""

    ok: bool
    state: LeaseState | None = None
    stale_epoch: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """``kind``: see Event.kind in the protos."""

    kind: EventKind
    camera_id: str
    name: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """What a step led to: records to make durable first, all or none, and then the rest."""

    records: list[LeaseRecord] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    events: list[LeaseEvent] = field(default_factory=list)
