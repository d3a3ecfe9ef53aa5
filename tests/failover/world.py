"""A group of recorders and its authority in simulated time: one seed, one history.

The authority is the real one. A recorder here is what the contract says of one: its
duties last through a crash, and it stops for nothing but another's confirmed duty.
Messages are late, and lost where something is cut, dead, or stopped.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nvr.gateway.failover.authority import Authority
from nvr.gateway.failover.types import (
    Answer,
    Command,
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
from nvr.lease.types import LeaseState, NodeLeases

S = 1_000_000
STEP_US = S // 10
CONNECT_US = S
BEAT_US = 2 * S


@dataclass
class Recorder:
    """``duties`` and ``prepared`` are on its disk."""

    name: str
    own: dict[str, int]
    """Its cameras, and when their settings changed."""
    duties: dict[str, tuple[int, bool]] = field(default_factory=dict)
    prepared: dict[str, int] = field(default_factory=dict)
    reached: dict[str, bool] = field(default_factory=dict)
    up: bool = True
    linked: bool = True
    """It and the authority can reach each other."""
    blind: set[str] = field(default_factory=set)
    """Cameras that it does not reach."""
    removed: set[str] = field(default_factory=set)
    """Of its own, those that were removed or moved away."""
    since_us: dict[str, int] = field(default_factory=dict)
    """Since when it has pictures of what it records."""
    next_beat_us: int = 0

    def held(self, camera: str) -> bool:
        known = self.duties.get(camera)
        return camera in self.own if known is None else known[1]

    def epoch(self, camera: str) -> int:
        return self.duties.get(camera, (0, True))[0]

    def records(self, camera: str, now_us: int) -> bool:
        return self.up and self.held(camera) and now_us >= self.since_us.get(camera, now_us + 1)

    def adopt(self, camera: str) -> None:
        """It takes another's camera for its own."""
        self.own[camera] = self.prepared.pop(camera)

    def crash(self) -> None:
        self.up = False
        self.since_us.clear()
        self.reached.clear()

    def live(self, now_us: int, off: set[str]) -> None:
        """Sessions begin and end."""
        for camera in [*self.own, *self.prepared]:
            if self.up and self.held(camera) and camera not in self.blind | off | self.removed:
                self.since_us.setdefault(camera, now_us + CONNECT_US)
            else:
                self.since_us.pop(camera, None)

    def state(self, camera: str, now_us: int) -> LeaseState:
        records = self.records(camera, now_us)
        return LeaseState(
            camera_id=camera,
            name=camera,
            epoch=self.epoch(camera),
            held=self.held(camera),
            home=camera in self.own,
            retired=camera in self.removed,
            recording=records,
            recording_for_us=now_us - self.since_us[camera] if records else 0,
            bitrate_bps=1_000_000,
            changed_us=self.own.get(camera) or self.prepared.get(camera, 0),
            reachable=self.reached.get(camera, False),
            probed=camera in self.reached,
        )

    def leases(self, now_us: int) -> NodeLeases:
        cameras = [self.state(camera, now_us) for camera in [*self.own, *self.prepared]]
        return NodeLeases(f"id-{self.name}", self.name, now_us, cameras=cameras)


class World:
    """``chance``: of the authority's crashing at each durable step."""

    def __init__(self, group: Group, cameras_each: int, seed: int, *, crash_chance: float = 0.0) -> None:
        self.group = group
        self.random = random.Random(seed)
        self.crash_chance = crash_chance
        self.now_us = 1000 * S
        self.recorders = {
            name: Recorder(
                name, {f"{name}-{n}": 1 for n in range(cameras_each)} if name in group.recorders else {}
            )
            for name in group.members
        }
        self.off: set[str] = set()
        """Cameras without power."""
        self.ledger: dict[str, LeaseRecord] = {}
        self.backups: list[dict[str, LeaseRecord]] = []
        self.authority: Authority | None = None
        self.restored = False
        self.events: list[LeaseEvent] = []
        self.handed: dict[tuple[str, int], str] = {}
        """Who was told to take a camera under an epoch."""
        self.overlaps_us: list[int] = []
        """For how long takers had recorded when others yielded to them."""
        self.unrecorded_us: dict[str, int] = {}
        self.quiet_since_us = self.now_us
        self.longest_gap_us: dict[str, int] = {}
        self._mail: list[tuple[int, int, Callable[[], None]]] = []
        self._sent = 0
        self.start_authority()

    @property
    def cameras(self) -> list[str]:
        return [camera for recorder in self.recorders.values() for camera in recorder.own]

    # --- the authority ----------------------------------------------------------

    def start_authority(self, ledger: dict[str, LeaseRecord] | None = None) -> None:
        if ledger is not None:
            self.ledger, self.restored = dict(ledger), True
        self.authority = Authority(self.group, self.ledger.values(), self.now_us)
        self.quiet_since_us = self.now_us

    def kill_authority(self) -> None:
        self.authority = None
        self.quiet_since_us = self.now_us

    def _crashes(self) -> bool:
        if self.random.random() >= self.crash_chance:
            return False
        self.kill_authority()
        return True

    def carry_out(self, outcome: Outcome) -> None:
        """Between any two durable steps the authority may die."""
        if outcome.records:
            if self._crashes():
                return
            for record in outcome.records:
                known = self.ledger.get(record.camera_id)
                assert known is None or record.epoch >= known.epoch, "an epoch went down"
                self.ledger[record.camera_id] = record
            if self._crashes():
                return
        self.events += outcome.events
        authority = self.authority
        for command in outcome.commands:
            if isinstance(command, Take):
                before = self.handed.setdefault((command.camera_id, command.epoch), command.node)
                assert self.restored or before == command.node, f"one epoch for two nodes: {command}"
                assert self.ledger[command.camera_id].epoch >= command.epoch, (
                    "handed out before it was durable"
                )
            self._send(lambda command=command: self._arrive(command, authority))  # type: ignore[misc]
            if self._crashes():
                return

    # --- the network ---------------------------------------------------------------

    def _send(self, deliver: Callable[[], None]) -> None:
        self._sent += 1
        at_us = self.now_us + self.random.randrange(10_000, 300_000)
        heapq.heappush(self._mail, (at_us, self._sent, deliver))

    def _reachable(self, name: str) -> bool:
        recorder = self.recorders[name]
        return recorder.up and recorder.linked

    def _arrive(self, command: Command, sender: Authority | None) -> None:
        """A command at its node; its answer on the way back."""
        nodes = [command.node]
        if isinstance(command, Prepare):
            nodes.append(command.giver)
        elif isinstance(command, Yield):
            nodes.append(command.taker)
        if all(map(self._reachable, nodes)):
            answer = self._obey(command)
        else:
            answer = Answer(ok=False, reason="unreachable")

        def back() -> None:
            # What comes back to an authority that is another one by now is no answer of its.
            if self.authority is sender is not None and (
                answer.state is None or self._reachable(command.node)
            ):
                self.carry_out(sender.answered(command, answer, self.now_us))

        self._send(back)

    def _obey(self, command: Command) -> Answer:
        node, camera, now_us = self.recorders[command.node], command.camera_id, self.now_us
        known_epoch, held = node.epoch(camera), node.held(camera)
        match command:
            case Prepare(giver=giver):
                giving = self.recorders[giver]
                if camera not in giving.own and camera not in giving.prepared:
                    return Answer(ok=False)
                changed_us = giving.state(camera, now_us).changed_us
                node.prepared[camera] = max(changed_us, node.prepared.get(camera, 0))
                node.reached[camera] = camera not in node.blind | self.off
            case Probe():
                if camera not in node.own and camera not in node.prepared:
                    return Answer(ok=False)
                node.reached[camera] = camera not in node.blind | self.off
            case Take(epoch=epoch):
                if camera not in node.own and camera not in node.prepared:
                    return Answer(ok=False)
                if epoch < known_epoch or (epoch == known_epoch and not held):
                    return Answer(ok=False, stale_epoch=known_epoch)
                node.duties[camera] = epoch, True
            case Yield(epoch=epoch, taker=taker):
                other = self.recorders[taker]
                if not (other.records(camera, now_us) and other.epoch(camera) == epoch):
                    return Answer(ok=False, reason="not confirmed")
                if epoch < known_epoch or (epoch == known_epoch and held):
                    return Answer(ok=False, stale_epoch=known_epoch)
                node.duties[camera] = epoch, False
                self.overlaps_us.append(now_us - other.since_us[camera])
                assert other.records(camera, now_us), "stopped before the taker recorded"
            case Forget():
                raise AssertionError("no camera is removed in this world")
        return Answer(ok=True, state=node.state(camera, now_us))

    # --- time --------------------------------------------------------------------------

    def run(self, duration_us: int) -> None:
        until_us = self.now_us + duration_us
        while self.now_us < until_us:
            self.step()

    def step(self) -> None:
        self.now_us += STEP_US
        while self._mail and self._mail[0][0] <= self.now_us:
            heapq.heappop(self._mail)[2]()
        for recorder in self.recorders.values():
            recorder.live(self.now_us, self.off)
            if recorder.up and self.now_us >= recorder.next_beat_us:
                recorder.next_beat_us = self.now_us + BEAT_US
                if recorder.linked:
                    self._send(self._beat(recorder, recorder.leases(self.now_us)))
        if self.authority is not None and self.now_us % (S // 2) < STEP_US:
            self.carry_out(self.authority.tick(self.now_us))
        self._watch()

    def _beat(self, recorder: Recorder, leases: NodeLeases) -> Callable[[], None]:
        def deliver() -> None:
            if self.authority is not None and self._reachable(recorder.name):
                self.carry_out(self.authority.beat(recorder.name, leases, self.now_us))

        return deliver

    def _watch(self) -> None:
        for camera in self.cameras:
            if any(recorder.records(camera, self.now_us) for recorder in self.recorders.values()):
                self.unrecorded_us.pop(camera, None)
                continue
            since_us = self.unrecorded_us.setdefault(camera, self.now_us)
            gap_us = self.now_us - since_us
            self.longest_gap_us[camera] = max(gap_us, self.longest_gap_us.get(camera, 0))

    # --- what is true --------------------------------------------------------------------

    def could_record(self, camera: str) -> list[str]:
        """Nodes that are there, heard by the authority, reach the camera and have its settings."""
        return [
            recorder.name
            for recorder in self.recorders.values()
            if self._reachable(recorder.name)
            and camera not in recorder.blind | self.off
            and (camera in recorder.own or camera in recorder.prepared)
        ]

    def check_covered(self, bound_us: int) -> None:
        """After so long without a fault, every camera that can be recorded is."""
        if self.authority is None or self.now_us - self.quiet_since_us < bound_us:
            return
        for camera, since_us in self.unrecorded_us.items():
            if self.now_us - since_us > STEP_US and self.could_record(camera):
                raise AssertionError(
                    f"{camera} has been dark for {(self.now_us - since_us) / S} s, though "
                    f"{self.could_record(camera)} could record it: {self.ledger[camera]}"
                )

    def fault(self, what: Callable[[], None]) -> None:
        """Something happens."""
        what()
        self.quiet_since_us = self.now_us

    def heal(self) -> None:
        """All is well again."""
        self.off.clear()
        self.crash_chance = 0.0
        for recorder in self.recorders.values():
            recorder.up = recorder.linked = True
            recorder.blind.clear()
        if self.authority is None:
            self.start_authority()
        self.quiet_since_us = self.now_us

    def holders(self, camera: str) -> list[str]:
        """Nodes with the duty to record it."""
        return [name for name, recorder in self.recorders.items() if recorder.held(camera)]

    def recorded_by(self, camera: str) -> list[str]:
        return [name for name, recorder in self.recorders.items() if recorder.records(camera, self.now_us)]

    def change_settings(self, camera: str) -> None:
        for recorder in self.recorders.values():
            if camera in recorder.own:
                recorder.own[camera] += 1

    def backup(self) -> None:
        self.backups.append({camera: replace(record) for camera, record in self.ledger.items()})
