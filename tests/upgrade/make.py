"""Writes the fixtures of a version: what its recorder leaves on disk, and what it says of that.

Run with that version's code, from this commit's tree, once for each release (and before it, once
nothing more is to change on disk)::

    git worktree add --detach ../nvr-0.1.0 v0.1.0   # and build its extension module there
    PYTHONPATH=../nvr-0.1.0/python:. python -m tests.upgrade.make v0.1.0
    PYTHONPATH=../nvr-0.1.0/python:. python -m tests.upgrade.make v0.1.0 --killed

A recorder records simulated cameras: sound, two codecs, a camera that vanishes and comes back, one
that is switched off. Where the version has a network catalog, a gateway writes one. The node's key
is part of it, as camera passwords are sealed to it; it is nobody's.

``--killed``: it is stopped, footage of its first run is held where the version has holds, and its
next run ends with kill -9. What it says of that is what it says when it is started again.
"""

import json
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

import nvr
from nvr._core import Store
from nvr.simulate.server import SimulatedCameras
from tests.upgrade.asking import STREAMS, answers, instant

HERE = Path(__file__).parent
LOGIN = ("admin", "mật khẩu/1")
HOLD = "case-7"
AREAS = (
    ["areas", "add", "38", "Thanh Hóa", "--level", "province"],
    ["areas", "add", "14815", "Ba Đình", "--parent", "38", "--level", "ward"],
    ["areas", "add", "14818", "Lam Sơn", "--parent", "38", "--level", "ward"],
    ["areas", "merge", "14815", "14818", "--into", "14816", "--name", "Bỉm Sơn Đông"],
)
CATALOG_QUESTIONS = {
    "areas": ["areas", "list"],
    "former": ["areas", "list", "--former"],
    "history": ["catalog", "history"],
}


def media(path: Path, codec: str, *, sound: bool) -> Path:
    """Ten seconds of 64 × 48 pixels, 5 pictures a second."""
    with av.open(str(path), "w", format="mp4") as out:
        video = out.add_stream(codec, rate=5)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        parameters = "log-level=none:keyint=5:min-keyint=5:scenecut=0"
        video.options = (
            {"g": "5", "crf": "40"} if codec == "libx264" else {"crf": "40", "x265-params": parameters}
        )
        audio = None
        if sound:
            audio = out.add_stream("aac", rate=16_000, layout="mono")
            assert isinstance(audio, AudioStream)
            audio.bit_rate = 8_000
        for number in range(50):
            image = np.full((48, 64, 3), 40 + 4 * number, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            for number in range(156):
                silence = av.AudioFrame.from_ndarray(
                    np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
                )
                silence.sample_rate, silence.pts = 16_000, number * 1024
                silence.time_base = Fraction(1, 16_000)
                out.mux(audio.encode(silence))
            out.mux(audio.encode(None))
    return path


@contextmanager
def node(kind: str, settings: Path, end: signal.Signals = signal.SIGTERM) -> Iterator[str]:
    """A node as a process, until it is sent a signal; its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nvr", kind, "--config", str(settings), "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["grpc"]
    finally:
        process.send_signal(end)
        process.wait(60)
        process.stdout.close()


def wait(what: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + 120
    while not what():
        assert time.monotonic() < give_up_s
        time.sleep(0.2)


def fragments(net: Any, camera: str, stream: str) -> int:
    now_us = time.time_ns() // 1000
    found = net.camera(camera).fragments(
        instant(now_us - 600_000_000), instant(now_us), stream=stream, refs_only=True
    )
    return len(list(found))


def nvr_command(address: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "nvr", "--node", address, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def record(folder: Path, work: Path) -> tuple[int, int]:
    """Leaves a recorder's folders behind; from when until when it recorded."""
    gate = media(work / "gate.mp4", "libx264", sound=True)
    sub = media(work / "sub.mp4", "libx265", sound=False)
    start_us = time.time_ns() // 1000
    with SimulatedCameras(user=LOGIN[0], password=LOGIN[1]) as cameras:
        port = cameras.port
        cameras.add("gate", gate, sub)
        cameras.add("yard", gate, sub)
        with node("recorder", recorder_settings(folder, port)) as address, nvr.connect(address) as net:
            wait(lambda: all(fragments(net, c, s) >= 4 for c, ss in STREAMS.items() for s in ss))
            net.camera("yard").update(title="Sân sau", place=(19.9275, 105.8571))
            net.camera("yard").update(enabled=False)
            before = fragments(net, "gate", "main")
            cameras.remove("gate")
            time.sleep(4)
            cameras.add("gate", gate, sub)
            wait(lambda: fragments(net, "gate", "main") >= before + 3)
    return start_us - 2_000_000, time.time_ns() // 1000


def record_killed(folder: Path, work: Path) -> tuple[int, int]:
    """The same, of a recorder that is killed in its second run."""
    gate = media(work / "gate.mp4", "libx264", sound=True)
    sub = media(work / "sub.mp4", "libx265", sound=False)
    start_us = time.time_ns() // 1000
    with SimulatedCameras(user=LOGIN[0], password=LOGIN[1]) as cameras:
        for name in STREAMS:
            cameras.add(name, gate, sub)
        settings = recorder_settings(folder, cameras.port)
        record_all(settings, 4, signal.SIGTERM)
        hold_first(folder)
        record_all(settings, 8, signal.SIGKILL)
        return start_us - 2_000_000, time.time_ns() // 1000


def record_all(settings: Path, least: int, end: signal.Signals) -> None:
    """Until there are so many fragments of each stream."""
    with node("recorder", settings, end) as address, nvr.connect(address) as net:
        wait(lambda: all(fragments(net, c, s) >= least for c, ss in STREAMS.items() for s in ss))


def hold_first(folder: Path) -> None:
    """Holds the oldest segment of each stream."""
    store: Any = Store([str(folder / "store")])
    try:
        for camera_id, stream in store.streams() if hasattr(store, "hold") else []:
            start_us, _ = store.range(camera_id, stream)
            store.hold(camera_id, stream, HOLD, start_us, start_us + 1)
    finally:
        store.close()


def recorder_settings(folder: Path, port: int) -> Path:
    login = "admin:m%E1%BA%ADt%20kh%E1%BA%A9u%2F1"
    lines = [
        f'[node]\nname = "station-1"\nstores = ["{folder / "store"}"]\ndata = "{folder / "data"}"',
        'grpc = "127.0.0.1:0"',
        '[retention]\nmin_free = "0B"',
    ]
    for name, streams in STREAMS.items():
        lines.append(f'[[camera]]\nname = "{name}"')
        lines += [f'{stream} = "rtsp://{login}@127.0.0.1:{port}/{name}/{stream}"' for stream in streams]
    path = folder.parent / "recorder.toml"
    path.write_text("\n".join(lines))
    return path


def gateway_settings(folder: Path) -> Path:
    path = folder.parent / "gateway.toml"
    path.write_text(
        f'[node]\nname = "city"\ndata = "{folder / "gateway"}"\ngrpc = "127.0.0.1:0"\n'
        '[catalog]\ndatabase = "sqlite"\n[[child]]\naddress = "127.0.0.1:9"\n'
    )
    return path


def catalog_answers(address: str) -> dict[str, list[Any]]:
    """What a gateway says of its network catalog."""
    return {
        name: [json.loads(line) for line in nvr_command(address, *question, "--json").splitlines()]
        for name, question in CATALOG_QUESTIONS.items()
    }


def nobodys(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A file without its owner; none of what a running node alone has."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return None if info.name.endswith(".lock") else info


def left_in_order(folder: Path, work: Path) -> dict[str, Any]:
    """Writes the fixture of a recorder that was stopped; what it says of it."""
    start_us, end_us = record(folder, work)
    expected: dict[str, Any] = {"range_us": [start_us, end_us]}
    # As this version reads it when it starts again.
    with node("recorder", recorder_settings(folder, 9)) as address, nvr.connect(address) as net:
        expected["footage"] = answers(net, start_us, end_us)
    if find_spec("nvr.network_catalog"):
        with node("gateway", gateway_settings(folder)) as address:
            for command in AREAS:
                nvr_command(address, *command)
            expected["catalog"] = catalog_answers(address)
    return expected


def left_by_kill(folder: Path, work: Path) -> dict[str, Any]:
    """Writes the fixture of a recorder that was killed; what it says of it."""
    start_us, end_us = record_killed(folder, work)
    # It puts right what it finds: that is for whoever reads the fixture.
    again = work / "again" / folder.name
    shutil.copytree(folder, again)
    with node("recorder", recorder_settings(again, 9)) as address, nvr.connect(address) as net:
        return {"range_us": [start_us, end_us], "footage": answers(net, start_us, end_us)}


def main(version: str, *options: str) -> None:
    killed = options == ("--killed",)
    with tempfile.TemporaryDirectory() as work_name:
        work = Path(work_name)
        folder = work / "fixture"
        folder.mkdir()
        expected = (left_by_kill if killed else left_in_order)(folder, work)
        (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False))
        name = f"{version}-killed" if killed else version
        with tarfile.open(HERE / f"{name}.tar.xz", "w:xz", preset=9) as archive:
            archive.add(folder, arcname=".", filter=nobodys)


if __name__ == "__main__":
    main(*sys.argv[1:])
