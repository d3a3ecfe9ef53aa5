"""A camera has one session for each stream, whoever watches: cameras have few to give."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import av
import av.error

import nvr
from tests.recorder.running import PASSWORD, running, simulated, write_settings
from tests.support.processes import free_port, wait_for

WATCHERS = 4
"""Of each stream, and of each kind."""


class Door:
    """The only way to a camera: counts who is inside, and can throw all out."""

    def __init__(self, camera_port: int) -> None:
        self.port = 0
        self.open = 0
        self.most = 0
        self.ever = 0
        self._camera_port = camera_port
        self._loop = asyncio.new_event_loop()
        self._inside: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()
        self._loop.close()

    def throw_all_out(self) -> None:
        """Every session breaks, as when a switch restarts."""
        self._loop.call_soon_threadsafe(self._throw_out)

    def _throw_out(self) -> None:
        for writer in self._inside:
            writer.transport.abort()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._enter, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._done.wait()
        server.close()
        for writer in tuple(self._inside):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    async def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.open, self.ever = self.open + 1, self.ever + 1
        self.most = max(self.most, self.open)
        try:
            from_camera, to_camera = await asyncio.open_connection("127.0.0.1", self._camera_port)
            self._inside |= {writer, to_camera}
            await asyncio.gather(self._pass(reader, to_camera), self._pass(from_camera, writer))
            self._inside -= {writer, to_camera}
        finally:
            self.open -= 1

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


@contextmanager
def door(camera_port: int) -> Iterator[Door]:
    opened = Door(camera_port)
    opened.start()
    try:
        yield opened
    finally:
        opened.stop()


class Player:
    """A player of RTSP, for as long as the node is there."""

    def __init__(self, url: str) -> None:
        self.units = 0
        self._url = url
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        try:
            with av.open(self._url, options={"rtsp_transport": "tcp"}, timeout=60) as played:
                for _ in played.demux():
                    self.units += 1
        except av.error.FFmpegError:
            return  # the node has ended

    def join(self) -> None:
        self._thread.join(60)


class Watcher:
    """Somebody who watches by gRPC for as long as the node is there."""

    def __init__(self, address: str, stream: str) -> None:
        self.units = 0
        self._network = nvr.connect(address)
        self._live = self._network.camera("gate").live(stream="sub" if stream == "sub" else "main")
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            for _ in self._live:
                self.units += 1
        except nvr.NvrError:
            return  # the node has ended

    def join(self) -> None:
        self._thread.join(60)
        self._network.close()


def test_one_session_for_each_stream_whoever_watches(tmp_path: Path) -> None:
    rtsp_port = free_port()
    with ExitStack() as stack:
        cameras = stack.enter_context(simulated(tmp_path, "gate"))
        way = stack.enter_context(door(cameras.port))
        url = f"rtsp://admin:{PASSWORD}@127.0.0.1:{way.port}/gate"
        settings = write_settings(
            tmp_path, {"gate": f"{url}/main"}, f'[rtsp]\nlisten = "127.0.0.1:{rtsp_port}"'
        )
        settings.write_text(settings.read_text() + f'\nsub = "{url}/sub"\n')
        node = stack.enter_context(running(settings))
        network = stack.enter_context(nvr.connect(node.grpc))

        def states() -> list[str]:
            return [stream.state.value for stream in network.camera("gate").info().streams]

        wait_for(lambda: states() == ["recording"] * 2, "recording")
        assert (way.open, way.ever) == (2, 2)

        watchers = [Watcher(node.grpc, stream) for stream in ("main", "sub") for _ in range(WATCHERS)]
        players = [
            Player(f"rtsp://127.0.0.1:{rtsp_port}/gate/{stream}")
            for stream in ("main", "sub")
            for _ in range(WATCHERS)
        ]
        wait_for(lambda: all(watcher.units > 20 for watcher in watchers), "all watch")
        wait_for(lambda: all(player.units > 20 for player in players), "all play")
        assert network.camera("gate").snapshot().width > 0
        assert (way.open, way.ever) == (2, 2)

        for _ in range(3):
            come_back(way, watchers)
            wait_for(lambda: states() == ["recording"] * 2, "recording again")
        assert way.most == 2
        assert node.stop() == 0
        for watcher in watchers:
            watcher.join()
        for player in players:
            player.join()
    assert way.open == 0


def come_back(way: Door, watchers: list[Watcher]) -> None:
    """Throws the recorder out, and waits until all see pictures again."""
    ever, before = way.ever, [watcher.units for watcher in watchers]
    way.throw_all_out()
    wait_for(lambda: way.ever == ever + 2, "both have come back")
    wait_for(
        lambda: all(watcher.units > n + 20 for watcher, n in zip(watchers, before, strict=True)),
        "all watch on",
    )
