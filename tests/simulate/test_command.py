"""``nvr simulate`` from start to Ctrl-C; and files that cannot be played."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nvr.errors import InvalidArgument
from nvr.simulate.media import load

from .rtsp import Client, port_of

_PROGRAM = "import typer; from nvr.simulate.command import simulate; typer.run(simulate)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_plays_until_it_is_told_to_stop(files: dict[str, Path], number: signal.Signals) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(files["h264"]), "--cameras", "3"]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            cameras = json.loads(process.stdout.readline())["cameras"]
            assert [camera["name"] for camera in cameras] == ["camera-1", "camera-2", "camera-3"]
            for camera in cameras:
                with Client(port_of(camera["main_url"])) as client:
                    client.play(camera["sub_url"])
                    assert next(client.access_units("h264")).nals
            process.send_signal(number)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_folder_without_footage_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "--footage", str(tmp_path), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "holds no file to play" in done.stderr


def test_what_is_no_media_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(b"this is no media" * 100)
    with pytest.raises(InvalidArgument, match=r"notes\.mp4"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"missing\.mp4"):
        load(tmp_path / "missing.mp4")
