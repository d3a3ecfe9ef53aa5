"""What tiers cost: a question through two gateways, 300 nodes at once, a clip through two tiers."""

import asyncio
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import nvr
from benches import recipe, stores
from benches.clip_over_grpc import utc
from benches.harness import Row, Settings, cost_of, percentile, process, wait_until
from benches.node import recorder
from benches.province_nodes import NOT_RECORDED, Running, addresses_of, make_recorder, up
from nvr.footage.admin import CameraSettings
from nvr.footage.types import Place, TimeRange
from tests.support.processes import free_port

MIB = 2**20
NODES, DEAD, STALLED = 300, 30, 10
DEADLINE_S = 2.0
ROUNDS = 5
QUESTIONS = 25


def start_gateway(
    stack: ExitStack, work: Path, name: str, children: list[str], *, camera: str
) -> tuple[str, int]:
    """Address and process id of a gateway that runs, and knows a camera."""
    address = f"127.0.0.1:{free_port()}"
    text = f'[node]\nname = "{name}"\ndata = "{work / name}"\ngrpc = "{address}"\n'
    text += "".join(f'[[child]]\naddress = "{child}"\n' for child in children)
    config = work / f"{name}.toml"
    config.write_text(text)
    command = [str(Path(sys.executable).with_name("nvr")), "gateway", "--config", str(config)]
    running = stack.enter_context(process(command, work / f"{name}.log"))

    def knows() -> bool:
        try:
            with nvr.connect(address) as net:
                return net.camera(camera).coverage(utc(1_000_000), utc(2_000_000)).complete
        except (nvr.errors.NodeUnavailable, nvr.errors.CameraNotFound):
            return False

    wait_until(knows, f"{name} knows its cameras")
    return address, running.pid


def clip_through_tiers(settings: Settings) -> list[Row]:
    """CPU of all processes together for each GB, direct and through two gateways."""
    written = stores.hours_of_footage(settings.work, min(settings.clip_hours, 0.25))
    start, end = utc(written.start_us + 777_000), utc(written.end_us - 1_000_000)
    known = stores.CAMERA
    with ExitStack() as stack:
        node = stack.enter_context(recorder(written.root, {}, settings.work))
        district, district_pid = start_gateway(
            stack, settings.work, "bench-district", [node.address], camera=known
        )
        province, province_pid = start_gateway(
            stack, settings.work, "bench-province", [district], camera=known
        )
        pids = [node.pid, district_pid, province_pid]

        def used_s(address: str) -> tuple[float, int]:
            """CPU seconds a GB, all processes together and this one."""
            with nvr.connect(address) as net:
                clip = net.camera(stores.CAMERA).clip(start, end)
                size = sum(part.size_bytes for part in clip.plan().parts)
                before, own = cost_of(pids).cpu_s, time.process_time()
                for _ in range(ROUNDS):
                    for _ in clip.chunks():
                        pass
                spent = cost_of(pids).cpu_s - before + time.process_time() - own
                return spent / (size * ROUNDS / 1e9), size

        used_s(province)
        memory_before = cost_of([district_pid, province_pid]).resident_bytes
        tiers, direct = [], []
        for _ in range(2):
            direct.append(used_s(node.address)[0])
            tiers.append(used_s(province)[0])
        memory_after = cost_of([district_pid, province_pid]).resident_bytes
    shutil.rmtree(written.root)
    theirs, ours = statistics.mean(direct), statistics.mean(tiers)
    extra = max(0, memory_after - memory_before) / 2 / MIB
    met = ours <= 3.2 * theirs
    return [
        Row("clip through two tiers", ours, "CPU-s a GB", "direct", theirs, "≤ 3.2 × direct", met),
        Row("extra memory of a tier for a stream", extra, "MiB", floor="≤ 16 MiB", met=extra <= 16),
    ]


def place_query(settings: Settings) -> list[Row]:
    """12 cameras on 4 recorders through two gateways, a process each."""
    work = settings.work / "place-query"
    work.mkdir()
    media = recipe.load(recipe.make_small(work))
    start_us = (time.time_ns() // 1_000_000_000 - 3600) * 1_000_000
    range_ = TimeRange(start_us, start_us + 600_000_000)
    names = ("gate", "yard", "road")
    with ExitStack() as stack:
        running = Running(stack, work)
        told = []
        for number in range(4):
            cameras = [
                CameraSettings(name=name, main_url=NOT_RECORDED, enabled=False, place=Place(19.9, 105.9))
                for name in names
            ]
            footage = {name: [range_] for name in names}
            config = make_recorder(work, f"leaf-{number}", cameras, footage, media)
            told.append(running.start("recorder", f"leaf-{number}", *up([config]), nodes=1))
        addresses = list(addresses_of(told).values())
        district, _ = start_gateway(stack, work, "query-district", addresses, camera="leaf-3/yard")
        province, _ = start_gateway(stack, work, "query-province", [district], camera="leaf-3/yard")
        with nvr.connect(province) as net:
            taken = []
            start, end = utc(start_us), utc(start_us + 60_000_000)
            while len(net.find(near=(19.9, 105.9), radius="2km").all()) < 12:
                time.sleep(0.1)
            for number in range(220):
                started = time.perf_counter()
                found = net.find(near=(19.9, 105.9), radius="2km", start=start, end=end).all()
                if number >= 20:
                    taken.append((time.perf_counter() - started) * 1000)
                if len(found) != 12 or not all(each.spans and not each.gaps for each in found):
                    raise RuntimeError(f"{len(found)} cameras were found, and 12 with footage are there")
    shutil.rmtree(work)
    p50, p99 = percentile(taken, 50), percentile(taken, 99)
    what = "place query: 12 cameras, 4 recorders, 2 gateways"
    return [
        Row(f"{what}, p50", p50, "ms", floor="≤ 25 ms", met=p50 <= 25),
        Row(f"{what}, p99", p99, "ms", floor="≤ 100 ms", met=p99 <= 100),
    ]


def many_nodes(settings: Settings) -> list[Row]:
    """300 nodes asked at once by a gateway in this process; the nodes are in others."""
    found = json.loads(
        subprocess.run(
            [sys.executable, "-m", "benches.federation", "many", str(settings.work)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.splitlines()[-1]
    )
    cpu_ms, late_ms = found["cpu_ms"], (found["late_s"] - DEADLINE_S) * 1000
    lost = DEAD + STALLED
    late = f"the same, {DEAD} dead and {STALLED} stalled: after the deadline"
    warned = found["warnings"]
    return [
        Row(f"question to {NODES} nodes: CPU of who asks", cpu_ms, "ms", floor="≤ 60 ms", met=cpu_ms <= 60),
        Row(late, late_ms, "ms", floor="≤ 50 ms", met=late_ms <= 50),
        Row("warnings of it", warned, "nodes", floor=f"{lost}", met=warned == lost),
    ]


def measure(settings: Settings) -> list[Row]:
    """All of it."""
    settings.conditions.append(
        "Tiers: real processes over loopback without TLS. Clip: CPU of recorder, gateways and client "
        f"together, {ROUNDS} reads of a quarter of an hour each, by turns. Place query: six processes, each "
        "recorder reads its store's index, page cache warm. "
        f"{NODES} nodes: in three processes, each node a gRPC server of its own; "
        f"the gateway asks within {DEADLINE_S:g} s; CPU of all its threads, median of {QUESTIONS} questions, "
        "all nodes at work on the same two cores."
    )
    return clip_through_tiers(settings) + place_query(settings) + many_nodes(settings)


async def serve_leaves(first: int, count: int) -> None:
    """Nodes with a few cameras each, until input ends; a line of it: so many of them answer no more."""
    from tests.gateway.test_faults import Leaf
    from tests.gateway.tree import serving

    async with AsyncExitStack() as stack:
        leaves = [Leaf(number) for number in range(first, first + count)]
        addresses = [(await stack.enter_async_context(serving(leaf))).address for leaf in leaves]
        print(json.dumps(addresses), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            for leaf in leaves[: int(line)]:
                leaf.hang = True
            print(json.dumps(int(line)), flush=True)


async def ask_many(work: Path) -> None:
    """The gateway over all of them."""
    from nvr.footage.places import FindRequest
    from nvr.footage.types import End, Notice, ReadContext
    from tests.footage.memory import memory_world
    from tests.gateway.tree import gateway

    third = NODES // 3
    groups = []
    for number in range(3):
        words = [sys.executable, "-m", "benches.federation", "leaves", str(number * third), str(third)]
        groups.append(
            await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20
            )
        )
    addresses = []
    for group in groups:
        assert group.stdout is not None
        addresses += json.loads(await group.stdout.readline())
    whole = memory_world().gate.whole
    found: dict[str, float] = {}

    async def ask() -> list[Notice]:
        answer = made.footage.find(ReadContext(), FindRequest(range=whole))
        notices = []
        async for step in answer:
            if isinstance(step, Notice):
                notices.append(step)
            elif isinstance(step, End):
                break
        return notices

    async with gateway("bench", addresses, path=work / "many.sqlite", timeout_s=DEADLINE_S) as made:
        await ask()
        used = []
        for _ in range(QUESTIONS):
            before = resource.getrusage(resource.RUSAGE_SELF)
            await ask()
            after = resource.getrusage(resource.RUSAGE_SELF)
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        found["cpu_ms"] = statistics.median(used) * 1000
        stalled = groups[-1]
        assert stalled.stdin is not None
        assert stalled.stdout is not None
        stalled.stdin.write(f"{STALLED}\n".encode())
        await stalled.stdout.readline()
        for link in list(made.links)[:DEAD]:
            link.up, link.reason, link.detail = False, "node_unreachable", "dead"
        started = time.monotonic()
        notices = await ask()
        found["late_s"] = time.monotonic() - started
        found["warnings"] = len({notice.node for notice in notices})
    for group in groups:
        assert group.stdin is not None
        group.stdin.close()
        await group.wait()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "leaves":
        asyncio.run(serve_leaves(*map(int, sys.argv[2:])))
    else:
        asyncio.run(ask_many(Path(sys.argv[2])))
