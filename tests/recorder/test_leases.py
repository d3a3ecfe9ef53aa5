"""Leases of real recorders from outside: what an authority may tell them, and what they refuse."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nvr.errors import AccessDenied, CameraNotFound, InvalidArgument, LeaseHeld, LeaseRefused, LeaseStale
from nvr.footage.admin import CameraChanges
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteCameraAdmin, RemoteFootage
from nvr.footage.types import Camera, ReadContext
from nvr.lease.remote import RemoteLeases
from nvr.lease.types import LeaseState, NodeLeases
from nvr.security.confirm import confirm
from nvr.security.identity import Caller, ServiceCallers
from nvr.security.node_key import NodeKey
from nvr.security.sealing import sealing_key_of
from nvr.simulate.server import SimulatedCameras
from tests.recorder.running import Node, running, simulated, until, write_settings

CONTEXT = ReadContext(purpose="test")
STRANGER = NodeKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
PASSWORD = "geheim"


class Reached:
    def __init__(self, channel: object, node: Node) -> None:
        self.leases = RemoteLeases(channel)  # type: ignore[arg-type]
        self.admin = RemoteCameraAdmin(channel)  # type: ignore[arg-type]
        self.footage = RemoteFootage(channel)  # type: ignore[arg-type]
        self.id = node.id

    async def cameras(self) -> list[Camera]:
        steps = [step async for step in self.footage.list_cameras(CONTEXT)]
        return [step for step in steps if isinstance(step, Camera)]

    async def state(self, camera_id: str) -> LeaseState | None:
        told = await self.leases.list_leases(CONTEXT)
        return next((each for each in told.cameras if each.camera_id == camera_id), None)

    async def recorded(self, camera_id: str) -> LeaseState:
        async def look() -> LeaseState | None:
            state = await self.state(camera_id)
            return state if state is not None and state.recording else None

        return await until(look)


@asynccontextmanager
async def reach(node: Node) -> AsyncIterator[Reached]:
    channel = dial(node.grpc)
    try:
        yield Reached(channel, node)
    finally:
        await channel.close()


@pytest.fixture
def cameras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedCameras]:
    with simulated(tmp_path_factory.mktemp("scenes"), "gate") as playing:
        yield playing


def written(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".mp4" and path.name != "nvr.toml":
            yield path.read_bytes()


async def test_a_camera_goes_to_another_node_and_back(tmp_path: Path, cameras: SimulatedCameras) -> None:
    homes, spares = tmp_path / "home", tmp_path / "spare"
    homes.mkdir()
    spares.mkdir()
    spare_settings = write_settings(spares, {})
    with running(write_settings(homes, {"gate": cameras.url("gate")})) as home_node:
        async with reach(home_node) as home:
            (camera,) = await home.cameras()
            with running(spare_settings) as node:
                async with reach(node) as spare:
                    await check_prepare(home, spare, camera.id)
                    await check_take(spare, camera.id)
            # Killed or stopped in order: the duty lasts.
            with running(spare_settings) as node:
                async with reach(node) as spare:
                    state = await spare.recorded(camera.id)
                    assert (state.epoch, state.held, state.home) == (4, True, False)
                    (guest,) = await spare.cameras()
                    assert (guest.id, guest.name) == (camera.id, "gate")
                    with pytest.raises(InvalidArgument, match="another node's"):
                        await spare.admin.remove_camera(CONTEXT, "gate")
                    await check_yield(home, spare, camera.id)
                    await check_back(home, spare, camera.id)
                assert PASSWORD not in node.log.read_text()
        assert PASSWORD not in home_node.log.read_text()
    for data in written(tmp_path):
        assert PASSWORD.encode() not in data


async def check_prepare(home: Reached, spare: Reached, camera_id: str) -> None:
    with pytest.raises(CameraNotFound):
        await spare.leases.take(CONTEXT, camera_id, 3)
    sealed = await home.leases.seal_camera(CONTEXT, camera_id, await spare.leases.sealing_key(CONTEXT))
    assert PASSWORD.encode() not in sealed.box
    wrong = [
        replace(sealed, camera_id=camera_id[:-1] + ("0" if camera_id[-1] != "0" else "1")),
        replace(sealed, changed_us=sealed.changed_us + 1),
        replace(sealed, box=sealed.box[:-1] + bytes([sealed.box[-1] ^ 1])),
        await home.leases.seal_camera(CONTEXT, camera_id, sealing_key_of(STRANGER)),
    ]
    for each in wrong:
        with pytest.raises(InvalidArgument, match="does not open"):
            await spare.leases.prepare(CONTEXT, each)
    unsigned = replace(sealing_key_of(STRANGER), signature=bytes(64))
    with pytest.raises(AccessDenied):
        await home.leases.seal_camera(CONTEXT, camera_id, unsigned)
    with pytest.raises(InvalidArgument, match="own"):
        await home.leases.prepare(CONTEXT, sealed)
    state = await spare.leases.prepare(CONTEXT, sealed)
    assert (state.held, state.probed, state.reachable, state.name) == (False, True, True, "gate")
    # Nobody is shown a camera that is only prepared.
    assert await spare.cameras() == []
    assert (await spare.leases.probe(CONTEXT, camera_id)).reachable


async def check_take(spare: Reached, camera_id: str) -> None:
    assert await spare.leases.confirm(CONTEXT, camera_id, 3) is None
    assert (await spare.leases.take(CONTEXT, camera_id, 3)).held
    assert (await spare.leases.take(CONTEXT, camera_id, 3)).held
    with pytest.raises(LeaseStale) as caught:
        await spare.leases.take(CONTEXT, camera_id, 2)
    assert caught.value.facts["epoch"] == "3"
    with pytest.raises(LeaseHeld):
        await spare.leases.forget(CONTEXT, camera_id)
    await spare.recorded(camera_id)
    # A newer lease does not end the session that records.
    assert (await spare.leases.take(CONTEXT, camera_id, 4)).recording


async def check_yield(home: Reached, spare: Reached, camera_id: str) -> None:
    word = await spare.leases.confirm(CONTEXT, camera_id, 4)
    assert word is not None
    assert await spare.leases.confirm(CONTEXT, camera_id, 3) is None
    lies = [(5, spare.id, word), (4, STRANGER.id, word), (4, spare.id, confirm(STRANGER, camera_id, 4))]
    for epoch, taker_id, told in lies:
        with pytest.raises(AccessDenied):
            await home.leases.give_up(CONTEXT, camera_id, epoch, taker_id, told)
    assert (await home.recorded(camera_id)).held
    for _ in range(2):
        given = await home.leases.give_up(CONTEXT, camera_id, 4, spare.id, word)
        assert (given.held, given.epoch) == (False, 4)
    (camera,) = await home.cameras()
    assert camera.streams[0].reason == "yielded"
    # Its settings are still its home's, and a new address goes the same way as the first.
    await home.admin.update_camera(CONTEXT, "gate", CameraChanges(title="Cổng"))
    sealed = await home.leases.seal_camera(CONTEXT, camera_id, await spare.leases.sealing_key(CONTEXT))
    assert (await spare.leases.prepare(CONTEXT, sealed)).changed_us == sealed.changed_us
    assert [each.title for each in await spare.cameras()] == ["Cổng"]


async def check_back(home: Reached, spare: Reached, camera_id: str) -> None:
    with pytest.raises(LeaseStale):
        await home.leases.take(CONTEXT, camera_id, 4)
    await home.leases.take(CONTEXT, camera_id, 5)
    await home.recorded(camera_id)
    word = await home.leases.confirm(CONTEXT, camera_id, 5)
    assert word is not None
    assert not (await spare.leases.give_up(CONTEXT, camera_id, 5, home.id, word)).held
    await home.admin.update_camera(CONTEXT, "gate", CameraChanges(enabled=False))
    state = await home.state(camera_id)
    assert state is not None
    assert state.retired
    with pytest.raises(LeaseRefused):
        await home.leases.seal_camera(CONTEXT, camera_id, sealing_key_of(STRANGER))
    await spare.leases.forget(CONTEXT, camera_id, retired=True)
    assert await spare.state(camera_id) is None
    with pytest.raises(CameraNotFound):
        await spare.leases.take(CONTEXT, camera_id, 6)
    # What it recorded stays.
    (guest,) = await spare.cameras()
    assert guest.streams[0].newest_us > guest.streams[0].oldest_us > 0


async def test_who_keeps_a_copy_can_stand_by_too(tmp_path: Path, cameras: SimulatedCameras) -> None:
    homes, spares = tmp_path / "home", tmp_path / "spare"
    homes.mkdir()
    spares.mkdir()
    with running(write_settings(homes, {"gate": cameras.url("gate")})) as home_node:
        spare_settings = write_settings(spares, {})
        with spare_settings.open("a") as file:
            file.write(f'[[copy]]\nfrom = "{home_node.grpc}"\nevery = "1s"\n')
        with running(spare_settings) as node:
            async with reach(home_node) as home, reach(node) as spare:
                (camera,) = await home.cameras()

                async def copied() -> list[Camera]:
                    return [each for each in await spare.cameras() if each.streams]

                (copy,) = await until(copied)
                assert (copy.id, copy.streams[0].reason) == (camera.id, "copied")
                assert await spare.state(camera.id) is None
                key = await spare.leases.sealing_key(CONTEXT)
                await spare.leases.prepare(CONTEXT, await home.leases.seal_camera(CONTEXT, camera.id, key))
                await spare.leases.take(CONTEXT, camera.id, 1)
                state = await spare.recorded(camera.id)
                assert (state.epoch, state.held, state.home) == (1, True, False)


async def test_heartbeats_go_on_until_the_node_stops(tmp_path: Path) -> None:
    with running(write_settings(tmp_path, {})) as node:
        async with reach(node) as net:
            beats = net.leases.heartbeat(CONTEXT, 100)
            first, second = await anext(beats), await anext(beats)
            assert isinstance(first, NodeLeases)
            assert isinstance(second, NodeLeases)
            assert (first.node_id, first.node) == (node.id, "station-1")
            assert second.now_us > first.now_us
            await beats.aclose()  # type: ignore[attr-defined]


def test_settings_go_to_peers_only(tmp_path: Path) -> None:
    from nvr.recorder.config import parse_settings

    text = f'[node]\nname = "a"\nstores = ["/x"]\n[lease]\nauthorities = ["gw"]\npeers = ["{"0" * 64}"]\n'
    settings = parse_settings(text)
    assert settings.lease.authorities == ["gw"]
    assert settings.lease.peers == ["0" * 64]


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (Caller("local"), True),
        (Caller("node", "abc"), True),
        (Caller("certificate", "gw"), True),
        (Caller("node", "other"), False),
        (Caller("token", "gw"), False),
        (Caller("anonymous"), False),
    ],
)
def test_only_authorities_call_the_lease_service(caller: Caller, allowed: bool) -> None:
    policy = ServiceCallers("nvr.v1.LeaseService", frozenset({"abc", "gw"}))
    if allowed:
        policy.authorize(caller, "nvr.v1.LeaseService/Take")
    else:
        with pytest.raises(AccessDenied):
            policy.authorize(caller, "nvr.v1.LeaseService/Take")
    if caller.kind != "anonymous":
        policy.authorize(caller, "nvr.v1.FootageService/ReadClip")
