"""The demo, whole: cameras over RTSP, a recorder, a clip and a sheet taken out, nothing left behind."""

import os
import re
import signal
from pathlib import Path

import av
import pytest

import nvr
from tests.support.processes import child


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["once", "interrupted"])
def test_demo(tmp_path: Path, how: str) -> None:
    temporary, out = tmp_path / "tmp", tmp_path / "out"
    temporary.mkdir()
    arguments = ["-m", "nvr", "demo", "--quick", "--out", str(out), *(["--once"] if how == "once" else [])]
    with child(*arguments, environment={"TMPDIR": str(temporary)}) as demo:
        address = re.search(
            r"gRPC +(\S+)", demo.wait_line(lambda line: "gRPC" in line and "Recorder" in line)
        )
        sheet = demo.wait_line(lambda line: line.startswith("  sheet"))
        if how == "interrupted":
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
    # Nothing is left: no folder, no recorder.
    assert os.listdir(temporary) == []  # noqa: PTH208
    with pytest.raises(nvr.errors.NodeUnavailable):
        nvr.connect(address[1])
