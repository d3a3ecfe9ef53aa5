"""The demo, whole: cameras over RTSP, a recorder, a clip and a sheet taken out, nothing left behind."""

import os
import re
import signal
from pathlib import Path

import av
import pytest

import nvr
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from tests.support.processes import child


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["once", "interrupted"])
def test_demo(tmp_path: Path, how: str) -> None:
    temporary, out = tmp_path / "tmp", tmp_path / "out"
    temporary.mkdir()
    arguments = ["-m", "nvr", "demo", "--quick", "--out", str(out), *(["--once"] if how == "once" else [])]
    with child(*arguments, environment={"TMPDIR": str(temporary)}) as demo:
        address = re.search(r"gRPC +(\S+)", demo.wait_line(lambda line: line.startswith("province ")))
        sheet = demo.wait_line(lambda line: line.startswith("  sheet"))
        if how == "interrupted":
            demo.wait_line(lambda line: line.startswith("It goes on recording"))
            demo.send(signal.SIGINT)
        assert demo.wait() == (0 if how == "once" else 130), demo.errors
    assert address is not None
    clips = [Path(line.split()[1]) for line in demo.lines if line.startswith("  clip")]
    for clip in clips:
        with av.open(str(clip)) as container:
            pictures = sum(1 for _ in container.decode(video=0))
        assert pictures > 0
    assert clips
    assert Path(sheet.split()[1]).read_bytes().startswith(b"\x89PNG")
    # Nothing is left: no folder, no node.
    assert os.listdir(temporary) == []  # noqa: PTH208
    with pytest.raises(nvr.errors.NodeUnavailable):
        nvr.connect(address[1])
    assert "  the same bytes" in demo.lines
    told = [line for line in demo.lines if line in ("  complete", "  NOT complete")]
    assert told == ["  complete", "  NOT complete", "  complete"]
    assert "commune-2 is killed. The same question:" in demo.lines
    warnings = [line for line in demo.lines if line.startswith("  warning:")]
    # Its own camera, and the copy that it keeps.
    assert warnings == ["  warning: node_unreachable: node commune-2, 2 camera(s)"]
    assert any(line.startswith("commune-1 has taken over camera-2: recorded again") for line in demo.lines)
    assert any(
        line.startswith("commune-4 is taken to be behind NAT: it dials district-2") for line in demo.lines
    )
    assert any(re.match("commune-2 keeps a copy of camera-1, and has fetched", line) for line in demo.lines)


@pytest.mark.timeout(600)
def test_demo_of_somebodys_own_cameras_and_files(tmp_path: Path) -> None:
    """One recorder, without a tour."""
    footage = tmp_path / "footage"
    footage.mkdir()
    generate(Scene(width=320, height=180, fps=10, duration_s=8, bit_rate=150_000), footage)
    common = ("--quick", "--once")
    with SimulatedCameras() as cameras:
        cameras.add("gate", next(footage.glob("*.mp4")))
        for number, how in enumerate((("--camera", cameras.url("gate")), ("--footage", str(footage)))):
            out = tmp_path / f"out-{number}"
            with child("-m", "nvr", "demo", *common, "--out", str(out), *how) as demo:
                assert demo.wait() == 0, demo.errors
            (clip,) = out.glob("*.mp4")
            with av.open(str(clip)) as container:
                assert sum(1 for _ in container.decode(video=0)) >= 75
