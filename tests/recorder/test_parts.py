"""The small parts of a node, each on its own."""

import asyncio
import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvr.catalog.catalog import CatalogCamera
from nvr.errors import CameraNotFound, LimitExceeded, StoreError
from nvr.footage.admin import CameraSettings
from nvr.footage.types import Event
from nvr.node.events import EventBus
from nvr.node.folder_lock import FolderLocks
from nvr.recorder import frames
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.read_pool import ReadPool

GATE, YARD, GONE, LOST = (f"0190a0a0-0000-7000-8000-00000000000{number}" for number in range(4))


def camera(camera_id: str, name: str, removed_us: int | None = None) -> CatalogCamera:
    return CatalogCamera(camera_id, CameraSettings(name, "rtsp://h/"), 1, 1, removed_us)


@pytest.fixture
def directory() -> CameraDirectory:
    cameras = [camera(YARD, "yard"), camera(GATE, "gate"), camera(GONE, "gate", removed_us=2)]
    return CameraDirectory("station-1", cameras, {GATE, LOST})


@pytest.mark.parametrize(
    ("text", "camera_id"),
    [
        (GATE, GATE),
        (GATE.upper(), GATE),
        ("gate", GATE),
        ("station-1/gate", GATE),
        (GONE, GONE),
        (LOST, LOST),
    ],
)
def test_who_is_meant(directory: CameraDirectory, text: str, camera_id: str) -> None:
    assert directory.resolve(text).id == camera_id


@pytest.mark.parametrize(
    "text", ["", "gat", "station-2/gate", "station-1/", "/gate", "Gate", "gate/", "x" * 5000]
)
def test_nobody_is_meant(directory: CameraDirectory, text: str) -> None:
    with pytest.raises(CameraNotFound) as caught:
        directory.resolve(text)
    assert len(str(caught.value)) < 400


def test_a_copied_camera_keeps_its_name_unless_it_is_taken() -> None:
    def copied(camera_id: str, name: str) -> CatalogCamera:
        return dataclasses.replace(camera(camera_id, name), copied_from="edge-1")

    directory = CameraDirectory(
        "station-1", [camera(GATE, "gate"), copied(YARD, "gate"), copied(GONE, "pier")]
    )
    assert [each.settings.name for each in directory.active()] == sorted([YARD, "gate", "pier"])
    for text, camera_id in (
        ("gate", GATE),
        (YARD, YARD),
        ("pier", GONE),
        ("edge-1/pier", GONE),
        ("station-1/pier", GONE),
    ):
        assert directory.resolve(text).id == camera_id
    with pytest.raises(CameraNotFound):
        directory.resolve("edge-1/gate")
    # The name is free again.
    directory.put(copied(YARD, "yard"))
    assert directory.resolve("yard").id == YARD


def test_a_near_name_is_suggested(directory: CameraDirectory) -> None:
    with pytest.raises(CameraNotFound, match="did you mean gate"):
        directory.resolve("gaet")


def test_removed_cameras_are_not_administered(directory: CameraDirectory) -> None:
    with pytest.raises(CameraNotFound):
        directory.resolve(GONE, active=True)
    assert [each.id for each in directory.active()] == [GATE, YARD]


def test_names_for_logs(directory: CameraDirectory) -> None:
    assert directory.name_of(YARD) == "yard"
    assert directory.name_of(LOST) == LOST
    directory.put(camera(YARD, "back"))
    assert directory.name_of(YARD) == "back"
    assert directory.name_of("unknown") == "unknown"


async def test_events_reach_all_who_watch_in_order() -> None:
    bus = EventBus()
    one, two = bus.subscribe(), bus.subscribe()
    bus.publish(Event(1, "a"))
    bus.publish(Event(2, "b"))
    for each in (one, two):
        assert await each.take() == ([Event(1, "a"), Event(2, "b")], 0)
    two.close()
    bus.publish(Event(3, "c"))
    bus.close()
    assert await one.take() == ([Event(3, "c")], 0)
    assert await one.take() == ([], 0)
    assert await two.take() == ([], 0)


async def test_a_slow_reader_loses_the_oldest_and_is_told() -> None:
    bus = EventBus()
    slow = bus.subscribe()
    for number in range(1500):
        bus.publish(Event(number, "x"))
    events, lost = await slow.take()
    assert lost == 500
    assert [event.at_us for event in events] == list(range(500, 1500))


async def test_a_waiting_reader_wakes() -> None:
    bus = EventBus()
    reader = bus.subscribe()
    waiting = asyncio.create_task(reader.take())
    await asyncio.sleep(0)
    bus.publish(Event(1, "a"))
    assert (await waiting)[0] == [Event(1, "a")]
    waiting = asyncio.create_task(reader.take())
    await asyncio.sleep(0)
    bus.close()
    assert await waiting == ([], 0)


@pytest.fixture
def pool() -> Iterator[ReadPool]:
    made = ReadPool(2, "test")
    yield made
    made.close()


async def test_reading_ahead_is_one_step_and_in_order(pool: ReadPool) -> None:
    steps = iter(range(5))
    taken: list[int] = []

    def step() -> int | None:
        value = next(steps, None)
        if value is not None:
            taken.append(value)
        return value

    used = []
    async for value in pool.ahead(step):
        used.append(value)
        assert len(taken) <= len(used) + 1
    assert used == taken == [0, 1, 2, 3, 4]


async def test_what_need_not_wait_needs_no_thread_until_something_has_to(pool: ReadPool) -> None:
    steps = iter(range(6))
    threads: dict[int, str] = {}

    def step() -> int | None:
        value = next(steps, None)
        if value is not None:
            threads[value] = threading.current_thread().name
        return value

    def at_once() -> int | None:
        return step() if len(threads) < 3 else None

    assert [value async for value in pool.ahead(step, at_once)] == [0, 1, 2, 3, 4, 5]
    here = threading.current_thread().name
    assert [name == here for name in threads.values()] == [True] * 3 + [False] * 3


async def test_errors_of_a_step_reach_the_reader_and_only_him(pool: ReadPool) -> None:
    steps = iter([1])

    def step() -> int:
        for value in steps:
            return value
        raise OSError("gone")

    reading = pool.ahead(step)
    assert await anext(reading) == 1
    with pytest.raises(OSError, match="gone"):
        await anext(reading)


async def test_a_reader_that_leaves_ends_the_reading(pool: ReadPool) -> None:
    release = threading.Event()
    calls: list[int] = []

    def step() -> int:
        calls.append(1)
        if len(calls) > 1:
            release.wait()
        return len(calls)

    reading = pool.ahead(step)
    assert await anext(reading) == 1
    await reading.aclose()  # type: ignore[attr-defined]  # an async generator behind the iterator
    release.set()
    assert await pool.run(lambda: len(calls)) <= 2


async def test_decoders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_WAIT_FOR_DECODER_S", 0.01)
    decoders = frames.Decoders(1)
    slot = await decoders.slot()
    with pytest.raises(LimitExceeded) as caught:
        await decoders.slot()
    assert caught.value.facts == {"limit": "decoders"}
    slot.release()
    slot.release()
    second = await decoders.slot()
    with pytest.raises(LimitExceeded):
        await decoders.slot()
    second.release()
    decoders.close()


async def test_a_reader_that_stalls_loses_its_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_READER_IDLE_S", 0.0)
    decoders = frames.Decoders(1)
    slot = await decoders.slot()
    given_up = asyncio.Event()
    with pytest.raises(LimitExceeded, match="no picture was taken"), slot.waiting_for_reader(given_up.set):
        await given_up.wait()
    (await decoders.slot()).release()
    decoders.close()


def test_a_store_has_one_owner(tmp_path: Path) -> None:
    stores = [tmp_path / "a", tmp_path / "deep" / "b"]
    with FolderLocks(stores, "node one"):
        with pytest.raises(StoreError, match="node one, process"):
            FolderLocks([tmp_path / "c", stores[1]], "node two")
        FolderLocks([tmp_path / "c"], "node two").close()
    FolderLocks(stores, "node two").close()


def test_a_killed_owner_lets_go(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nvr.node.folder_lock import FolderLocks\n"
        "locks = FolderLocks([Path(sys.argv[1])], 'other'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="other, process"):
            FolderLocks([tmp_path], "node")
        other.kill()
    FolderLocks([tmp_path], "node").close()


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        FolderLocks([tmp_path / "file" / "store"], "node")
    assert caught.value.errno
