"""A small ward in network namespaces: cameras, recorders that stand in for one another, a keeper of copies.

Above them the ward's gateway, which is the authority of their leases, and the city's. Every
node is a process on a host of its own, they talk mutual TLS, and each cable can be cut::

    cameras ──── cams ──── alpha, beta, spare ──── office ──── keeper, ward ──── trunk ──── city
"""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from nvr.errors import NodeUnavailable
from nvr.footage.channel import dial
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import (
    Camera,
    End,
    FragmentRef,
    FragmentsRequest,
    Gap,
    Notice,
    ReadContext,
    Span,
    TimeRange,
)
from nvr.lease.remote import RemoteAuthority
from nvr.lease.types import GroupLease
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles, issue_to_folder
from nvr.simulate.scenes import Scene, generate
from tests.support.namespaces import Host, Lab, lab
from tests.support.processes import ChildProcess

SCENE = Scene(width=320, height=180, fps=10, duration_s=8, gop_s=1.0, bit_rate=150_000)
CONTEXT = ReadContext(purpose="test")
SECOND = 1_000_000
PORT = 7600
CAMERAS = "cameras"
WARD, CITY, KEEPER = "ward", "city", "keeper"
SPARE = "spare"
WITNESS = "witness"
_ADDRESSES = {
    "alpha": {"office": "10.1.0.11", "cams": "10.2.0.11"},
    "beta": {"office": "10.1.0.12", "cams": "10.2.0.12"},
    "gamma": {"office": "10.1.0.15", "cams": "10.2.0.15"},
    SPARE: {"office": "10.1.0.13", "cams": "10.2.0.13"},
    KEEPER: {"office": "10.1.0.14"},
    WARD: {"office": "10.1.0.2", "trunk": "10.3.0.2"},
    CITY: {"trunk": "10.3.0.1"},
    CAMERAS: {"cams": "10.2.0.9"},
}
_RTSP = "10.2.0.9:8554"
_WITHIN_S = 120.0


@dataclass(frozen=True)
class Layout:
    """``homes``: the cameras of each recorder, by number from 1; ``scenes``: what they play, in turn."""

    homes: dict[str, Sequence[int]]
    scenes: Sequence[Scene] = (SCENE,)
    keeper_of: str = ""
    """The recorder of whose cameras copies are kept; empty: there is no keeper."""
    city: bool = False
    group: str = ""
    """More lines of the failover group."""

    @property
    def recorders(self) -> list[str]:
        return list(self.homes)

    @property
    def children(self) -> list[str]:
        return [*self.homes, *([KEEPER] if self.keeper_of else [])]

    @property
    def nodes(self) -> list[str]:
        return [*self.children, WARD, *([CITY] if self.city else [])]


@dataclass
class Ward:
    """Its nodes by name; started and stopped one by one."""

    lab: Lab
    folder: Path
    layout: Layout
    keys: dict[str, NodeKey] = field(default_factory=dict)
    doors: dict[str, str] = field(default_factory=dict)
    channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)
    processes: dict[str, ChildProcess] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    """What processes that have ended wrote."""

    def host(self, name: str) -> Host:
        return self.lab[name]

    def store(self, name: str) -> Path:
        return self.folder / name / "store"

    def tls(self, name: str) -> TlsFiles:
        folder = self.folder / name
        return TlsFiles(folder / "tls.pem", folder / "tls.key", self.folder / "authorities.pem")

    def channel(self, node: str) -> grpc.aio.Channel:
        """To a node from outside; it is there also where all of the node's cables are cut."""
        if node not in self.channels:
            self.channels[node] = dial(self.doors[node], self.tls(WITNESS))
        return self.channels[node]

    def footage(self, node: str) -> RemoteFootage:
        return RemoteFootage(self.channel(node), target=node, timeout_s=10)

    # --- set up -----------------------------------------------------------------

    def set_up(self) -> None:
        """Hosts, keys, certificates and settings; nothing runs yet, but for the cameras."""
        for name in (*self.layout.nodes, CAMERAS):
            addresses = {switch: f"{address}/24" for switch, address in _ADDRESSES[name].items()}
            self.lab.host(name, **addresses)
        authorities = []
        for name in (*self.layout.nodes, WITNESS):
            (self.folder / name).mkdir()
            self.keys[name] = NodeKey.load_or_create(self.folder / name)
            hosts = [*_ADDRESSES.get(name, {}).values(), "127.0.0.1"]
            files = issue_to_folder(self.folder / name, self.keys[name], name=name, hosts=hosts)
            assert files.certificate is not None
            authorities.append(files.certificate.read_text())
        (self.folder / "authorities.pem").write_text("".join(authorities))
        for name in self.layout.nodes:
            self.doors[name] = self.host(name).door(f"127.0.0.1:{PORT}")
            (self.folder / f"{name}.toml").write_text("\n".join(self._settings(name)))
        count = sum(map(len, self.layout.homes.values()))
        played = [str(generate(scene, self.folder / "scenes")) for scene in self.layout.scenes]
        playing = ("--cameras", str(count), "--listen", _RTSP, "--json")
        cameras = self.host(CAMERAS).start("-m", "nvr", "simulate", *played, *playing)
        cameras.wait_line(lambda line: line.startswith("{"))

    def _settings(self, name: str) -> list[str]:
        tls = self.tls(name)
        lines = ["[node]", f'name = "{name}"', f'grpc = "0.0.0.0:{PORT}"', f'data = "{self.folder / name}"']
        is_gateway = name in (WARD, CITY)
        if not is_gateway:
            lines.append(f'stores = ["{self.store(name)}"]')
        lines += ["[tls]", f'cert = "{tls.certificate}"', f'key = "{tls.key}"']
        lines.append(f'client_ca = "{tls.authorities}"')
        if is_gateway:
            lines += ["[query]", 'timeout = "3s"']
            children, switch = ([WARD], "trunk") if name == CITY else (self.layout.children, "office")
            for child in children:
                lines += ["[[child]]", f'address = "{_ADDRESSES[child][switch]}:{PORT}"']
            if name == WARD:
                recorders = [each for each in self.layout.recorders if each != SPARE]
                standbys = [each for each in self.layout.recorders if each == SPARE]
                lines += ["[[failover.group]]", 'name = "ward"', f"recorders = {recorders}"]
                lines += [f"standbys = {standbys}", 'stable_after = "5s"', self.layout.group]
        elif name == KEEPER:
            source = _ADDRESSES[self.layout.keeper_of]["office"]
            lines += ["[[copy]]", f'from = "{source}:{PORT}"', 'since = "1h"', 'every = "1s"']
        else:
            peers = [self.keys[each].id for each in self.layout.recorders if each != name]
            lines += ["[lease]", f'authorities = ["{self.keys[WARD].id}"]', f"peers = {peers}"]
            for number in self.layout.homes[name]:
                url = f"rtsp://{_RTSP}/camera-{number}/main"
                lines += ["[[camera]]", f'name = "camera-{number}"', f'main = "{url}"']
        return lines

    # --- what may happen to it -----------------------------------------------------

    def start(self, *names: str) -> None:
        """Starts nodes and waits until they serve."""
        for name in names:
            kind = "gateway" if name in (WARD, CITY) else "recorder"
            settings = str(self.folder / f"{name}.toml")
            self.processes[name] = self.host(name).start(
                *("-m", "nvr", kind, "--config", settings, "--json"), environment={"PYTHONFAULTHANDLER": "1"}
            )
        for name in names:
            self.processes[name].wait_line(lambda line: line.startswith("{"))

    def kill(self, name: str) -> None:
        """Ends a node with SIGKILL."""
        process = self.processes.pop(name)
        process.kill()
        self._keep_written(name, process)

    def stop(self) -> dict[str, int]:
        """Ends all nodes in order; their exit codes."""
        for process in self.processes.values():
            process.process.terminate()
        codes = {}
        for name, process in self.processes.items():
            # A second signal would end it at once.
            try:
                process.process.wait(60)
            except subprocess.TimeoutExpired:
                # It says where it hangs.
                process.send(signal.SIGABRT)
            codes[name] = process.stop()
            self._keep_written(name, process)
        self.processes.clear()
        return codes

    def _keep_written(self, name: str, process: ChildProcess) -> None:
        self.written += [f"{name}: {line}" for line in process.lines + process.errors]

    # --- what is asked of it -----------------------------------------------------------

    async def cameras(self, node: str) -> list[Camera]:
        return [step async for step in self.footage(node).list_cameras(CONTEXT) if isinstance(step, Camera)]

    async def ids(self) -> dict[str, str]:
        """The cameras' ids by name, as their homes have them."""
        found = [camera for home in self.layout.recorders for camera in await self.cameras(home)]
        return {camera.name: camera.id for camera in found}

    async def leases(self) -> dict[str, GroupLease]:
        """By the camera's name."""
        authority = RemoteAuthority(self.channel(WARD), target=WARD)
        steps = authority.list_group_leases(CONTEXT)
        return {step.name: step async for step in steps if isinstance(step, GroupLease)}

    async def refs(
        self, node: str, camera: str, range_: TimeRange, *, source: str = "", limit: int = 0
    ) -> list[FragmentRef]:
        """References of fragments, page by page with ``limit``; fails unless the answer is complete."""
        found: list[FragmentRef] = []
        request = FragmentsRequest(camera, range_, refs_only=True, source=source, limit=limit)
        while True:
            cursor = ""
            async for step in self.footage(node).read_fragments(CONTEXT, request):
                if isinstance(step, End):
                    assert step.complete
                    cursor = step.cursor
                elif not hasattr(step, "ref"):
                    raise AssertionError(f"{node} warns: {step}")
                else:
                    found.append(step.ref)
            if not cursor:
                return found
            request = FragmentsRequest(
                camera, range_, refs_only=True, source=source, limit=limit, cursor=cursor
            )

    async def spans(self, node: str, camera: str, since_us: int = 0) -> list[Span]:
        """What a node has on disk of a camera, from an instant on; nothing where it does not answer."""
        with suppress(NodeUnavailable):
            for found in await self.cameras(node):
                main = found.streams[0] if found.name == camera and found.streams else None
                if main is not None and main.oldest_us and main.newest_us > since_us:
                    range_ = TimeRange(max(since_us, main.oldest_us), main.newest_us)
                    steps = self.footage(node).coverage(CONTEXT, found.id, "main", range_)
                    return [step async for step in steps if isinstance(step, Span)]
        return []

    async def first_after(self, node: str, camera: str, since_us: int) -> Span:
        """The first that a node records of a camera after an instant, once it is on disk."""

        async def recorded() -> bool:
            return bool(await self.spans(node, camera, since_us))

        await until(recorded, f"{node} records {camera}")
        return (await self.spans(node, camera, since_us))[0]

    async def recorded_until(self, node: str, camera: str, until_us: int) -> int:
        """Returns when a node has footage on disk that reaches beyond an instant: where it ends then."""
        newest_us = 0

        async def reached() -> bool:
            nonlocal newest_us
            spans = await self.spans(node, camera)
            newest_us = spans[-1].range.end_us if spans else 0
            return newest_us > until_us

        await until(reached, f"{node} has footage of {camera}")
        return newest_us

    async def gaps(self, camera: str, start_us: int, end_us: int) -> list[Gap]:
        """Of all recorders' footage together, once the gateway reaches all of them."""
        steps: list[Span | Gap | Notice | End] = []

        async def whole() -> bool:
            range_ = TimeRange(start_us, end_us)
            answer = self.footage(WARD).coverage(CONTEXT, camera, "main", range_)
            steps[:] = [step async for step in answer]
            return steps[-1] == End(complete=True)

        await until(whole, "the gateway reaches all recorders")
        return [step for step in steps if isinstance(step, Gap)]

    async def steady(self, **holders: str) -> None:
        """Returns when each camera is with its holder, and only there. Names with ``_`` for ``-``."""

        async def reached() -> bool:
            leases = await self.leases()
            return all(
                (lease.state, lease.holder, list(lease.recorded_by)) == ("steady", holder, [holder])
                for name, holder in holders.items()
                for lease in [leases[name.replace("_", "-")]]
            )

        await until(reached, f"the leases are {holders}")

    async def prepared(self) -> None:
        """Returns when every camera is recorded at home, and can be taken by others."""
        count = sum(map(len, self.layout.homes.values()))

        async def ready() -> bool:
            leases = await self.leases()
            return len(leases) == count and all(
                lease.state == "steady" and lease.holder == lease.home and lease.standbys
                for lease in leases.values()
            )

        await until(ready, "all cameras are recorded and prepared")


async def until(
    condition: Callable[[], Awaitable[bool]], what: str, *, within_s: float = _WITHIN_S, every_s: float = 0.3
) -> None:
    """Returns when a condition holds; fails when it never does."""
    try:
        async with asyncio.timeout(within_s):
            while not await condition():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"{what}: did not happen in {within_s} s") from None


@asynccontextmanager
async def ward(folder: Path, layout: Layout) -> AsyncIterator[Ward]:
    """All of it, started and prepared."""
    with lab("office", "cams", "trunk") as made_lab:
        made = Ward(made_lab, folder, layout)
        try:
            made.set_up()
            made.start(*layout.nodes)
            await made.prepared()
            yield made
        finally:
            for channel in made.channels.values():
                await channel.close()
            made.stop()
