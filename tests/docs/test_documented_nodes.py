"""Documented commands that start a node, or need one with more than a camera."""

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

import nvr
from nvr.footage.time import format_instant
from tests.docs.running import ALL, CAMERA, Running, run, that_run, with_programs
from tests.support import gstreamer
from tests.support.documents import Block, blocks
from tests.support.processes import ChildProcess, free_port, wait_for
from tests.support.skips import needs_program

_ANSWERS = {"assword": "s3cret\n", "[y/N]": "y\n"}


def with_ports(text: str, ports: Mapping[str, int], folder: Path) -> str:
    """A page's settings, with free ports and a folder of our own."""
    for port, free in ports.items():
        text = re.sub(rf":{port}\b", f":{free}", text)
    return text.replace('"/var/lib/', f'"{folder}/')


@pytest.mark.parametrize("block", that_run("serve"))
def test_blocks_that_start_nodes(block: Block, tmp_path: Path) -> None:
    """Each command serves until it is told to stop, and then ends in good order."""
    settings = [
        each.text for each in blocks(block.page) if each.language == "toml" and each.text.startswith("[node]")
    ]
    ports = {port: free_port() for text in settings for port in re.findall(r":(\d{4})\b", text)}
    # The page's first two are those that its commands name.
    for name, text in zip(("nvr.toml", "district.toml"), settings, strict=False):
        (tmp_path / name).write_text(with_ports(text, ports, tmp_path))
    for command in block.commands:
        program, *words = shlex.split(command, comments=True)
        assert program == "nvr"
        words = [str(tmp_path / word) if word.endswith(".toml") else word for word in words]
        process = ChildProcess(["-m", "nvr", *words, "--json"])
        try:
            for name in [word for word in words if word.endswith(".toml")]:
                node = re.search(r'^name = "(.*)"', Path(name).read_text(), re.MULTILINE)
                assert node is not None
                process.wait_line(lambda line, of=node[1]: f'"name": "{of}"' in line)  # type: ignore[misc]
        finally:
            code = process.stop()
        assert code == 0, process.errors


@pytest.mark.parametrize("block", that_run("terminal"))
def test_blocks_at_a_terminal(block: Block, running: Running, tmp_path: Path) -> None:
    """What asks is answered: a password, and yes."""
    (tmp_path / "cameras.csv").write_text("name,main\nsouth-bridge,rtsp://10.0.0.9/main\n")
    (tmp_path / "block").write_text("\n".join(block.commands) + "\n")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "block"],
        cwd=tmp_path,
        env=with_programs({"NVR_NODE": running.address, "TERM": "dumb"}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as shell:
        os.close(theirs)
        said, answered = "", 0
        try:
            while select.select([ours], [], [], 60)[0]:
                try:
                    said += os.read(ours, 4096).decode()
                except OSError:
                    break  # the shell has ended
                if answer := next((_ANSWERS[each] for each in _ANSWERS if each in said[answered:]), None):
                    answered = len(said)
                    if answer == _ANSWERS["assword"]:
                        # What is typed before it is hidden is thrown away.
                        wait_for(lambda: not termios.tcgetattr(ours)[3] & termios.ECHO, "it is hidden")
                    os.write(ours, answer.encode())
        finally:
            os.close(ours)
        assert shell.wait(60) == 0, said
    assert "s3cret" not in said
    assert "1 would be added, 0 would be changed" in said
    with nvr.connect(running.address) as net:
        assert [camera.name for camera in net.cameras()] == [CAMERA]


@pytest.fixture(scope="module")
def playing(camera_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """A recorder with RTSP out: what stands for the addresses and times of the documents."""
    folder = tmp_path_factory.mktemp("playing")
    grpc, rtsp = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    text = f'[node]\nname = "station-1"\nstores = ["{folder}"]\ngrpc = "{grpc}"\n[rtsp]\nlisten = "{rtsp}"\n'
    text += f'[[camera]]\nname = "{CAMERA}"\nmain = "{camera_url}"\nsub = "{camera_url}"\n'
    (folder / "nvr.toml").write_text(text)
    process = ChildProcess(["-m", "nvr", "recorder", "--config", str(folder / "nvr.toml"), "--json"])
    try:
        process.wait_line(lambda line: line.startswith("{"))
        with nvr.connect(grpc) as net:

            def recorded() -> bool:
                streams = net.camera(CAMERA).info().streams
                return len(streams) == 2 and all(
                    each.newest_us - each.oldest_us > 4_000_000 > 0 < each.oldest_us for each in streams
                )

            wait_for(recorded, "there is footage", every_s=0.2)
            main = net.camera(CAMERA).info().streams[0]
        ends = (quote(format_instant(each), safe=":") for each in (main.oldest_us, main.newest_us))
        start, end = ends
        yield {
            "127.0.0.1:8554": rtsp,
            "start=2026-11-09T20:00:00+07:00&end=2026-11-09T20:10:00+07:00": f"start={start}&end={end}",
            # A player without a screen shows a few pictures and ends.
            "ffplay -rtsp_transport tcp": "player -i",
            "vlc ": "player -i ",
            "player": "ffmpeg -nostdin -v error -rtsp_transport tcp -frames:v 5 -f null /dev/null",
            "gst-launch-1.0": f"{sys.executable} {gstreamer.__file__}",
            "autovideosink": "fakesink num-buffers=5",
        }
    finally:
        process.stop()


@needs_program("ffmpeg")
@needs_program("gst-launch-1.0")
@pytest.mark.parametrize("block", that_run("players"))
def test_blocks_with_players(block: Block, playing: Mapping[str, str], tmp_path: Path) -> None:
    run(block, tmp_path, extra={}, replace=playing)


@needs_program("openssl")
@pytest.mark.parametrize("block", that_run("tls"))
def test_blocks_with_certificates(block: Block, tmp_path: Path) -> None:
    """With those that the page says how to make, of which one is the caller's."""
    name = "station-1.example.org"
    of_page = [each for each in ALL if each.page == block.page]
    (making,) = (each for each in of_page if each.text.startswith("$ openssl"))
    (settings,) = (each.text for each in of_page if each.text.startswith("[tls]"))
    run(making, tmp_path, extra={}, replace={name: "localhost"})
    caller = making._replace(text="\n".join(making.text.splitlines()[1:]))
    run(caller, tmp_path, extra={}, replace={"node.": "me.", "/CN=station-1": "/CN=me"})
    address = f"localhost:{free_port()}"
    text = f'[node]\nname = "station-1"\nstores = ["{tmp_path / "store"}"]\ngrpc = "{address}"\n'
    (tmp_path / "nvr.toml").write_text(text + settings.replace("/etc/nvr/", f"{tmp_path}/"))
    process = ChildProcess(["-m", "nvr", "recorder", "--config", str(tmp_path / "nvr.toml"), "--json"])
    try:
        process.wait_line(lambda line: line.startswith("{"))
        run(block, tmp_path, extra={}, replace={f"{name}:7600": address})
        # Without one's own certificate nobody is let in.
        with pytest.raises(nvr.errors.NodeUnavailable):
            nvr.connect(address, ca=tmp_path / "ca.pem")
    finally:
        process.stop()
