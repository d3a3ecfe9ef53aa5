"""The authority of one group: a state machine without clock, network or chance.

Heartbeats, answers and the passing of time go in; records to make durable,
commands and events come out. It decides for each camera alone, from what the
nodes say now and from one durable record, so that it can be stopped between any
two steps, restarted, or restored from a backup. Four rules keep footage safe:

1. An epoch is durable before it is handed out, and is above every epoch that
   any node was ever heard to know.
2. Who records is told to stop only when the holder of the highest epoch says
   that it has recorded for a while; the recorder checks that for itself.
3. Silence takes nothing from the silent: it goes on, and both record.
4. Before the group has been heard out (or ``dead_after`` has passed) nothing is
   handed out.

``docs/failover.md`` argues why no footage is lost.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from nvr.errors import CameraNotFound, LeaseRefused
from nvr.gateway.failover.placement import Candidate, choose, standby_order
from nvr.gateway.failover.types import (
    Answer,
    Change,
    Command,
    EventKind,
    Forget,
    Group,
    LeaseEvent,
    LeaseRecord,
    Outcome,
    Prepare,
    Probe,
    Take,
    Yield,
)
from nvr.lease.types import GroupLease, LeaseState, NodeLeases, Standing

__all__ = ["Authority"]

_S = 1_000_000
_HOUR_US = 3600 * _S
# A command without an answer is lost after so long; the driver's deadlines are shorter.
_LOST_US = 60 * _S
_RETRY_US = 2 * _S
_STALL_US = 2 * _S
_RETRY_MOST_US = 300 * _S
_PROBE_RETRY_US = 30 * _S
_ANSWER_US = 3 * _S
"""So long a node that is to be preferred may take to say whether it reaches a camera."""
_FAILED_US = 60 * _S
_AT_ONCE = 4
"""Preparations and probes of one node at the same time."""
_TRANSFERS = 16
"""Cameras that are moved or given back at the same time."""
_UNKNOWN_BPS = 2_000_000
_MOST_DOUBLINGS = 6
_MOST_EPOCH = 3_900_000_000
"""Of what a node may make us believe; the contract allows some more."""


@dataclass(slots=True)
class _Node:
    node_id: str = ""
    seen_us: int | None = None
    back_us: int = 0
    alive: bool = False
    deaths_us: list[int] = field(default_factory=list)
    cameras: dict[str, LeaseState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Failure:
    """``until_us``: not before then is the camera brought there while another records it."""

    at_us: int
    until_us: int
    times: int


@dataclass(slots=True)
class _Camera:
    """What need not last of a camera."""

    dark_us: int | None = None
    """Since when its holder has no pictures."""
    told_uncovered: bool = False
    bitrate_bps: int = 0
    failed: dict[str, "_Failure"] = field(default_factory=dict)
    """Nodes that took it and got no pictures."""


class Authority:
    """``records``: what was durable. Every method takes the time now, which never goes back."""

    def __init__(self, group: Group, records: Iterable[LeaseRecord], now_us: int) -> None:
        self._group = group
        self._nodes = {name: _Node() for name in group.members}
        # A camera whose home has left the group is its home's alone.
        self._records = {record.camera_id: record for record in records if record.home in self._nodes}
        self._cameras: dict[str, _Camera] = {}
        self._started_us = self._stepped_us = self._deaf_until_us = now_us
        self._asked: dict[tuple[type[Command], str, str], int] = {}
        self._not_before: dict[tuple[type[Command], str, str], tuple[int, int]] = {}
        self._probed_us: dict[tuple[str, str], int] = {}
        self._loads: dict[str, int] = {}

    # --- what goes in ---------------------------------------------------------

    def beat(self, node: str, leases: NodeLeases, now_us: int) -> Outcome:
        """A member's heartbeat."""
        outcome = Outcome()
        self._pass(now_us)
        known = self._nodes[node]
        if not known.alive:
            known.alive, known.back_us = True, now_us
        known.node_id, known.seen_us = leases.node_id, now_us
        known.cameras = {state.camera_id: state for state in leases.cameras}
        for state in leases.cameras:
            self._learn(node, state, outcome)
        return self._steer_all(now_us, outcome)

    def tick(self, now_us: int) -> Outcome:
        """Time passes: to be called about twice a second."""
        return self._steer_all(now_us, Outcome())

    def answered(self, command: Command, answer: Answer, now_us: int) -> Outcome:
        """What became of a command."""
        outcome = Outcome()
        key = (type(command), command.camera_id, command.node)
        self._asked.pop(key, None)
        if answer.ok:
            self._not_before.pop(key, None)
        else:
            _, tries = self._not_before.get(key, (0, 0))
            wait_us = _RETRY_US if isinstance(command, Take | Yield) else _backoff(tries)
            self._not_before[key] = (now_us + wait_us, tries + 1)
        node = self._nodes[command.node]
        if answer.state is not None and node.alive:
            node.cameras[command.camera_id] = answer.state
            self._learn(command.node, answer.state, outcome)
        if isinstance(command, Probe | Prepare):
            self._probed_us[command.camera_id, command.node] = now_us
        record = self._records.get(command.camera_id)
        if answer.stale_epoch is not None and record is not None:
            self._outbid(record, answer.stale_epoch, command, outcome)
        return self._steer_all(now_us, outcome)

    def move(self, camera_id: str, to: str, now_us: int, *, dry_run: bool = False) -> Outcome:
        """Moves a camera for good. Raises :exc:`LeaseRefused`, :exc:`CameraNotFound`."""
        record = self._record(camera_id)
        outcome = Outcome()
        if record.holder != to or record.placed != to:
            self._loads = self._assigned_bps()
            self._refuse(record, to, now_us)
            if not dry_run:
                placed = replace(record, placed=to)
                if record.holder == to:
                    self._keep(placed, outcome)
                else:
                    self._assign(placed, to, "moved", outcome)
        return outcome if dry_run else self._steer_all(now_us, outcome)

    # --- what it says of itself -------------------------------------------------

    def leases(self) -> list[GroupLease]:
        """How each lease stands, by the camera's name."""
        ordered = sorted(self._records.values(), key=lambda record: (record.name, record.camera_id))
        return [self.lease(record.camera_id) for record in ordered]

    def lease(self, camera_id: str) -> GroupLease:
        """How a lease stands. Raises :exc:`CameraNotFound`."""
        record = self._record(camera_id)
        at_holder = self._at(record.holder, camera_id)
        recorded_by = [name for name, state in self._alive_at(camera_id) if state.held and state.recording]
        return GroupLease(
            camera_id=camera_id,
            name=record.name,
            group=self._group.name,
            home=record.home,
            holder=record.holder,
            epoch=record.epoch,
            recording=at_holder is not None and at_holder.held and at_holder.recording,
            state=self._standing(record, at_holder),
            recorded_by=recorded_by,
            standbys=[
                name
                for name, state in self._alive_at(camera_id)
                if name != record.holder and not state.retired and (state.reachable or name in recorded_by)
            ],
            bitrate_bps=self._camera(camera_id).bitrate_bps,
        )

    def alive(self) -> dict[str, bool]:
        """Whether each member is heard."""
        return {name: node.alive for name, node in self._nodes.items()}

    def _standing(self, record: LeaseRecord, at_holder: LeaseState | None) -> Standing:
        if record.retired:
            return "retired"
        if self._camera(record.camera_id).told_uncovered:
            return "uncovered"
        if at_holder is None or not at_holder.recording or at_holder.epoch != record.epoch:
            return "taking"
        others = any(name != record.holder and state.held for name, state in self._alive_at(record.camera_id))
        return "yielding" if others else "steady"

    # --- learning -----------------------------------------------------------------

    def _learn(self, node: str, state: LeaseState, outcome: Outcome) -> None:
        """What a node says that the records do not: new cameras, settings, and epochs from elsewhere."""
        camera_id = state.camera_id
        record = self._records.get(camera_id)
        if state.epoch > _MOST_EPOCH:
            # A node that says so lies, and would leave no epoch for others.
            return
        if record is None:
            # Of others' cameras it is not known that they are this group's.
            if state.home and node in self._group.recorders and not state.retired:
                record = LeaseRecord(camera_id, state.name, node, node, state.epoch, node)
                self._keep(record, outcome)
                for name, other in list(self._alive_at(camera_id)):
                    self._learn(name, other, outcome)
            return
        if state.bitrate_bps:
            self._camera(camera_id).bitrate_bps = state.bitrate_bps
        if state.home and node != record.home:
            if state.retired or not state.held or node not in self._group.recorders:
                # What is left of it where it was moved away from.
                return
            record = replace(record, home=node, placed=node)
            self._keep(record, outcome)
        if state.home and (record.name, record.retired) != (state.name, state.retired):
            record = replace(record, name=state.name, retired=state.retired)
            self._keep(record, outcome)
        if state.epoch > record.epoch and state.held:
            # Given by another authority, or by this one before it was restored from a backup.
            self._keep(replace(record, epoch=state.epoch, holder=node, change=""), outcome)
        elif state.epoch > record.epoch:
            # Somebody has that epoch, and nobody here knows who: the next one is the holder's.
            self._keep(replace(record, epoch=state.epoch + 1), outcome)
        elif state.held and state.epoch == record.epoch and node != record.holder:
            at_holder = self._at(record.holder, camera_id)
            # Where both have it, two authorities gave the same epoch: the one that is asked to yield
            # refuses, and is outbid.
            if at_holder is not None and not (at_holder.held and at_holder.epoch == record.epoch):
                self._keep(replace(record, holder=node, change=""), outcome)

    def _outbid(self, record: LeaseRecord, known_epoch: int, command: Command, outcome: Outcome) -> None:
        """A node knows of a newer epoch than the one that it was told, or of the same one as another's."""
        told = command.epoch if isinstance(command, Take | Yield) else 0
        if told == record.epoch <= known_epoch <= _MOST_EPOCH:
            self._keep(replace(record, epoch=known_epoch + 1), outcome)

    # --- steering -------------------------------------------------------------------

    def _steer_all(self, now_us: int, outcome: Outcome) -> Outcome:
        self._pass(now_us)
        self._see_deaths(now_us)
        self._asked = {key: due for key, due in self._asked.items() if due > now_us}
        heard_out = all(node.seen_us is not None for node in self._nodes.values())
        if not heard_out and now_us - self._started_us <= self._group.dead_after_us:
            return outcome
        self._loads = self._assigned_bps()
        # The largest first: so the last ones even out what is left.
        for record in sorted(self._records.values(), key=lambda each: (-self._bps(each), each.camera_id)):
            self._steer(record, now_us, outcome)
        return outcome

    def _pass(self, now_us: int) -> None:
        """Who was not listening cannot say that others were silent."""
        if now_us - self._stepped_us > _STALL_US:
            self._deaf_until_us = now_us
        self._stepped_us = now_us

    def _see_deaths(self, now_us: int) -> None:
        for node in self._nodes.values():
            silent_since_us = max(self._deaf_until_us, node.seen_us or 0)
            if node.alive and now_us - silent_since_us > self._group.dead_after_us:
                node.alive = False
                node.deaths_us = [at for at in node.deaths_us if now_us - at < _HOUR_US]
                node.deaths_us.append(now_us)

    def _steer(self, record: LeaseRecord, now_us: int, outcome: Outcome) -> None:
        if record.retired:
            self._retire(record, now_us, outcome)
            return
        self._prepare(record, now_us, outcome)
        camera, group = self._camera(record.camera_id), self._group
        state = self._at(record.holder, record.camera_id)
        if state is None:
            camera.dark_us = None
            why = "it does not know it" if self._nodes[record.holder].alive else "it is silent"
            self._cover(record, why, now_us, outcome, fresh=False)
            return
        has_duty = state.held and state.epoch == record.epoch
        if not has_duty:
            self._ask(Take(record.camera_id, record.holder, record.epoch), now_us, outcome)
        if not state.recording:
            if camera.dark_us is None:
                camera.dark_us = now_us
            if now_us - camera.dark_us > group.pictures_after_us:
                self._cover(record, "it gets no pictures", now_us, outcome, fresh=True)
            return
        camera.dark_us, camera.told_uncovered = None, False
        if has_duty and state.recording_for_us >= group.overlap_us:
            camera.failed.pop(record.holder, None)
            self._settle(record, now_us, outcome)

    def _settle(self, record: LeaseRecord, now_us: int, outcome: Outcome) -> None:
        """The holder records: others can stop, and a camera that is not where it is meant to be can go."""
        goes_back = self._goes_back(record)
        others = [
            name
            for name, state in self._alive_at(record.camera_id)
            if state.held and name != record.holder and not (goes_back and name == record.placed)
        ]
        for name in others:
            self._ask(Yield(record.camera_id, name, record.epoch, record.holder), now_us, outcome)
        if others:
            return
        if record.change:
            if record.change != "taken_over":
                kind: EventKind = "lease_moved" if record.change == "moved" else "lease_given_back"
                detail = f"from {record.came_from} to {record.holder}, epoch {record.epoch}"
                outcome.events.append(LeaseEvent(kind, record.camera_id, record.name, detail))
            record = replace(record, change="", came_from="")
            self._keep(record, outcome)
        if goes_back and self._is_stable(record.placed, now_us):
            self._bring(record, now_us, outcome)

    def _goes_back(self, record: LeaseRecord) -> bool:
        return (
            self._group.give_back
            and record.holder != record.placed
            and self._at(record.placed, record.camera_id) is not None
        )

    def _is_stable(self, name: str, now_us: int) -> bool:
        node = self._nodes[name]
        doublings = min(_MOST_DOUBLINGS, max(0, len(node.deaths_us) - 1))
        return node.alive and now_us - node.back_us >= self._group.stable_after_us << doublings

    def _bring(self, record: LeaseRecord, now_us: int, outcome: Outcome) -> None:
        """Gives a camera back to where it is meant to be, when it is reached from there."""
        if self._transfers() >= _TRANSFERS or self._has_failed(record, record.placed, now_us):
            return
        state = self._at(record.placed, record.camera_id)
        if state is None:
            return
        recording = state.held and state.recording
        back_us = self._nodes[record.placed].back_us
        if recording or self._reaches(record.camera_id, record.placed, state, back_us):
            self._assign(record, record.placed, "given_back", outcome)
            self._ask_take(record.camera_id, now_us, outcome)
        elif self._probed_us.get((record.camera_id, record.placed), -1) < back_us or not state.reachable:
            self._try(record.camera_id, record.placed, back_us, now_us, outcome)

    def give_back(self, camera_id: str, now_us: int, *, dry_run: bool = False) -> tuple[bool, Outcome]:
        """Places a camera at its home; whether it goes there now. Raises :exc:`CameraNotFound`."""
        record, outcome = self._record(camera_id), Outcome()
        self._loads = self._assigned_bps()
        try:
            self._refuse(record, record.home, now_us)
        except LeaseRefused:
            goes = False
        else:
            goes = True
        if dry_run:
            return goes, outcome
        record = replace(record, placed=record.home)
        if goes:
            self._assign(record, record.home, "given_back", outcome)
        else:
            self._keep(record, outcome)
        return goes, self._steer_all(now_us, outcome)

    def _cover(self, record: LeaseRecord, why: str, now_us: int, outcome: Outcome, *, fresh: bool) -> None:
        """Finds another node for a camera that its holder does not record. ``fresh``: by new probes only."""
        camera_id, camera = record.camera_id, self._camera(record.camera_id)
        since_us = camera.dark_us if fresh and camera.dark_us is not None else None
        candidates: list[Candidate] = []
        waiting: list[Candidate] = []
        for name, state in self._alive_at(camera_id):
            if name == record.holder or state.retired:
                continue
            failure = camera.failed.get(name)
            void_us = since_us if failure is None else max(since_us or 0, failure.at_us)
            recording = state.held and state.recording
            candidate = Candidate(name, recording, standby=name in self._group.standbys)
            if recording or self._reaches(camera_id, name, state, void_us):
                candidates.append(candidate)
            else:
                self._try(camera_id, name, void_us, now_us, outcome)
                if (Probe, camera_id, name) in self._asked:
                    waiting.append(candidate)
        bps, capacity_bps = self._bps(record), self._group.capacity_bps
        chosen = choose(candidates, self._loads, bps, capacity_bps)
        if since_us is not None and now_us - since_us <= self._group.pictures_after_us + _ANSWER_US:
            # Whoever answers first is not the one that should have it.
            best = choose([*candidates, *waiting], self._loads, bps, capacity_bps)
            if chosen is not None and best != chosen:
                return
        if chosen is not None:
            if self._at(record.holder, camera_id) is not None:
                failure = camera.failed.get(record.holder)
                times = 0 if failure is None else failure.times
                until_us = now_us + (_FAILED_US << min(_MOST_DOUBLINGS, times))
                camera.failed[record.holder] = _Failure(now_us, until_us, times + 1)
            detail = f"from {record.holder} ({why}) to {chosen}, epoch {record.epoch + 1}"
            self._assign(record, chosen, "taken_over", outcome)
            self._ask_take(camera_id, now_us, outcome)
            outcome.events.append(LeaseEvent("lease_taken_over", camera_id, record.name, detail))
        elif not waiting and not camera.told_uncovered:
            camera.told_uncovered = True
            none = "no node that reaches it has room" if candidates else "no standby reaches it"
            detail = f"{record.holder} does not record it ({why}), and {none}"
            outcome.events.append(LeaseEvent("standby_unreachable", camera_id, record.name, detail))

    def _assign(self, record: LeaseRecord, node: str, change: Change, outcome: Outcome) -> None:
        """The next epoch is a node's."""
        camera = self._camera(record.camera_id)
        camera.dark_us, camera.told_uncovered = None, False
        bps = self._bps(record)
        self._loads[node] = self._loads.get(node, 0) + bps
        self._loads[record.holder] = self._loads.get(record.holder, 0) - bps
        self._keep(
            replace(record, holder=node, epoch=record.epoch + 1, change=change, came_from=record.holder),
            outcome,
        )

    def _ask_take(self, camera_id: str, now_us: int, outcome: Outcome) -> None:
        record = self._records[camera_id]
        self._asked.pop((Take, camera_id, record.holder), None)
        self._not_before.pop((Take, camera_id, record.holder), None)
        self._ask(Take(camera_id, record.holder, record.epoch), now_us, outcome)

    def _refuse(self, record: LeaseRecord, to: str, now_us: int) -> None:
        """Raises :exc:`LeaseRefused` when a node cannot take a camera."""
        if to not in self._nodes:
            raise LeaseRefused(f"{to} is no node of group {self._group.name}", field="to")
        if record.retired:
            raise LeaseRefused(f"{record.name} is removed or disabled at {record.home}", field="camera")
        state = self._at(to, record.camera_id)
        if not self._nodes[to].alive:
            raise LeaseRefused(f"{to} is silent", field="to")
        if state is None:
            raise LeaseRefused(f"{record.name} is not prepared at {to}", field="to")
        recording = state.held and state.recording
        if not recording and not self._reaches(record.camera_id, to, state, None):
            raise LeaseRefused(f"{to} did not reach {record.name} when it last tried", field="to")
        candidate = Candidate(to, recording, standby=to in self._group.standbys)
        if choose([candidate], self._loads, self._bps(record), self._group.capacity_bps) is None:
            raise LeaseRefused(f"{to} has no room for {record.name}", field="to")

    def _retire(self, record: LeaseRecord, now_us: int, outcome: Outcome) -> None:
        for name, state in list(self._alive_at(record.camera_id)):
            if not state.home:
                self._ask(Forget(record.camera_id, name), now_us, outcome)
        if record.holder != record.home:
            # Should it be enabled again, its home records it.
            self._assign(replace(record, placed=record.home), record.home, "", outcome)

    # --- preparing --------------------------------------------------------------------

    def _prepare(self, record: LeaseRecord, now_us: int, outcome: Outcome) -> None:
        """Sees to it that the settings are where they may be needed, and that the camera is reached there."""
        camera_id = record.camera_id
        states = dict(self._alive_at(camera_id))
        giver = self._giver(record, states)
        for name in self._wanted_at(record):
            state = states.get(name)
            if not self._nodes[name].alive:
                continue
            if state is None or (not state.home and giver and state.changed_us < states[giver].changed_us):
                if giver is not None and giver != name and self._may_burden(Prepare, name):
                    self._ask(Prepare(camera_id, name, giver), now_us, outcome)
            elif self._probe_is_due(camera_id, name, state, now_us) and self._may_burden(Probe, name):
                self._ask(Probe(camera_id, name), now_us, outcome)

    def _giver(self, record: LeaseRecord, states: dict[str, LeaseState]) -> str | None:
        if record.home in states:
            return record.home
        newest = max(states.items(), key=lambda each: (each[1].changed_us, each[0]), default=None)
        return None if newest is None else newest[0]

    def _wanted_at(self, record: LeaseRecord) -> list[str]:
        group = self._group
        wanted = standby_order(record.camera_id, group.standbys)
        if group.spread:
            others = (name for name in group.recorders if name not in wanted and name != record.home)
            # A silent one is no help: another stands in until it is back.
            wanted += standby_order(record.camera_id, (name for name in others if self._nodes[name].alive))
        wanted = [name for name in wanted if name != record.home][: group.prepare_at]
        if record.holder != record.home:
            wanted.append(record.home)
        wanted += [
            name
            for name in (record.holder, record.placed)
            if name != record.home and name not in wanted and name in self._nodes
        ]
        return wanted

    def _may_burden(self, kind: type[Command], node: str) -> bool:
        return sum(1 for asked, _, name in self._asked if asked is kind and name == node) < _AT_ONCE

    def _reaches(self, camera_id: str, node: str, state: LeaseState, since_us: int | None) -> bool:
        """Whether the newest probe reached the camera; with ``since_us``, one made since then."""
        if not (state.probed and state.reachable):
            return False
        return since_us is None or self._probed_us.get((camera_id, node), -1) >= since_us

    def _probe_is_due(self, camera_id: str, node: str, state: LeaseState, now_us: int) -> bool:
        """Whether it is time to see again that a camera which nobody misses is reached."""
        if not state.probed:
            return True
        every_us = self._group.probe_every_us if state.reachable else _PROBE_RETRY_US
        # Of before this authority's start it is not known when, only that it was.
        return now_us - self._probed_us.get((camera_id, node), self._started_us) >= every_us

    def _try(self, camera_id: str, node: str, since_us: int | None, now_us: int, outcome: Outcome) -> None:
        """Probes for a camera that is missed, unless just done. ``since_us``: what is older is void."""
        probed_us = self._probed_us.get((camera_id, node))
        if (
            probed_us is None
            or (since_us is not None and probed_us < since_us)
            or now_us - probed_us >= _PROBE_RETRY_US
        ):
            self._ask(Probe(camera_id, node), now_us, outcome)

    # --- small things -------------------------------------------------------------------

    def _ask(self, command: Command, now_us: int, outcome: Outcome) -> None:
        """Once, until it is answered or lost, and not before its time after a failure."""
        key = (type(command), command.camera_id, command.node)
        if key in self._asked or self._not_before.get(key, (0, 0))[0] > now_us:
            return
        self._asked[key] = now_us + _LOST_US
        outcome.commands.append(command)

    def _keep(self, record: LeaseRecord, outcome: Outcome) -> None:
        self._records[record.camera_id] = record
        outcome.records.append(record)

    def _record(self, camera_id: str) -> LeaseRecord:
        record = self._records.get(camera_id)
        if record is None:
            raise CameraNotFound(f"group {self._group.name} has no camera {camera_id}", field="camera")
        return record

    def _camera(self, camera_id: str) -> _Camera:
        return self._cameras.setdefault(camera_id, _Camera())

    def _at(self, node: str, camera_id: str) -> LeaseState | None:
        """What a node that is heard says of a camera."""
        known = self._nodes.get(node)
        return known.cameras.get(camera_id) if known is not None and known.alive else None

    def _alive_at(self, camera_id: str) -> Iterator[tuple[str, LeaseState]]:
        for name, node in self._nodes.items():
            if node.alive and camera_id in node.cameras:
                yield name, node.cameras[camera_id]

    def _bps(self, record: LeaseRecord) -> int:
        return self._camera(record.camera_id).bitrate_bps or _UNKNOWN_BPS

    def _assigned_bps(self) -> dict[str, int]:
        loads = dict.fromkeys(self._nodes, 0)
        for record in self._records.values():
            if not record.retired:
                loads[record.holder] = loads.get(record.holder, 0) + self._bps(record)
        return loads

    def _has_failed(self, record: LeaseRecord, node: str, now_us: int) -> bool:
        failure = self._camera(record.camera_id).failed.get(node)
        return failure is not None and failure.until_us > now_us

    def _transfers(self) -> int:
        return sum(record.change in ("moved", "given_back") for record in self._records.values())


def _backoff(tries: int) -> int:
    return min(_RETRY_MOST_US, 5 * _RETRY_US << min(tries, 5))
