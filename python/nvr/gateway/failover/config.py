"""``[failover]`` of a gateway's settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from nvr.gateway.failover.types import Group
from nvr.settings.document import Fault
from nvr.settings.fields import DurationUs, NodeName, Section

__all__ = ["FailoverSettings", "GroupSettings", "failover_faults"]

_BPS = 1_000_000


class GroupSettings(Section):
    """``[[failover.group]]``: recorders that stand by for one another. All are children of the gateway."""

    name: NodeName
    """Slug, unique within the gateway; its leases are kept under it."""
    recorders: list[NodeName] = Field(min_length=1, max_length=200)
    """Names of the recorders whose cameras are looked after."""
    standbys: list[NodeName] = Field(default=[], max_length=200)
    """Names of recorders that take cameras first, such as one that has none of its own (N+1)."""
    spread: bool = True
    """Whether the recorders take one another's cameras, evenly by bitrate."""
    prepare_at: int = Field(default=2, ge=1, le=16)
    """At so many nodes each camera is prepared: they get its address and password, sealed to them."""
    give_back: bool = True
    """Whether a node that is back gets its cameras back by itself."""
    dead_after: DurationUs = 6_000_000
    """A node that is silent for so long is dead."""
    pictures_after: DurationUs = 10_000_000
    """A holder without pictures for so long is relieved, if another node gets some."""
    stable_after: DurationUs = 30_000_000
    """A node is back for so long before it gets its cameras; doubled for each death of the last hour."""
    probe_every: DurationUs = 600_000_000
    """How often a standby tries whether it still reaches a camera."""
    capacity_mbps: int | None = Field(default=None, ge=1, le=1_000_000)
    """Megabits a second that a node of the group may record; default: any."""

    def group(self) -> Group:
        """As the authority takes it."""
        return Group(
            name=self.name,
            recorders=tuple(self.recorders),
            standbys=tuple(self.standbys),
            spread=self.spread,
            prepare_at=self.prepare_at,
            give_back=self.give_back,
            capacity_bps=None if self.capacity_mbps is None else self.capacity_mbps * _BPS,
            dead_after_us=self.dead_after,
            pictures_after_us=self.pictures_after,
            stable_after_us=self.stable_after,
            probe_every_us=self.probe_every,
            # Two may be lost or late.
            heartbeat_ms=min(2000, self.dead_after // 3000),
        )


class FailoverSettings(Section):
    """``[failover]``: which recorders stand by for one another."""

    group: list[GroupSettings] = Field(default=[], max_length=100)


def failover_faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """What no single field shows: a recorder in two groups would have two authorities."""
    failover = document.get("failover")
    groups = failover.get("group") if isinstance(failover, dict) else None
    names: set[str] = set()
    homes: dict[str, int] = {}
    for number, group in enumerate(groups if isinstance(groups, list) else [], 1):
        if not isinstance(group, dict):
            continue
        place = f"failover.group[{number}]"
        name = group.get("name")
        if isinstance(name, str):
            if name in names:
                yield f"{place}.name", f"{name[:80]!r} is also the name of another group"
            names.add(name)
        recorders = group.get("recorders")
        for position, recorder in enumerate(recorders if isinstance(recorders, list) else [], 1):
            if not isinstance(recorder, str):
                continue
            if recorder in homes:
                yield f"{place}.recorders[{position}]", f"the same as in group[{homes[recorder]}]"
            homes.setdefault(recorder, number)
