"""Clients that do not read, vanish in the middle, or open hundreds of streams: recording does not notice."""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from nvr.errors import LimitExceeded, NvrError
from nvr.footage.channel import dial
from nvr.footage.problems import error_from_call
from nvr.footage.remote import RemoteFootage
from nvr.footage.types import (
    Camera,
    ClipRequest,
    Fragment,
    FragmentsRequest,
    Gap,
    ReadContext,
    Span,
    TimeRange,
)
from nvr.v1 import common_pb2, footage_pb2, footage_pb2_grpc
from tests.client.proxy import cutting
from tests.recorder.running import PASSWORD, SCENE, Node, running, simulated, until, write_settings
from tests.simulate.rtsp import Client

CONTEXT = ReadContext(purpose="test")
LIVE = footage_pb2.WatchLiveRequest(context=common_pb2.ReadContext(purpose="test"), camera="gate")
EVENTS = footage_pb2.WatchEventsRequest(context=common_pb2.ReadContext(purpose="test"))
PER_CALLER = 256
SLOW, FROZEN, VANISHING, UNREAD = 6, 6, 40, 20
_MB = 1 << 20


async def range_of(source: RemoteFootage) -> TimeRange | None:
    """From the start of the gate's footage until its end; None also where a limit is in the way."""
    try:
        cameras = [step async for step in source.list_cameras(CONTEXT) if isinstance(step, Camera)]
    except LimitExceeded:
        return None
    (stream,) = cameras[0].streams
    return TimeRange(stream.oldest_us, stream.newest_us) if stream.oldest_us else None


async def lasts(source: RemoteFootage, least_us: int) -> TimeRange:
    """The range of the gate's footage, once it is so long."""

    async def long_enough() -> TimeRange | None:
        found = await range_of(source)
        return found if found and found.end_us - found.start_us >= least_us else None

    return await until(long_enough)


async def assert_all_recorded(source: RemoteFootage, range_: TimeRange) -> None:
    """One span without a gap, of as many pictures as the camera sends in that time."""
    items = [
        item
        async for item in source.coverage(CONTEXT, "gate", "main", range_)
        if isinstance(item, Span | Gap)
    ]
    assert [type(item) for item in items] == [Span], items
    request = FragmentsRequest("gate", range_, refs_only=True)
    refs = [step.ref async for step in source.read_fragments(CONTEXT, request) if isinstance(step, Fragment)]
    sent = (range_.end_us - range_.start_us) * SCENE.fps / 1e6
    assert abs(sum(ref.pictures for ref in refs) - sent) <= 1


def resident_bytes(node: Node) -> int:
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def descriptors(node: Node) -> int:
    return len(list(Path(f"/proc/{node.process.pid}/fd").iterdir()))


async def ended(node: Node, method: str, code: str) -> int:
    """How many calls have ended so."""
    text = await asyncio.to_thread(node.scrape)
    found = re.findall(r"^nvr_rpc_seconds_count{(.*)} (\S+)$", text, re.MULTILINE)
    wanted = (f'{method}"', f'code="{code}"')
    return sum(int(float(count)) for labels, count in found if all(part in labels for part in wanted))


def half_a_request(address: str) -> None:
    """Begins HTTP/2, promises 16 MB, sends some, and resets the connection."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        line.sendall(bytes([0xFF, 0xFF, 0xFF, 0, 1, 0, 0, 0, 1]) + b"x" * 1000)


@asynccontextmanager
async def a_byte_a_second(target: str) -> AsyncIterator[str]:
    """Passes requests on; of answers, once a call has begun, a byte a second: nobody reads faster."""
    host, _, port = target.rpartition(":")
    open_: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # It buffers next to nothing of its own.
        up = await asyncio.open_connection(host, int(port), limit=1)
        open_.update((writer, up[1]))

        async def ask() -> None:
            while data := await reader.read(65536):
                up[1].write(data)

        asking = asyncio.create_task(ask())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            passed = 0
            while (data := await up[0].read(1 if passed > 1000 else 100)) and not writer.is_closing():
                writer.write(data)
                passed += len(data)
                if passed > 1000:
                    await asyncio.sleep(1)
        asking.cancel()
        up[1].transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    name, number = server.sockets[0].getsockname()
    try:
        yield f"{name}:{number}"
    finally:
        server.close()
        for writer in open_:
            writer.transport.abort()


async def read_again_and_again(address: str, range_: TimeRange) -> None:
    """Reads a clip, and begins anew when that fails."""
    while True:
        channel = dial(address)
        try:
            async for _ in RemoteFootage(channel, target="").read_clip(CONTEXT, ClipRequest("gate", range_)):
                pass
        except NvrError:
            await asyncio.sleep(1)
        finally:
            await channel.close()


async def test_clients_that_vanish_read_a_byte_a_second_or_open_500_streams(tmp_path: Path) -> None:
    with (
        simulated(tmp_path / "scenes", "gate") as cameras,
        running(
            write_settings(
                tmp_path, {"gate": cameras.cameras[0].main_url.replace("://", f"://admin:{PASSWORD}@")}
            )
        ) as node,
    ):
        async with (
            a_byte_a_second(node.grpc) as slow,
            cutting(node.grpc, ()) as frozen,
            cutting(node.grpc, [3000] * 10 * VANISHING) as vanishing,
        ):
            channel = dial(node.grpc)
            source = RemoteFootage(channel, target=node.grpc)
            before = await lasts(source, 4_000_000)
            memory, files = resident_bytes(node), descriptors(node)

            readers = [asyncio.create_task(read_again_and_again(slow, before)) for _ in range(SLOW)]
            # Pulled cables: they read for a while, and then nothing is heard of them.
            frozen_calls = []
            frozen_channels = [dial(frozen.address) for _ in range(FROZEN)]
            for each in frozen_channels:
                watched = footage_pb2_grpc.FootageServiceStub(each).WatchLive(LIVE)
                assert await watched.read() is not grpc.aio.EOF
                frozen_calls.append(watched)
            frozen.stall()
            # Connections that are reset, in the middle of a clip or of a request.
            while vanishing.cut < VANISHING:
                other = dial(vanishing.address)
                clip = RemoteFootage(other, target="").read_clip(CONTEXT, ClipRequest("gate", before))
                with pytest.raises(NvrError):
                    async for _ in clip:
                        pass
                await other.close()
                await asyncio.to_thread(half_a_request, node.grpc)

            # Streams that nobody reads, over a connection that stands; and 500 that say little, of which
            # so many are refused as are too many.
            stub = footage_pb2_grpc.FootageServiceStub(channel)
            unread = [stub.WatchLive(LIVE) for _ in range(UNREAD)]
            for watch in unread:
                assert await watch.read() is not grpc.aio.EOF
            watches = [stub.WatchEvents(EVENTS) for _ in range(500)]
            first = [asyncio.ensure_future(events.read()) for events in watches]

            async def enough_refused() -> bool:
                return sum(answer.done() for answer in first) >= 500 - PER_CALLER + UNREAD

            await until(enough_refused)
            for answer in first:
                if not answer.done():
                    continue
                failure = answer.exception()
                assert isinstance(failure, grpc.aio.AioRpcError)
                assert failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                error = error_from_call(failure, target="node")
                assert isinstance(error, LimitExceeded)
                assert error.facts == {"limit": "streams_per_caller", "value": str(PER_CALLER)}

            # Half of them go, and all is recorded.
            held = [events for events, answer in zip(watches, first, strict=True) if not answer.done()]
            for events in held[::2]:
                events.cancel()
            after = await lasts(source, before.end_us - before.start_us + 8_000_000)
            await assert_all_recorded(source, after)
            assert resident_bytes(node) - memory < 150 * _MB

            for events in held:
                events.cancel()
            for watch in unread:
                watch.cancel()
            await asyncio.gather(*first, return_exceptions=True)

            # Nobody holds the places of those who are gone: also of those who did not say so.
            async def all_gone() -> bool:
                return await ended(node, "WatchLive", "CANCELLED") == UNREAD + FROZEN

            await until(all_gone)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            for each in frozen_channels:
                await each.close()

            async def closed() -> bool:
                return descriptors(node) <= files + 4

            await until(closed)
            await assert_all_recorded(source, await lasts(source, after.end_us - after.start_us + 2_000_000))
            await channel.close()
        assert node.stop() == 0
        assert "Traceback" not in node.log.read_text()


async def test_viewers_that_do_not_read_or_vanish(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    most = 20
    rtsp = f'[rtsp]\nlisten = "127.0.0.1:{port}"\nmax_sessions = {most}'
    with (
        simulated(tmp_path / "scenes", "gate") as cameras,
        running(
            write_settings(
                tmp_path, {"gate": cameras.cameras[0].main_url.replace("://", f"://admin:{PASSWORD}@")}, rtsp
            )
        ) as node,
    ):
        channel = dial(node.grpc)
        source = RemoteFootage(channel, target=node.grpc)
        before = await lasts(source, 3_000_000)
        memory, files = resident_bytes(node), descriptors(node)
        url = f"rtsp://127.0.0.1:{port}/gate/main"

        def watch() -> Client:
            client = Client(port)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.play(url)
            return client

        def refused() -> None:
            with Client(port) as client:
                transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
                assert client.request("SETUP", f"{url}/trackID=0", transport).status == 453

        # They play and read nothing.
        viewers = [await asyncio.to_thread(watch) for _ in range(most)]
        await asyncio.to_thread(refused)
        after = await lasts(source, before.end_us - before.start_us + 6_000_000)
        await assert_all_recorded(source, after)
        assert resident_bytes(node) - memory < 100 * _MB
        for viewer in viewers:
            # Gone without a word.
            viewer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            viewer.socket.close()

        async def closed() -> bool:
            return descriptors(node) <= files + 4

        await until(closed)
        with await asyncio.to_thread(watch) as viewer:
            unit = await asyncio.to_thread(next, viewer.access_units("h264"))
            assert unit.nals
        await channel.close()
        assert node.stop() == 0
        assert "Traceback" not in node.log.read_text()
