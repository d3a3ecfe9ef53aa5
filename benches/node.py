"""A recorder node in a process of its own, as somebody would run it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import grpc

from benches.harness import process, wait_until
from nvr.v1 import footage_pb2, footage_pb2_grpc, node_pb2, node_pb2_grpc
from tests.support.processes import free_port


class Node(NamedTuple):
    """A recorder that runs."""

    pid: int
    address: str


@contextmanager
def recorder(
    store: Path,
    cameras: Mapping[str, str],
    work: Path,
    *,
    subs: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
    by_force: bool = False,
) -> Iterator[Node]:
    """A recorder that answers; it may still be on its way to its cameras (names and addresses).

    ``subs``: addresses of sub-streams, by the cameras' names. ``settings``: further lines of its
    file. ``by_force``: it is killed in the end, and closes nothing.
    """
    address = f"127.0.0.1:{free_port()}"
    lines = [
        "[node]",
        'name = "bench"',
        f'stores = ["{store}"]',
        f'grpc = "{address}"',
        f'metrics = "127.0.0.1:{free_port()}"',
    ]
    lines += settings
    for name, url in cameras.items():
        lines += ["", "[[camera]]", f'name = "{name}"', f'main = "{url}"']
        if subs and name in subs:
            lines.append(f'sub = "{subs[name]}"')
    config = work / "recorder.toml"
    config.write_text("\n".join(lines) + "\n")
    command = [str(Path(sys.executable).with_name("nvr")), "recorder", "--config", str(config)]
    log = work / "recorder.log"
    # Else who asks too early asks again after a second, and then after 1.6: that would be measured.
    names = ("initial_reconnect_backoff_ms", "min_reconnect_backoff_ms", "max_reconnect_backoff_ms")
    soon = [(f"grpc.{name}", 100) for name in names]
    channel = grpc.insecure_channel(address, options=soon)
    with process(command, log, by_force=by_force) as running, channel:
        # The stubs are typed for grpc.aio; they serve a blocking channel as well.
        service: Any = node_pb2_grpc.NodeServiceStub(cast(Any, channel))

        def answers() -> bool:
            if running.poll() is not None:
                raise RuntimeError(f"the recorder did not start; see {log}")
            try:
                service.GetNode(node_pb2.GetNodeRequest(), timeout=5)
            except grpc.RpcError:
                return False
            return True

        wait_until(answers, "the recorder answers")
        yield Node(running.pid, address)


def cameras_of(address: str) -> list[footage_pb2.Camera]:
    """The cameras of a node, as they are now."""
    with grpc.insecure_channel(address) as channel:
        service: Any = footage_pb2_grpc.FootageServiceStub(cast(Any, channel))
        answer = service.ListCameras(footage_pb2.ListCamerasRequest(), timeout=10)
        return [step.item for step in answer if step.WhichOneof("step") == "item"]


def main_streams(address: str) -> list[footage_pb2.StreamInfo]:
    """The main stream of every camera of a node, as it is now."""
    return [camera.streams[0] for camera in cameras_of(address) if camera.streams]


def recording(address: str) -> int:
    """How many cameras a node records at this moment."""
    return sum(stream.state == footage_pb2.STREAM_STATE_RECORDING for stream in main_streams(address))


def streams_recording(address: str) -> int:
    """How many streams, main and sub, a node records at this moment."""
    return sum(
        stream.state == footage_pb2.STREAM_STATE_RECORDING
        for camera in cameras_of(address)
        for stream in camera.streams
    )


def newest_us(address: str) -> int:
    """End of the newest footage that a node has on disk; 0: none."""
    return max((stream.newest_us for stream in main_streams(address)), default=0)
