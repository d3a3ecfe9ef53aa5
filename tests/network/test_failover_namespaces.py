"""Failover where cables are pulled: real recorders, a gateway and cameras on hosts of their own."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from nvr.errors import AccessDenied, NodeUnavailable
from nvr.footage.channel import dial
from nvr.lease.remote import RemoteAuthority, RemoteLeases
from nvr.security.confirm import confirm
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles, issue_to_folder
from tests.network.ward import CONTEXT, SCENE, SECOND, SPARE, WARD, WITNESS, Layout, Ward, until, ward
from tests.support.skips import needs_program

pytestmark = [needs_program("ip", "tc"), pytest.mark.timeout(400)]
MOST_GAP_US = 15 * SECOND
# Stillness is noticed, 10 s of it, a probe, a session, a keyframe; and a busy machine.
MOST_BLIND_US = 30 * SECOND
HOMES = {"camera_1": "alpha", "camera_2": "alpha", "camera_3": "beta"}
LAYOUT = Layout({"alpha": (1, 2), "beta": (3,), SPARE: ()})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def group(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ward]:
    async with ward(tmp_path_factory.mktemp("ward"), LAYOUT) as made:
        yield made


on_the_module_loop = pytest.mark.asyncio(loop_scope="module")


def now_us() -> int:
    return time.time_ns() // 1000


@on_the_module_loop
async def test_cut_off_from_the_gateway_it_goes_on_and_the_spare_records_too(group: Ward) -> None:
    await group.steady(**HOMES)
    start_us = await group.recorded_until("alpha", "camera-1", 0)
    cable = group.host("alpha").cables["office"]
    cable.cut()
    cut_us = now_us()
    for camera in ("camera-1", "camera-2"):
        taken = await group.first_after(SPARE, camera, cut_us)
        assert taken.epoch > 0
        assert taken.range.start_us - cut_us <= MOST_GAP_US
        # Seen through a door: silence took nothing from the silent.
        await group.recorded_until("alpha", camera, taken.range.start_us + SECOND)
    cable.heal()
    await group.steady(**HOMES)
    end_us = await group.recorded_until("alpha", "camera-1", now_us())
    assert await group.gaps("camera-1", start_us, end_us) == []
    assert len(await group.spans("alpha", "camera-1", start_us)) == 1


@on_the_module_loop
async def test_a_planned_move_leaves_no_gap(group: Ward) -> None:
    await group.steady(**HOMES)
    start_us = await group.recorded_until("beta", "camera-3", 0)
    authority = RemoteAuthority(group.channel(WARD))
    await authority.move_lease(CONTEXT, "camera-3", SPARE)
    await group.steady(camera_3=SPARE)
    end_us = await group.recorded_until(SPARE, "camera-3", now_us())
    assert await group.gaps("camera-3", start_us, end_us) == []
    await authority.give_back_leases(CONTEXT, "beta")
    await group.steady(**HOMES)
    end_us = await group.recorded_until("beta", "camera-3", now_us())
    assert await group.gaps("camera-3", start_us, end_us) == []


@on_the_module_loop
async def test_a_stranger_takes_no_lease(group: Ward, tmp_path: Path) -> None:
    await group.steady(**HOMES)
    before = await group.leases()
    camera_id = before["camera-1"].camera_id
    authorities = group.tls(WITNESS).authorities
    key = NodeKey.load_or_create(tmp_path)
    own = issue_to_folder(tmp_path, key, name="stranger")
    unknown = TlsFiles(own.certificate, own.key, authorities)
    nobody = TlsFiles(authorities=authorities)
    for files in (unknown, nobody, None):
        channel = dial(group.doors["alpha"], files)
        with pytest.raises(NodeUnavailable):
            await RemoteLeases(channel, timeout_s=10).list_leases(CONTEXT)
        await channel.close()
    # One whose certificate is known may read; of leases it may not even be told.
    for node in ("alpha", SPARE):
        await _refused(group.channel(node), camera_id, group.keys[WITNESS])
    assert await group.cameras("alpha")
    after = await group.leases()
    assert {name: replace(lease, bitrate_bps=0) for name, lease in after.items()} == {
        name: replace(lease, bitrate_bps=0) for name, lease in before.items()
    }


async def _refused(channel: grpc.aio.Channel, camera_id: str, key: NodeKey) -> None:
    leases = RemoteLeases(channel)
    for call in (
        leases.list_leases(CONTEXT),
        leases.take(CONTEXT, camera_id, 100),
        leases.probe(CONTEXT, camera_id),
        leases.give_up(CONTEXT, camera_id, 100, key.id, confirm(key, camera_id, 100)),
        leases.forget(CONTEXT, camera_id, retired=True),
    ):
        with pytest.raises(AccessDenied):
            await call


@on_the_module_loop
async def test_a_blind_recorder_is_relieved_by_the_spare(group: Ward) -> None:
    """It is heard, and gets no pictures; another recorder, with cameras of its own, sees them as well.

    The last of the module: a holder that failed gets its cameras back after a minute at the soonest.
    """
    await group.steady(**HOMES)
    assert set((await group.leases())["camera-1"].standbys) == {"beta", SPARE}
    cable = group.host("alpha").cables["cams"]
    cable.cut()
    cut_us = now_us()
    for camera in ("camera-1", "camera-2"):
        taken = await group.first_after(SPARE, camera, cut_us)
        assert taken.range.start_us - cut_us <= MOST_BLIND_US
        assert await group.spans("beta", camera) == []
    leases = await group.leases()
    assert {leases[name].holder for name in ("camera-1", "camera-2")} == {SPARE}
    assert leases["camera-3"].holder == "beta"


async def test_with_both_cables_cut_others_record_within_seconds_evenly_by_bitrate(tmp_path: Path) -> None:
    """One large camera goes to one recorder, two small ones to the other."""
    rates = (600_000, 250_000, 250_000)
    scenes = [replace(SCENE, seed=seed, bit_rate=rate) for seed, rate in enumerate(rates)]
    layout = Layout({"alpha": (1, 2, 3), "beta": (), "gamma": ()}, scenes=scenes)
    async with ward(tmp_path, layout) as made:
        bitrates = {name: lease.bitrate_bps for name, lease in (await made.leases()).items()}
        assert bitrates["camera-1"] > max(bitrates["camera-2"], bitrates["camera-3"])
        start_us = await made.recorded_until("alpha", "camera-1", 0)
        cables = made.host("alpha").cables.values()
        for cable in cables:
            cable.cut()
        cut_us = now_us()

        async def taken() -> bool:
            leases = (await made.leases()).values()
            return all(lease.state == "steady" and lease.holder != "alpha" for lease in leases)

        await until(taken, "all cameras are recorded elsewhere")
        holders = {name: lease.holder for name, lease in (await made.leases()).items()}
        assert holders["camera-2"] == holders["camera-3"] != holders["camera-1"]
        first = {name: await made.first_after(node, name, cut_us) for name, node in holders.items()}
        assert all(span.range.start_us - cut_us <= MOST_GAP_US for span in first.values())
        for cable in cables:
            cable.heal()
        (gap,) = await made.gaps("camera-1", start_us, first["camera-1"].range.end_us)
        assert cut_us - 3 * SECOND < gap.range.start_us
        assert gap.range.end_us == first["camera-1"].range.start_us
