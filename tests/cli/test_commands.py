"""Each command, as a shell runs it, against a node in another process."""

from pathlib import Path
from typing import ClassVar

import pytest

from nvr.footage.time import format_instant
from tests.cli.conftest import Run
from tests.footage.memory import memory_world

GATE = memory_world().gate
START, END = format_instant(GATE.start_us), format_instant(GATE.end_us)


def test_cameras_list(run: Run, node: str) -> None:
    table = run("cameras", "list", node=node)
    assert table.code == 0
    assert "market-gate" in table.out
    assert "unreachable" in table.out
    # Whoever looks for a camera among the lines finds all of it in one.
    (line,) = [line for line in table.out.splitlines() if "market-gate" in line]
    assert line.count("Z") == 1
    assert "unreachable" in line
    *cameras, end = run("cameras", "list", "--json", node=node).records
    assert [camera["name"] for camera in cameras] == ["market-gate", "yard"]
    assert cameras[0]["streams"][0]["oldest_us"] == GATE.start_us
    assert end == {"type": "end", "complete": True, "warnings": []}


def test_shared_options_before_or_after_the_command(run: Run, node: str) -> None:
    before = run("--node", node, "--json", "coverage", "market-gate", START, END)
    after = run("coverage", "market-gate", START, END, "--node", node, "--json")
    assert before.code == after.code == 0
    assert before.records == after.records


def test_coverage(run: Run, node: str) -> None:
    records = run("coverage", "market-gate", START, END, "--json", node=node).records
    assert [record["type"] for record in records] == ["span", "gap", "span", "end"]
    assert records[1]["reason"] == "unreachable"
    shown = run("coverage", "market-gate", START, "+5s", "--tz", "Asia/Ho_Chi_Minh", node=node)
    assert "+07:00" in shown.out
    assert "5s of 5s" in shown.out


def test_clip(run: Run, node: str, tmp_path: Path) -> None:
    plan = run("clip", "market-gate", START, END, "--dry-run", "--json", node=node).records[0]
    assert plan["type"] == "plan"
    assert list(tmp_path.iterdir()) == []
    done = run("clip", "market-gate", START, END, "-o", "gate.mp4", node=node)
    assert done.code == 0
    assert done.out.split() == ["gate-1.mp4", "gate-2.mp4"]
    assert "not recorded" in done.err
    sizes = [part["size_bytes"] for part in plan["parts"]]
    assert [(tmp_path / name).stat().st_size for name in done.out.split()] == sizes
    again = run("clip", "market-gate", START, END, "-o", "gate.mp4", node=node)
    assert again.code == 1
    assert "exists already" in again.err
    record = run("clip", "yard", START, END, "--json", "--overwrite", node=node).records[0]
    assert Path(record["files"][0]["path"]).name.startswith("yard_")


def test_snapshot_and_sheet(run: Run, node: str, tmp_path: Path) -> None:
    done = run("snapshot", "market-gate", START, "-o", "gate.jpg", "--max-width", "64", node=node)
    assert (done.code, done.out) == (0, "gate.jpg\n")
    assert (tmp_path / "gate.jpg").read_bytes().startswith(b"\xff\xd8")
    newest = run("snapshot", "market-gate", "--max-width", "64", "--json", node=node).records[0]
    assert newest["time_us"] == GATE.runs[-1].frames_us[-1]
    done = run("sheet", "market-gate", START, END, "-o", "s.png", "--count", "6", "--width", "80", node=node)
    assert (done.code, done.out) == (0, "s.png\n")
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_live_writes_an_elementary_stream(run: Run, node: str, tmp_path: Path) -> None:
    piped = run("live", "market-gate", node=node, text=False)
    assert piped.code == 0
    assert piped.out.startswith("\0\0\0\1\x67SPS\0\0\0\1\x68PPS\0\0\0\1\x65first")
    assert run("live", "market-gate", "--output", "gate.h264", node=node).code == 0
    assert (tmp_path / "gate.h264").read_bytes().decode("latin-1") == piped.out
    short = run("live", "market-gate", "--duration", "1s", node=node, text=False)
    assert piped.out.startswith(short.out)
    assert len(short.out) < len(piped.out)


def test_events(run: Run, node: str) -> None:
    assert "market-gate  main stream_down unreachable no answer" in run("events", node=node).out
    assert run("events", "--json", node=node).records[0]["kind"] == "stream_down"


def test_administration_of_a_camera(run: Run, node: str) -> None:
    url = "rtsp://u:s3cret@10.0.0.9/main"
    dry = run("cameras", "add", "cli-gate", "--main", url, "--dry-run", node=node)
    assert dry.out == "cli-gate: would be added\n"
    added = run("cameras", "add", "cli-gate", "--main", url, "--lat", "19.9", "--lon", "105.8", node=node)
    assert added.code == 0
    assert "undo: nvr cameras remove cli-gate" in added.err
    taken = run("cameras", "add", "cli-gate", "--main", url, node=node)
    assert taken.code == 1
    edited = run("cameras", "edit", "cli-gate", "--title", "Mới", "--no-place", node=node)
    assert edited.code == 0
    assert "undo: nvr cameras edit cli-gate --title '' --lat 19.9 --lon 105.8" in edited.err
    looks = ("--direction", "120", "--angle", "90", "--area", "38-381", "--owner", "state", "--height", "4")
    assert run("cameras", "edit", "cli-gate", *looks, node=node).code == 0
    turned = run("cameras", "edit", "cli-gate", "--no-view", "--area", "", "--owner", "household", node=node)
    undo = "edit cli-gate --area 38-381 --owner state --direction 120.0 --angle 90.0 --reach 0.0"
    assert undo in turned.err
    half = run("cameras", "edit", "cli-gate", "--direction", "120", node=node)
    assert (half.code, "angle_deg: missing" in half.err) == (2, True)
    asked = run("cameras", "remove", "cli-gate", node=node, stdin="n\n")
    assert asked.code == 130
    unasked = run("cameras", "remove", "cli-gate", "--json", node=node)
    assert unasked.code == 2
    removed = run("cameras", "remove", "cli-gate", "--yes", node=node)
    assert removed.code == 0
    assert "rtsp://u:***@10.0.0.9/main" in removed.err
    assert "--height 4.0 --owner household" in removed.err
    for outcome in (dry, added, taken, edited, turned, half, asked, removed):
        assert "s3cret" not in outcome.out + outcome.err


def test_import(run: Run, node: str, tmp_path: Path) -> None:
    file = tmp_path / "cameras.csv"
    file.write_text(
        "\ufeffname,main,lat,lon,enabled\nimp-1,rtsp://u:s3cret@h/1,19.9,105.8,yes\n\nimp-2,rtsp://h/2,,,no\n",
        encoding="utf-8",
    )
    dry = run("cameras", "import", "cameras.csv", "--dry-run", node=node)
    assert dry.out.splitlines()[-1] == "2 would be added, 0 would be changed"
    assert run("cameras", "edit", "imp-1", "--title", "x", node=node).code == 3
    done = run("cameras", "import", "cameras.csv", "--json", node=node)
    assert [record["type"] for record in done.records] == ["added", "added", "summary"]
    for name in ("imp-1", "imp-2"):
        assert run("cameras", "remove", name, "--yes", node=node).code == 0


def test_import_of_where_cameras_look(run: Run, node: str, tmp_path: Path) -> None:
    header = "name,main,height_m,direction_deg,angle_deg,reach_m,area,owner\n"
    good = "see-1,rtsp://h/1,3.5,120,90,,38-381,State\nsee-2,rtsp://h/2,,,,,,\n"
    (tmp_path / "good.csv").write_text(header + good)
    assert run("cameras", "import", "good.csv", node=node).code == 0
    removed = run("cameras", "remove", "see-1", "--yes", node=node).err
    assert "--height 3.5 --direction 120.0 --angle 90.0 --reach 0.0 --area 38-381 --owner state" in removed
    assert run("cameras", "remove", "see-2", "--yes", node=node).code == 0
    bad = (
        "bad-1,rtsp://h/1,high,,,,,\nbad-2,rtsp://h/1,,120,,,,\nbad-3,rtsp://h/1,,120,400,,,\n"
        "bad-4,rtsp://h/1,,0,90,nan,,\nbad-5,rtsp://h/1,,,,,a b,\nbad-6,rtsp://h/1,,,,,,police\n"
    )
    (tmp_path / "bad.csv").write_text(header + bad)
    outcome = run("cameras", "import", "bad.csv", node=node)
    assert outcome.code == 2
    places = [line.removeprefix("nvr: ").split(": ")[:2] for line in outcome.err.splitlines()]
    columns = ["height_m", "angle_deg", "angle_deg", "reach_m", "area", "owner"]
    assert places == [[f"bad.csv:{line}", column] for line, column in enumerate(columns, 2)]


def test_import_locates_every_fault(run: Run, node: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(
        "name,main,lat,lon,enabled\n"
        "Big Name,rtsp://u:s3cret@h/1,,,\n"
        "ok-1,ftp://u:s3cret@h,,,\n"
        "ok-2,rtsp://h/1,95,105,\n"
        "ok-3,rtsp://h/1,19,,\n"
        "ok-4,rtsp://h/1,,,maybe\n"
        "ok-5,rtsp://h/1\n"
        "ok-6,rtsp://h/1,nan,1,\n"
        "ok-7,rtsp://h/1,,,\n"
        "ok-7,rtsp://h/1,,,\n",
        encoding="utf-8",
    )
    outcome = run("cameras", "import", "bad.csv", node=node)
    assert outcome.code == 2
    assert "s3cret" not in outcome.err
    places = [line.removeprefix("nvr: ").split(": ")[:2] for line in outcome.err.splitlines()]
    assert [place[0] for place in places] == [f"bad.csv:{line}" for line in (2, 3, 4, 5, 6, 7, 8, 10)]
    assert [place[1] for place in places][:5] == ["name", "main", "lat", "lon", "enabled"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"name,main\n", "no camera follows"),
        (b"name,colour,main\nx,y,z\n", "no such column"),
        (b"name\nx\n", "the column is missing"),
        (b"name,name,main\nx,y,z\n", "is there twice"),
        (b"name,main\n\xff\xfe,x\n", "not UTF-8"),
        (b'name,main\n"x,y\n', "not CSV"),
    ],
)
def test_import_of_what_is_no_list_of_cameras(
    run: Run, node: str, tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(content)
    outcome = run("cameras", "import", "bad.csv", node=node)
    assert outcome.code == 2
    assert says in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("coverage", "nobody", START, END), 3),
        (("coverage", "twice", START, END), 2),
        (("coverage", "market-gate", "yesterday", END), 2),
        (("coverage", "market-gate", "2026-11-23T14:05:00", END), 2),
        (("coverage", "market-gate", END, START), 2),
        (("snapshot", "market-gate", "1971-01-01T00:00:00Z"), 3),
        (("clip", "market-gate", "-10m", "now+1h"), 2),
        (("clip", "market-gate", "-10m", "now"), 3),
        (("coverage", "market-gate", START), 2),
        (("coverage", "market-gate", START, END, "--no-such-option"), 2),
        (("coverage", "market-gate", START, END, "--tz", "Mars/Base"), 2),
        (("no-such-command",), 2),
        (("coverage", "market-gate", START, END, "--node", "127.0.0.1:1"), 5),
        (("cameras", "add", "x", "--main", "nonsense"), 2),
        (("store", "check", "no-such-folder"), 2),
    ],
)
def test_exit_codes(run: Run, node: str, arguments: tuple[str, ...], code: int) -> None:
    outcome = run(*arguments, node=node)
    assert outcome.code == code, outcome.err
    assert outcome.err
    assert "Traceback" not in outcome.err


def test_errors_for_programs(run: Run, node: str) -> None:
    import json

    outcome = run("coverage", "nobody", START, END, "--json", node=node)
    error = json.loads(outcome.err)["error"]
    assert (error["code"], error["reason"]) == (3, "CAMERA_NOT_FOUND")
    assert outcome.out == ""


def test_debug_shows_where(run: Run, node: str) -> None:
    assert "Traceback" in run("coverage", "nobody", START, END, "--debug", node=node).err


def test_completion_of_camera_names(run: Run, node: str) -> None:
    from nvr.cli.complete import camera_names

    class Context:
        params: ClassVar[dict[str, str]] = {"node": node}
        parent = None

    assert [name for name, _ in camera_names(Context(), "mar")] == ["market-gate"]  # type: ignore[arg-type]
    Context.params = {"node": "127.0.0.1:1"}
    assert camera_names(Context(), "") == []  # type: ignore[arg-type]
