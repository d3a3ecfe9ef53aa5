"""Seeded histories of kills, cuts and restarts: what must hold in each of them."""

import pytest

from nvr.gateway.failover.types import Group, LeaseRecord
from tests.failover.world import S, World
from tests.support.soak import SOAK

# What a fault costs at most: a silence, a first choice that sees nothing, new probes, a session.
BOUND_US = 45 * S
SEEDS = 400 if SOAK else 4

GROUPS = {
    "n+1": Group("g", ("a", "b", "c"), ("spare",), spread=False, stable_after_us=5 * S, prepare_at=1),
    "spread": Group("g", ("a", "b", "c", "d"), stable_after_us=5 * S, prepare_at=3),
    "stay": Group("g", ("a", "b", "c"), ("spare",), give_back=False, prepare_at=3),
}


def fault(world: World) -> None:
    """One thing breaks, or two."""
    choose = world.random.choice
    recorder = choose(list(world.recorders.values()))
    match choose(["crash", "crash", "crash", "cut", "cut", "blind", "power", "settings", "restore"]):
        case "crash":
            recorder.crash()
        case "cut":
            recorder.linked = False
        case "blind":
            recorder.blind = set(world.cameras)
        case "power":
            world.off.add(choose(world.cameras))
        case "settings":
            world.change_settings(choose(world.cameras))
        case "restore":
            world.start_authority(choose(world.backups))
    if world.random.random() < 0.3:
        world.kill_authority()


def mend(world: World) -> None:
    """Each thing that is broken is repaired, more likely than not."""
    for recorder in world.recorders.values():
        if world.random.random() < 0.7:
            recorder.up = recorder.linked = True
            recorder.blind.clear()
    if world.random.random() < 0.7:
        world.off.clear()
    if world.authority is None:
        world.start_authority()


@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_history_leaves_a_camera_dark_that_could_be_recorded(kind: str, seed: int) -> None:
    world = World(GROUPS[kind], 2, seed, crash_chance=0.002)
    world.run(20 * S)
    for _ in range(25):
        world.backup()
        for happens in (fault, mend):
            world.fault(lambda happens=happens: happens(world))  # type: ignore[misc]
            for _ in range(world.random.randrange(3, 60)):
                world.run(S)
                world.check_covered(BOUND_US)
    assert {event.kind for event in world.events} >= {"lease_taken_over"}
    settles(world)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_two_authorities_by_mistake_cost_nothing(seed: int) -> None:
    """The second drives the same recorders from a ledger of its own, now and then instead of the first."""
    world = World(GROUPS["n+1"], 2, seed)
    world.run(20 * S)
    other: dict[str, LeaseRecord] = {}
    for _ in range(12):
        world.fault(world.random.choice([world.recorders["a"].crash, lambda: None]))
        ledger = dict(world.ledger)
        world.start_authority(other)
        world.run(world.random.randrange(10, 60) * S)
        other = dict(world.ledger)
        world.recorders["a"].up = True
        world.start_authority(ledger)
        world.run(world.random.randrange(10, 60) * S)
    settles(world)


def settles(world: World) -> None:
    """When all is well again, each camera is recorded by one node: its home, where it goes back."""
    world.heal()
    world.run(1200 * S)
    assert world.authority is not None
    for lease in world.authority.leases():
        assert lease.state == "steady", lease
        assert world.holders(lease.camera_id) == [lease.holder], lease
        assert world.recorded_by(lease.camera_id) == [lease.holder], lease
        if world.group.give_back:
            assert lease.holder == lease.home
