"""Single decisions of the authority, in simulated time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import CameraNotFound, LeaseRefused
from nvr.gateway.failover.placement import Candidate, choose, standby_order
from nvr.gateway.failover.types import Answer, Group, LeaseRecord, Take
from tests.failover.world import S, World

N_PLUS_1 = Group("g", ("a", "b"), ("spare",), spread=False, prepare_at=1, stable_after_us=5 * S)
SPREAD = Group("g", ("a", "b", "c", "d"), prepare_at=3, stable_after_us=5 * S)


def settled(group: Group, cameras_each: int = 2, seed: int = 1) -> World:
    world = World(group, cameras_each, seed=seed)
    world.run(30 * S)
    assert world.authority is not None
    assert {lease.state for lease in world.authority.leases()} == {"steady"}
    # The first sessions.
    world.longest_gap_us.clear()
    return world


def holder(world: World, camera: str) -> str:
    return world.ledger[camera].holder


@pytest.mark.parametrize("how", ["crash", "cable"])
def test_a_silent_node_is_relieved_within_seconds(how: str) -> None:
    world = settled(N_PLUS_1)
    silent = world.recorders["a"]
    if how == "crash":
        silent.crash()
    else:
        silent.linked = False
    world.run(10 * S + S // 2)
    for camera in silent.own:
        assert "spare" in world.recorded_by(camera)
        assert world.recorders["spare"].epoch(camera) == 1
        # Silence took nothing from the silent.
        assert ("a" in world.recorded_by(camera)) == (how == "cable")
        assert silent.held(camera)
    assert {event.kind for event in world.events} == {"lease_taken_over"}


def test_it_gets_its_cameras_back_when_it_has_been_there_for_a_while() -> None:
    world = settled(N_PLUS_1)
    world.recorders["a"].linked = False
    world.run(20 * S)
    world.recorders["a"].linked = True
    world.run(4 * S)
    assert world.recorded_by("a-0") == ["a", "spare"]
    world.run(20 * S)
    assert (holder(world, "a-0"), world.recorded_by("a-0")) == ("a", ["a"])
    assert [event.kind for event in world.events][-1] == "lease_given_back"
    assert world.longest_gap_us.get("a-0", 0) < 2 * S


def test_or_stays_where_it_is_if_the_settings_say_so() -> None:
    world = settled(replace(N_PLUS_1, give_back=False))
    world.recorders["a"].crash()
    world.run(20 * S)
    world.recorders["a"].up = True
    world.run(60 * S)
    assert world.recorded_by("a-0") == ["spare"]
    assert world.authority is not None
    goes, outcome = world.authority.give_back("a-0", world.now_us)
    assert goes
    world.carry_out(outcome)
    world.run(20 * S)
    assert world.recorded_by("a-0") == ["a"]


def test_flapping_is_damped_and_costs_no_footage() -> None:
    world = settled(N_PLUS_1)
    for _ in range(8):
        world.recorders["a"].linked = False
        world.run(12 * S)
        world.recorders["a"].linked = True
        world.run(14 * S)
    handed = [node for (camera, _), node in world.handed.items() if camera == "a-0"]
    assert len(handed) < 8
    assert world.longest_gap_us.get("a-0", 0) < 2 * S


def test_a_node_without_its_cameras_is_relieved_if_another_sees_them() -> None:
    world = settled(N_PLUS_1)
    world.recorders["a"].blind = {"a-0", "a-1"}
    world.run(25 * S)
    assert world.recorded_by("a-0") == ["spare"]
    world.recorders["a"].blind = set()
    world.run(400 * S)
    assert world.recorded_by("a-0") == ["a"]


@pytest.mark.parametrize("seed", range(20))
def test_the_spare_goes_before_a_loaded_recorder_whoever_answers_first(seed: int) -> None:
    """Of a camera whose holder gets no pictures, all others are tried at once."""
    world = settled(replace(N_PLUS_1, spread=True, prepare_at=2), seed=seed)
    world.recorders["a"].blind = {"a-0", "a-1"}
    world.run(25 * S)
    assert [world.recorded_by(camera) for camera in ("a-0", "a-1")] == [["spare"], ["spare"]]


def test_a_spare_that_does_not_see_it_either_is_not_waited_for_long() -> None:
    world = settled(replace(N_PLUS_1, spread=True, prepare_at=2))
    world.recorders["a"].blind = {"a-0", "a-1"}
    world.recorders["spare"].blind = {"a-0", "a-1"}
    world.run(25 * S)
    assert [world.recorded_by(camera) for camera in ("a-0", "a-1")] == [["b"], ["b"]]


def test_a_camera_without_power_is_left_where_it_is() -> None:
    world = settled(N_PLUS_1)
    world.off = {"a-0"}
    world.run(300 * S)
    assert (holder(world, "a-0"), world.ledger["a-0"].epoch) == ("a", 0)
    assert [(event.kind, event.camera_id) for event in world.events] == [("standby_unreachable", "a-0")]
    assert world.authority is not None
    assert world.authority.lease("a-0").state == "uncovered"
    world.off = set()
    world.run(5 * S)
    assert world.recorded_by("a-0") == ["a"]
    assert world.authority.lease("a-0").state == "steady"


def test_cameras_are_spread_evenly() -> None:
    world = settled(SPREAD, cameras_each=6)
    world.recorders["a"].crash()
    world.run(15 * S)
    taken = [holder(world, camera) for camera in world.recorders["a"].own]
    assert sorted(taken) == ["b", "b", "c", "c", "d", "d"]


def test_a_full_node_takes_nothing_more() -> None:
    world = settled(replace(N_PLUS_1, capacity_bps=3_000_000), cameras_each=2)
    world.recorders["a"].crash()
    world.recorders["b"].crash()
    world.run(15 * S)
    taken = [camera for camera in world.cameras if holder(world, camera) == "spare"]
    assert len(taken) == 3
    (told,) = [event for event in world.events if event.kind == "standby_unreachable"]
    assert "has room" in told.detail


def test_a_move_is_made_before_the_old_one_stops_and_lasts() -> None:
    world = settled(N_PLUS_1)
    assert world.authority is not None
    for to, why in (("nobody", "no node"), ("b", "not prepared")):
        with pytest.raises(LeaseRefused, match=why):
            world.authority.move("a-0", to, world.now_us)
    with pytest.raises(CameraNotFound):
        world.authority.move("x", "spare", world.now_us)
    assert world.authority.move("a-0", "spare", world.now_us, dry_run=True).records == []
    world.carry_out(world.authority.move("a-0", "spare", world.now_us))
    world.run(60 * S)
    assert (holder(world, "a-0"), world.recorded_by("a-0")) == ("spare", ["spare"])
    assert "a-0" not in world.longest_gap_us
    assert world.events[-1].kind == "lease_moved"
    assert world.overlaps_us[0] >= N_PLUS_1.overlap_us
    world.recorders["spare"].crash()
    world.run(15 * S)
    assert world.recorded_by("a-0") == ["a"]
    world.recorders["spare"].up = True
    world.run(60 * S)
    assert world.recorded_by("a-0") == ["spare"]


def test_a_move_to_a_node_that_gets_no_pictures_costs_nothing() -> None:
    world = settled(N_PLUS_1)
    assert world.authority is not None
    # As when the camera allows one session only.
    world.recorders["spare"].blind = {"a-0"}
    world.carry_out(world.authority.move("a-0", "spare", world.now_us))
    world.run(50 * S)
    assert (holder(world, "a-0"), world.recorded_by("a-0")) == ("a", ["a"])
    assert "a-0" not in world.longest_gap_us
    assert world.ledger["a-0"].epoch <= 4


def test_an_authority_from_a_backup_learns_what_it_forgot() -> None:
    world = settled(N_PLUS_1)
    world.backup()
    for _ in range(3):
        world.recorders["a"].crash()
        world.run(12 * S)
        world.recorders["a"].up = True
        world.run(90 * S)
    epoch = world.ledger["a-0"].epoch
    assert epoch >= 4
    world.recorders["a"].crash()
    world.run(12 * S)
    handed = set(world.handed)
    world.start_authority(world.backups[0])
    world.run(12 * S)
    # It heard that the spare one records under an epoch that it does not remember, and let it.
    assert world.ledger["a-0"].epoch > epoch
    assert set(world.handed) == handed
    assert world.recorded_by("a-0") == ["spare"]
    world.recorders["a"].up = True
    world.run(200 * S)
    assert world.recorded_by("a-0") == ["a"]
    assert world.ledger["a-0"].epoch > epoch


def test_a_node_that_knows_a_newer_epoch_is_outbid() -> None:
    world = settled(N_PLUS_1)
    spare = world.recorders["spare"]
    # An authority of before gave it epoch 9, and took it away again.
    spare.duties["a-0"] = 9, False
    spare.linked = False
    world.run(20 * S)
    world.recorders["a"].crash()
    spare.linked = True
    spare.next_beat_us = world.now_us + 60 * S
    world.run(80 * S)
    assert world.recorded_by("a-0") == ["spare"]
    assert spare.epoch("a-0") > 9


def test_a_refused_take_is_repeated_above_what_the_node_knows() -> None:
    world = settled(N_PLUS_1)
    authority = world.authority
    assert authority is not None
    commands = authority.move("a-0", "spare", world.now_us).commands
    (take,) = (command for command in commands if isinstance(command, Take))
    outcome = authority.answered(take, Answer(ok=False, stale_epoch=9), world.now_us)
    assert outcome.records[0].epoch == 10
    again = authority.tick(world.now_us + 3 * S)
    assert Take("a-0", "spare", 10) in again.commands


def test_a_node_cannot_use_up_all_epochs() -> None:
    world = settled(N_PLUS_1)
    world.recorders["spare"].duties["a-0"] = (1 << 32) - 1, False
    world.run(10 * S)
    assert world.ledger["a-0"].epoch == 0


def test_the_same_epoch_twice_is_told_apart() -> None:
    world = settled(N_PLUS_1)
    world.recorders["a"].duties["a-0"] = 5, True
    world.recorders["spare"].duties["a-0"] = 5, True
    world.run(60 * S)
    assert len(world.holders("a-0")) == 1
    assert world.ledger["a-0"].epoch > 5
    assert "a-0" not in world.longest_gap_us


def test_an_authority_that_was_not_listening_does_not_blame_others() -> None:
    world = settled(N_PLUS_1)
    asleep, world.authority = world.authority, None
    world.run(60 * S)
    assert asleep is not None
    world.authority = asleep
    world.carry_out(asleep.tick(world.now_us))
    world.run(10 * S)
    assert world.events == []
    assert asleep.alive() == {"a": True, "b": True, "spare": True}


def test_nothing_is_handed_out_before_the_group_is_heard_out() -> None:
    world = settled(N_PLUS_1)
    world.start_authority({"a-0": LeaseRecord("a-0", "a-0", "a", "spare", 1, "a")})
    world.recorders["spare"].duties["a-0"] = 1, True
    world.run(2 * S)
    assert world.recorded_by("a-0") == ["a", "spare"]
    world.start_authority()
    handed = dict(world.handed)
    # The holder is the last to be heard.
    world.recorders["spare"].next_beat_us = world.now_us + 4 * S
    world.run(5 * S)
    assert world.handed == handed
    assert world.events == []


def test_a_camera_that_is_removed_is_forgotten_by_all() -> None:
    world = settled(N_PLUS_1)
    authority = world.authority
    assert authority is not None
    leases = world.recorders["a"].leases(world.now_us)
    cameras = [replace(each, retired=each.camera_id == "a-0") for each in leases.cameras]
    outcome = authority.beat("a", replace(leases, cameras=cameras), world.now_us)
    assert [(type(each).__name__, each.camera_id, each.node) for each in outcome.commands] == [
        ("Forget", "a-0", "spare")
    ]
    assert authority.lease("a-0").state == "retired"
    with pytest.raises(LeaseRefused, match="removed or disabled"):
        authority.move("a-0", "spare", world.now_us)
    outcome = authority.beat("a", leases, world.now_us)
    assert not [each for each in outcome.commands if isinstance(each, Take)]
    assert authority.lease("a-0").state == "steady"


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans()), unique_by=lambda t: t[0]),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10)),
    st.integers(1, 5),
    st.integers(1, 12) | st.none(),
)
def test_the_choice_depends_on_nothing_but_the_facts(
    facts: list[tuple[str, bool, bool]], loads: dict[str, int], bitrate: int, capacity: int | None
) -> None:
    candidates = [Candidate(*each) for each in facts]
    chosen = choose(candidates, loads, bitrate, capacity)
    assert choose(reversed(candidates), loads, bitrate, capacity) == chosen
    with_room = [
        each
        for each in candidates
        if each.recording or capacity is None or loads.get(each.node, 0) + bitrate <= capacity
    ]
    assert (chosen is None) == (not with_room)
    if chosen is not None:
        assert chosen in {each.node for each in with_room}
        if any(each.recording for each in with_room):
            assert next(each for each in candidates if each.node == chosen).recording


@given(st.sets(st.text("abc", min_size=1, max_size=3), min_size=2), st.uuids())
def test_the_order_of_standbys_bears_changes(nodes: set[str], camera: object) -> None:
    order = standby_order(str(camera), nodes)
    assert sorted(order) == sorted(nodes)
    gone = order[0]
    assert standby_order(str(camera), nodes - {gone}) == order[1:]


def test_a_camera_that_was_moved_for_good_has_its_home_there() -> None:
    world = settled(SPREAD)
    a, b = world.recorders["a"], world.recorders["b"]
    # What ``nvr cameras move`` does: b takes it, it becomes b's own, and a removes it.
    epoch = a.epoch("a-0") + 1
    b.duties["a-0"] = (epoch, True)
    world.run(4 * S)
    b.adopt("a-0")
    world.run(2 * S)
    a.removed.add("a-0")
    world.run(60 * S)
    record = world.ledger["a-0"]
    assert (record.home, record.holder, record.retired) == ("b", "b", False)
    assert world.recorded_by("a-0") == ["b"]
    # Its new home dies and comes back: it is b's again.
    b.linked = False
    world.run(20 * S)
    assert world.recorded_by("a-0") != ["b"]
    b.linked = True
    world.run(400 * S)
    assert (holder(world, "a-0"), world.recorded_by("a-0")) == ("b", ["b"])
    assert world.longest_gap_us.get("a-0", 0) < 2 * S
