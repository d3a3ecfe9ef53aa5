"""Failover with real recorders and cameras: killed, stopped, moved; what is on disk afterwards."""

import json
import signal
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

import nvr
from nvr.footage.types import Span
from tests.docs.running import run, that_run
from tests.failover.group import GATEWAY, HOMES, PASSWORD, Group, group
from tests.support.documents import Block
from tests.support.processes import ChildProcess, wait_for

SECOND = 1_000_000
MOST_GAP_US = 15 * SECOND


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with group(tmp_path_factory.mktemp("ward")) as made:
        yield made
    assert not [line for line in made.written if PASSWORD in line]


def wait_told(group: Group, watch: ChildProcess) -> None:
    """Returns when what happens at a recorder is told at the top, two tiers above it."""
    titles = count()

    def told() -> bool:
        with nvr.connect(group.grpc["beta"]) as net:
            net.camera("east").update(title=f"Cổng số {next(titles)}")
        return any("camera_changed" in line for line in watch.lines)

    wait_for(told, "events of a recorder are told at the top", every_s=0.3)


def take_over(watch: ChildProcess, camera_id: str) -> dict[str, Any]:
    """The event that tells of a camera's."""
    line = watch.wait_line(lambda line: "lease_taken_over" in line and camera_id in line)
    told: dict[str, Any] = json.loads(line)
    return told


def first_after(group: Group, node: str, camera: str, since_us: int) -> Span:
    """The first that a node records of a camera after an instant, once it is on disk."""
    wait_for(
        lambda: bool(group.spans(node, camera, since_us)),
        f"{node} records {camera}",
        within_s=120,
        every_s=0.3,
    )
    return group.spans(node, camera, since_us)[0]


def test_a_killed_recorder_is_replaced_and_gets_its_cameras_back_without_a_gap(ward: Group) -> None:
    with ward.events() as watch:
        wait_told(ward, watch)
        ward.steady(**HOMES)
        start_us = ward.newest_us("alpha", "north")
        killed_us = time.time_ns() // 1000
        ward.kill("alpha")
        for camera in ("north", "south"):
            said = take_over(watch, ward.camera_id(camera))
            assert (said["node"], said["at_us"] > killed_us) == (GATEWAY, True)
            assert "spare" in said["detail"]
    for camera in ("north", "south"):
        taken = first_after(ward, "spare", camera, killed_us)
        assert taken.epoch > 0
        assert taken.range.start_us - killed_us <= MOST_GAP_US
    assert ward.leases()["east"]["holder"] == "beta"
    # It comes back, with its duty: both record until it is given its cameras back.
    ward.start("alpha")
    back = first_after(ward, "alpha", "north", killed_us)
    ward.steady(**HOMES)
    leases = ward.leases()
    assert isinstance(leases["north"]["epoch"], int)
    assert leases["north"]["epoch"] > taken.epoch
    end_us = ward.wait_recorded("alpha", "north", time.time_ns() // 1000)
    for camera in ("north", "south"):
        ward.wait_recorded("alpha", camera, end_us)
        (gap,) = ward.gaps(camera, start_us, end_us)
        assert killed_us - 5 * SECOND < gap.range.start_us
        assert gap.range.end_us - gap.range.start_us <= MOST_GAP_US
        assert gap.range.end_us < back.range.start_us or camera != "north"


def test_a_planned_move_leaves_no_gap_and_keeps_everything(ward: Group) -> None:
    ward.steady(**HOMES)
    start_us = ward.newest_us("beta", "east")
    (said,) = ward.nvr("leases", "move", "beta/east", "--to", "spare", "--dry-run")
    assert said["dry_run"] is True
    assert ward.leases()["east"]["holder"] == "beta"
    ward.nvr("leases", "move", "east", "--to", "spare")
    ward.steady(east="spare")
    end_us = ward.wait_recorded("spare", "east", time.time_ns() // 1000)
    assert ward.gaps("east", start_us, end_us) == []
    old, new = ward.spans("beta", "east", start_us), ward.spans("spare", "east", start_us)
    assert new[0].range.start_us < old[-1].range.end_us
    assert new[0].epoch > old[-1].epoch
    # It stays there until somebody says otherwise, also when the authority begins anew.
    ward.kill(GATEWAY)
    ward.start(GATEWAY)
    ward.steady(east="spare")
    (given,) = ward.nvr("leases", "give-back", "beta")
    assert given["type"] == "given_back"
    ward.steady(**HOMES)
    end_us = ward.wait_recorded("beta", "east", time.time_ns() // 1000)
    assert ward.gaps("east", start_us, end_us) == []


@pytest.mark.parametrize("block", that_run("group"))
def test_documented_commands(block: Block, ward: Group, tmp_path: Path) -> None:
    ward.steady(**HOMES)
    names = {"market-gate": "east", "ward-1b": "spare"}
    run(block, tmp_path, extra={"NVR_NODE": ward.grpc[GATEWAY]}, replace=names)


def test_nothing_stops_when_the_authority_is_killed(ward: Group) -> None:
    ward.steady(**HOMES)
    start_us = ward.newest_us("alpha", "north")
    ward.kill(GATEWAY)
    for camera, home in HOMES.items():
        ward.wait_recorded(home, camera, time.time_ns() // 1000 + 3 * SECOND)
        assert len(ward.spans(home, camera, start_us)) == 1
    ward.start(GATEWAY)
    ward.steady(**HOMES)
    for camera, home in HOMES.items():
        assert len(ward.spans(home, camera, start_us)) == 1


def test_in_a_split_both_record_and_both_keep(ward: Group) -> None:
    """A stopped process is silent as a cut off one is; when it goes on it has its duty as before."""
    ward.steady(**HOMES)
    start_us = ward.newest_us("beta", "east")
    stopped_us = time.time_ns() // 1000
    ward.send("beta", signal.SIGSTOP)
    taken = first_after(ward, "spare", "east", stopped_us)
    assert taken.range.start_us - stopped_us <= MOST_GAP_US
    ward.send("beta", signal.SIGCONT)
    resumed_us = time.time_ns() // 1000
    own = first_after(ward, "beta", "east", resumed_us)
    ward.steady(**HOMES)
    end_us = ward.wait_recorded("beta", "east", time.time_ns() // 1000)
    spare = ward.spans("spare", "east", start_us)
    assert spare[0].range == taken.range or spare[0].run_id == taken.run_id
    assert spare[-1].range.end_us > own.range.start_us
    gaps = ward.gaps("east", start_us, end_us)
    assert all(gap.range.end_us <= taken.range.start_us for gap in gaps)
