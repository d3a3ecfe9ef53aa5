"""Throughput of a clip from a node to a client, beside sendfile and bare gRPC, and how clients share it."""

import asyncio
import hashlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio

import nvr
from benches import stores
from benches.harness import Row, Settings, medians_by_turns, process, wait_until
from benches.node import recorder

MB = 1e6
RECEIVE_BYTES = 1 << 20
CLIENTS = 16
SHARE_S = 5.0
MIN_RATIO = 0.55
MIN_SHARE = 0.7


def serve_by_sendfile(path: Path, state: Path) -> None:
    """Gives a file to whoever connects, as fast as the kernel can."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        state.write_text(str(server.getsockname()[1]))
        while True:
            connection, _ = server.accept()
            with connection, path.open("rb") as source:
                connection.sendfile(source)


async def serve_bare(size: int, state: Path) -> None:
    """Sends so many bytes from memory to whoever calls, in messages of 1 MiB: the least gRPC can do here."""
    message = os.urandom(RECEIVE_BYTES)

    async def send(_: bytes, context: object) -> AsyncIterator[bytes]:
        for at in range(0, size, RECEIVE_BYTES):
            yield message[: size - at]

    server = grpc.aio.server()
    send_handler = grpc.unary_stream_rpc_method_handler(send, bytes, bytes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", {"Send": send_handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await asyncio.to_thread(state.write_text, str(port))
    await server.wait_for_termination()


def receive(port: int, out: Path) -> None:
    """Writes all that a server sends to a file, and waits for the disk as a saved clip does."""
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    with socket.create_connection(("127.0.0.1", port)) as connection, out.open("wb", buffering=0) as sink:
        while count := connection.recv_into(buffer):
            sink.write(buffer[:count])
        os.fsync(sink.fileno())


def drain(port: int) -> None:
    """Takes all that a server sends, and keeps nothing."""
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while connection.recv_into(buffer):
            pass


def call_bare(port: int) -> None:
    """Takes all that a bare gRPC server sends, and keeps nothing."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for _ in channel.unary_stream("/Bare/Send", bytes, bytes)(b""):
            pass


@contextmanager
def peer(work: Path, name: str, argument: str) -> Iterator[int]:
    """A process of this module that serves; its port."""
    state = work / f"{name}.port"
    state.unlink(missing_ok=True)
    with process(
        [sys.executable, "-m", "benches.clip_over_grpc", name, argument, str(state)], work / f"{name}.log"
    ):
        wait_until(lambda: state.exists() and state.read_text() != "", f"the {name} server listens")
        yield int(state.read_text())
    state.unlink()


def utc(at_us: int) -> datetime:
    """Microseconds since the epoch as an aware datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def count_bytes(address: str, start_us: int, end_us: int) -> None:
    """Reads a clip over and over for a while once standard input ends, and prints how many bytes came."""
    with nvr.connect(address) as net:
        clip = net.camera(stores.CAMERA).clip(utc(start_us), utc(end_us))
        clip.plan()
        print("ready", flush=True)
        sys.stdin.read()
        end, count = time.monotonic() + SHARE_S, 0
        while time.monotonic() < end:
            with clip.chunks() as chunks:
                for chunk in chunks:
                    count += len(chunk.data)
                    if time.monotonic() >= end:
                        break
        print(count, flush=True)


def at_once(address: str, written: stores.Written) -> list[int]:
    """Bytes that each of many clients got of a node that they all read from."""
    words = ["count", address, str(written.start_us + 777_000), str(written.end_us - 1_000_000)]
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "benches.clip_over_grpc", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(CLIENTS)
    ]
    for client in clients:
        assert client.stdout is not None
        if client.stdout.readline() != "ready\n":
            raise RuntimeError("a client did not start")
    for client in clients:
        assert client.stdin is not None
        client.stdin.close()
    counts = []
    for client in clients:
        assert client.stdout is not None
        counts.append(int(client.stdout.readline()))
        client.wait()
    return counts


def measure(settings: Settings) -> list[Row]:
    """The same bytes from a process to another one's file, over loopback."""
    hours = min(settings.clip_hours, 0.25)
    written = stores.hours_of_footage(settings.work, hours)
    start, end = utc(written.start_us + 777_000), utc(written.end_us - 1_000_000)
    ours, theirs = settings.work / "grpc.mp4", settings.work / "sendfile.mp4"
    repeats = max(3, settings.repeats // 2)
    with recorder(written.root, {}, settings.work) as node, nvr.connect(node.address) as net:
        camera = net.camera(stores.CAMERA)

        def by_us() -> None:
            ours.unlink(missing_ok=True)
            camera.clip(start, end).save(ours)

        def read_by_us() -> None:
            for _ in camera.clip(start, end).chunks():
                pass

        by_us()
        with (
            peer(settings.work, "sendfile", str(ours)) as port,
            peer(settings.work, "bare", str(ours.stat().st_size)) as bare_port,
        ):

            def by_sendfile() -> None:
                theirs.unlink(missing_ok=True)
                receive(port, theirs)

            our_read_s, their_read_s, bare_s = medians_by_turns(
                [read_by_us, lambda: drain(port), lambda: call_bare(bare_port)], 2 * repeats
            )
            our_s, their_s = medians_by_turns([by_us, by_sendfile], repeats)
        shares = at_once(node.address, written)
    if digest(ours) != digest(theirs):
        raise RuntimeError("the two files differ")
    size_mb = ours.stat().st_size / MB
    shutil.rmtree(written.root)
    settings.conditions.append(
        f"Clip over gRPC: {size_mb:.0f} MB from `nvr recorder` to the Python client, planning included, "
        "loopback, page cache warm; sendfile: the finished file from a Python process. Saved: to a file and "
        "to the disk (fsync), on both sides; read: the bytes are taken and dropped. More is better here. "
        "Bare: a server of `grpc.aio` that sends as many bytes from memory in messages of 1 MiB, and a "
        "client that drops them: what the library itself takes on this machine. "
        f"{CLIENTS} clients: processes with a connection each, {SHARE_S:g} s; the least that one got, as a "
        "part of the mean."
    )
    least = min(shares) / statistics.mean(shares)
    total_mb_s = sum(shares) / SHARE_S / MB
    fast = our_read_s <= their_read_s / MIN_RATIO
    what = "throughput of a clip over gRPC"
    return [
        Row(
            f"{what}, read", size_mb / our_read_s, "MB/s", "sendfile", size_mb / their_read_s,
            f"≥ {MIN_RATIO} × sendfile", fast,
        ),
        Row(f"{what}, read", size_mb / our_read_s, "MB/s", "bare gRPC from memory", size_mb / bare_s),
        Row(f"{what}, saved", size_mb / our_s, "MB/s", "sendfile, fsync", size_mb / their_s),
        Row(f"{what}, {CLIENTS} clients at once", total_mb_s, "MB/s"),
        Row(
            f"the same: least share of {CLIENTS}", least, "of the mean",
            floor=f"≥ {MIN_SHARE}", met=least >= MIN_SHARE,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "sendfile":
        serve_by_sendfile(Path(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1] == "bare":
        asyncio.run(serve_bare(int(sys.argv[2]), Path(sys.argv[3])))
    else:
        count_bytes(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
