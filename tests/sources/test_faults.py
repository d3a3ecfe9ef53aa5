"""What a source does wrong ends its session, with the reason, and nothing else."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from nvr._core import Ingest, Store
from nvr.sources.rules import SourceRules
from tests.sources.conftest import HANG_S, SourceRecorder
from tests.sources.senders import ffmpeg, sending, web_server
from tests.support.processes import REPOSITORY, free_port


def children(of: int) -> list[int]:
    """Processes that read sources, started by a process."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            line = (folder / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if folder.name.isdigit() and int(words[1]) == of and b"nvr.sources" in line and words[0] != "Z":
            found.append(int(folder.name))
    return found


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_sender_that_dies_and_comes_back(scenes: dict[str, Path], recorder: SourceRecorder) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    output = ["-f", "mpegts", f"{address}?listen=1"]
    with sending(scenes["h264"], *output):
        recorder.record(address)
        recorder.wait_until("pictures", lambda s: s.frames >= 20)
    status = recorder.wait_until("that it is gone", lambda s: s.state == "waiting")
    assert status.reason == "disconnected"
    recorder.wait_until("that nobody answers", lambda s: s.reason == "refused")
    before = recorder.status().frames
    with sending(scenes["h264"], *output):
        status = recorder.wait_until("pictures again", lambda s: s.frames >= before + 20)
        assert (status.state, status.reason) == ("recording", "")
        assert status.reconnects["disconnected"] == 1
        assert status.reconnects["refused"] >= 1
        recorder.stop()
    kinds = [(event.kind, event.reason) for event in recorder.events()]
    assert kinds == [
        ("run_started", ""),
        ("run_ended", "disconnected"),
        ("stream_down", "refused"),
        ("run_started", ""),
        ("run_ended", "recorder_stopped"),
    ]


def test_a_sender_that_falls_silent(scenes: dict[str, Path], recorder: SourceRecorder) -> None:
    """UDP knows no end: pictures just stop."""
    port = free_port()
    with sending(scenes["h264"], "-f", "mpegts", f"udp://127.0.0.1:{port}?pkt_size=1316"):
        recorder.record(f"udp://127.0.0.1:{port}")
        recorder.wait_until("pictures", lambda s: s.frames >= 20)
    status = recorder.wait_until("that it is silent", lambda s: s.state == "waiting")
    assert (status.reason, status.detail) == ("silent", "the source gives no picture for 3s")


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGKILL, signal.SIGSTOP])
def test_a_library_that_crashes_or_hangs(
    how: signal.Signals, scenes: dict[str, Path], recorder: SourceRecorder
) -> None:
    """The process is told as the reason, replaced, and no other camera notices."""
    other = str(uuid.uuid4())
    recorder.record(f"file:{scenes['h264-b-frames']}?loop=1", other)
    recorder.wait_until("the other camera", lambda s: s.frames > 0, other)
    (of_other,) = children(os.getpid())
    recorder.record(f"file:{scenes['h264']}?loop=1")
    recorder.wait_until("pictures", lambda s: s.frames >= 20)
    (victim,) = set(children(os.getpid())) - {of_other}
    os.kill(victim, how)
    status = recorder.wait_until("the end", lambda s: s.state == "waiting")
    if how == signal.SIGSTOP:
        assert status.reason == "silent"
    else:
        assert status.reason == "protocol_error"
        assert status.detail == f"the process that reads the source was ended by signal {how.value}"
    before = status.frames
    recorder.wait_until("pictures again", lambda s: s.frames >= before + 20)
    assert victim not in children(os.getpid())
    assert of_other in children(os.getpid())
    assert recorder.status(other).reconnects == {}


def test_stopping_ends_the_process(scenes: dict[str, Path], recorder: SourceRecorder) -> None:
    recorder.record(f"file:{scenes['h264']}?loop=1")
    recorder.wait_until("pictures", lambda s: s.frames >= 1)
    (process,) = children(os.getpid())
    recorder.ingest.remove(recorder.camera_id, "main")
    wait_for("its end", lambda: process not in children(os.getpid()))


def test_a_recorder_that_is_killed_leaves_no_process(scenes: dict[str, Path], tmp_path: Path) -> None:
    script = (
        "import time, uuid; from nvr._core import Ingest, Store\n"
        "from nvr.sources.rules import SourceRules\n"
        f"rules = SourceRules(folders=({str(scenes['h264'].parent)!r},))\n"
        f"ingest = Ingest(Store([{str(tmp_path)!r}]), source_command=rules.command())\n"
        f"ingest.add(str(uuid.uuid4()), 'main', 'file:{scenes['h264']}?loop=1')\n"
        "while ingest.status()[0].frames < 5: time.sleep(0.02)\n"
        "print('recording', flush=True); time.sleep(600)\n"
    )
    paths = os.pathsep.join([str(REPOSITORY / "python"), os.environ.get("PYTHONPATH", "")])
    node = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        assert node.stdout is not None
        assert node.stdout.readline() == "recording\n"
        (process,) = children(node.pid)
        # Also one that hangs somewhere inside of the library.
        node.kill()
        node.wait(HANG_S)
        wait_for("its end", lambda: not Path(f"/proc/{process}").exists())
    finally:
        node.kill()
        node.wait(HANG_S)
        if node.stdout is not None:
            node.stdout.close()


def test_no_secret_is_shown(recorder: SourceRecorder, tmp_path: Path) -> None:
    with web_server(tmp_path) as (port, paths):
        recorder.record(f"http://admin:hunter%202@127.0.0.1:{port}/private/live.ts?token=hunter3")
        status = recorder.wait_until("the refusal", lambda s: s.state == "waiting")
        assert status.reason == "auth_failed"
        recorder.stop()
        assert paths == ["/private/live.ts?token=hunter3"] * len(paths)
        shown = [status.detail, *(event.detail for event in recorder.events())]
        assert not [text for text in shown if "hunter" in text]


def test_the_address_is_on_no_command_line(scenes: dict[str, Path], recorder: SourceRecorder) -> None:
    recorder.record(f"file:{scenes['h264']}?loop=1")
    recorder.wait_until("pictures", lambda s: s.frames >= 1)
    (process,) = children(os.getpid())
    told = [Path(f"/proc/{process}/{name}").read_bytes() for name in ("cmdline", "environ")]
    assert not [text for text in told if scenes["h264"].name.encode() in text]


@pytest.mark.parametrize(
    ("url", "reason", "said"),
    [
        ("file:/etc/passwd", "not_recorded", "[sources] folders"),
        ("file:{folder}/../../../../etc/passwd", "not_recorded", "[sources] folders"),
        ("file:{folder}/link", "not_recorded", "[sources] folders"),
        ("file:{folder}/none.mp4", "no_such_path", "no such file"),
        ("file:{folder}/text.mp4", "protocol_error", "cannot be read as media"),
        ("file:{folder}/list.ffconcat", "protocol_error", ""),
        ("file:{folder}/sound.mp4", "codec_not_supported", "audio AAC"),
        ("v4l2:/dev/video0", "not_recorded", "[sources] devices"),
        ("tcp://127.0.0.1:{closed}", "refused", "right port"),
        ("http://127.0.0.1:{web}/none.ts", "no_such_path", "404"),
        ("http://127.0.0.1:{web}/text.mp4", "protocol_error", "cannot be read as media"),
        ("rtmp://127.0.0.1:{closed}/live/x", "refused", ""),
    ],
)
def test_reasons(
    url: str, reason: str, said: str, scenes: dict[str, Path], recorder: SourceRecorder, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "text.mp4").write_text("This is no film.\n" * 100)
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{scenes['h264']}'\n")
    ffmpeg("-i", scenes["h264"], "-vn", "-c", "copy", tmp_path / "sound.mp4")
    with web_server(tmp_path) as (port, _):
        recorder.record(url.format(folder=tmp_path, closed=free_port(), web=port))
        status = recorder.wait_until("a reason", lambda s: s.state == "waiting")
    assert status.reason == reason, status.detail
    assert said in status.detail
    assert status.frames == 0


def test_a_playlist_reads_no_file_of_the_recorder(
    scenes: dict[str, Path], recorder: SourceRecorder, tmp_path: Path
) -> None:
    stolen = tmp_path / "stolen.ts"
    ffmpeg("-i", scenes["h264"], "-c", "copy", stolen)
    web = tmp_path / "web"
    web.mkdir()
    for name, segment in (("evil.m3u8", f"file://{stolen}"), ("good.m3u8", "own.ts")):
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:4", "#EXTINF:4,", segment, "#EXT-X-ENDLIST", ""]
        (web / name).write_text("\n".join(lines))
    (web / "own.ts").write_bytes(stolen.read_bytes())
    with web_server(web) as (port, _):
        recorder.record(f"http://127.0.0.1:{port}/evil.m3u8")
        status = recorder.wait_until("a reason", lambda s: s.state == "waiting")
        assert status.frames == 0
        # The same without the theft: it is the file that is refused.
        recorder.record(f"http://127.0.0.1:{port}/good.m3u8")
        recorder.wait_until("pictures", lambda s: s.frames > 0)


def test_a_source_that_can_be_reached_is_told_by_a_probe(scenes: dict[str, Path]) -> None:
    command = SourceRules(folders=(str(scenes["h264"].parent),)).command()
    assert Ingest.probe(f"file:{scenes['h264']}", 60_000, source_command=command) == ("", "")
    reason, detail = Ingest.probe("file:/etc/passwd", 60_000, source_command=command)
    assert reason == "not_recorded"
    assert "passwd" not in detail


@pytest.mark.parametrize(
    ("device", "reason", "said"),
    [("/dev/video99", "no_such_path", "plugged in"), ("/dev/null", "protocol_error", "no video device")],
)
def test_devices_that_are_none(device: str, reason: str, said: str, tmp_path: Path) -> None:
    """As far as it goes on a machine without a camera: libav's own reader of devices is asked."""
    store = Store([str(tmp_path)])
    ingest = Ingest(store, source_command=SourceRules(devices=(device,)).command())
    recorder = SourceRecorder(tmp_path, store, ingest)
    try:
        recorder.record(f"v4l2:{device}?size=1280x720&rate=25")
        status = recorder.wait_until("a reason", lambda s: s.state == "waiting")
    finally:
        recorder.stop()
    assert (status.reason, status.frames) == (reason, 0)
    assert said in status.detail
    assert device not in status.detail


def test_srt_where_the_library_speaks_it(scenes: dict[str, Path], recorder: SourceRecorder) -> None:
    """PyAV's wheels come without SRT; the reason says so rather than that the camera is away."""
    import av
    import av.error

    try:
        av.open("srt://127.0.0.1:9?timeout=1", timeout=1).close()
    except av.error.ProtocolNotFoundError:
        spoken = False
    except av.error.FFmpegError:
        spoken = True
    address = f"srt://127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        stack.enter_context(sending(scenes["h264"], "-f", "mpegts", f"{address}?mode=listener"))
        recorder.record(f"{address}?passphrase=")
        if spoken:
            recorder.wait_until("pictures", lambda s: s.frames >= 20)
        else:
            status = recorder.wait_until("a reason", lambda s: s.state == "waiting")
            assert status.reason == "not_recorded"
            assert "without libsrt" in status.detail
