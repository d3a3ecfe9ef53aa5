"""A network of real processes answers as one: through two tiers, under Prometheus, with a node killed."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

import nvr
from nvr.footage.time import to_datetime
from nvr.footage.types import Span
from tests.network.tree import PLACES, Network, network
from tests.simulate.rtsp import Client
from tests.support.processes import REPOSITORY, free_port, wait_for
from tests.support.skips import needs_program

SECOND = 1_000_000


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture
def province(tree: Network) -> Iterator[nvr.Network]:
    with nvr.connect(tree.grpc["province"], purpose="network test", case="4/2026") as net:
        yield net


def last_seconds(net: nvr.Network, seconds: int = 3) -> tuple[datetime, datetime]:
    """A range that all cameras have on disk."""
    newest_us = min(camera.streams[0].newest_us for camera in net.cameras())
    return to_datetime(newest_us - seconds * SECOND), to_datetime(newest_us)


def test_one_question_is_answered_from_all_recorders(province: nvr.Network) -> None:
    start, end = last_seconds(province)
    answer = province.find(near=PLACES["commune-1"], radius="600m", start=start, end=end)
    found = answer.all()
    assert answer.complete
    assert [(each.camera.name, each.camera.node) for each in found] == [
        ("gate", "commune-1"),
        ("yard", "commune-2"),
    ]
    assert all(isinstance(item, Span) for each in found for item in each.coverage)
    near = province.find(near=PLACES["commune-1"], radius="100m", start=start, end=end).all()
    assert [each.camera.name for each in near] == ["gate"]
    (reached,) = province.next_cameras("gate", start, min_speed="10km/h", max_speed="60km/h").all()
    assert reached.camera.name == "yard"


def test_what_a_recorder_knows_of_a_camera_is_known_at_the_top(tree: Network, province: nvr.Network) -> None:
    for node, name in (("commune-1", "gate"), ("commune-2", "yard")):
        with nvr.connect(tree.grpc[node]) as own:
            theirs = own.camera(name).info()
        found = province.camera(f"{node}/{name}").info()
        assert (found.id, found.node) == (theirs.id, node)
        for field in ("name", "title", "place", "view", "height_m", "area", "owner"):
            assert getattr(found, field) == getattr(theirs, field), field
        assert (found.height_m, found.owner.value, found.area) == (4.5, "household", "38-381")
        assert found.view is not None
        assert found.view.reach_m == 120
        (main,) = found.streams
        assert (main.oldest_us, main.state) == (theirs.streams[0].oldest_us, theirs.streams[0].state)
        assert main.newest_us >= theirs.streams[0].newest_us
    # The views are asked about as well: 60 m to the north-east of the first, and to its south.
    latitude, longitude = PLACES["commune-1"]
    seen = province.find(looks_at=(latitude + 0.0004, longitude + 0.0004)).all()
    assert [each.camera.name for each in seen] == ["gate"]
    assert province.find(looks_at=(latitude - 0.0004, longitude)).all() == []


def test_a_clip_through_two_tiers_is_the_recorders_own(
    tree: Network, province: nvr.Network, tmp_path: Path
) -> None:
    start, end = last_seconds(province)
    with nvr.connect(tree.grpc["commune-1"]) as own:
        own.camera("gate").clip(start, end).save(tmp_path / "own.mp4")
    report = province.camera("gate").clip(start, end).save(tmp_path / "far.mp4")
    assert report.complete
    assert [part.node for part in report.parts] == ["commune-1"]
    assert (tmp_path / "far.mp4").read_bytes() == (tmp_path / "own.mp4").read_bytes()
    collected = province.collect(tmp_path / "case", start=start, end=end)
    assert collected.complete
    assert len(collected) == 2


def test_pictures_and_live_come_through(province: nvr.Network) -> None:
    start, end = last_seconds(province)
    camera = province.camera("commune-2/yard")
    assert camera.snapshot(start).jpeg.startswith(b"\xff\xd8")
    assert len(camera.frames(start, end, every="1s").all()) == 3
    with camera.live() as units:
        first = next(units)
        assert first.random_access
        assert next(units).run_id == first.run_id


@needs_program("ffmpeg")
def test_a_player_watches_any_camera_at_the_top(tree: Network, province: nvr.Network) -> None:
    start, end = last_seconds(province)
    replay = f"?start={start.isoformat()}&end={end.isoformat()}".replace("+", "%2B")
    for path in ("commune-1/gate/main", f"yard/main{replay}"):
        url = f"rtsp://{tree.rtsp['province']}/{path}"
        source = ("-v", "error", "-rtsp_transport", "tcp", "-i", url)
        done = subprocess.run(
            ["ffmpeg", "-nostdin", *source, "-frames:v", "15", "-f", "framemd5", "-"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        pictures = [line for line in done.stdout.splitlines() if not line.startswith("#")]
        assert len(pictures) == 15, done.stderr


def test_all_viewers_together_are_one_session_at_each_camera(tree: Network) -> None:
    clients = []
    try:
        for node in ("province", "commune-2"):
            address = str(tree.rtsp[node])
            for path in ("yard/main", "commune-2/yard/main"):
                client = Client(int(address.rpartition(":")[2]))
                clients.append(client)
                client.play(f"rtsp://{address}/{path}")
        for client in clients:
            assert next(client.access_units("h264")).nals
        assert tree.cameras.stats()["sessions"] == len(PLACES)
    finally:
        for client in clients:
            client.socket.close()


def test_one_request_is_the_same_in_every_tier(tree: Network, province: nvr.Network) -> None:
    """In three processes: each tier's, that of the recorder included."""
    start, end = last_seconds(province)
    province.camera("yard").clip(start, end).plan()
    asked = [line for line in tree.audit("province") if line["method"].endswith("/ReadClip")][-1]
    assert (asked["purpose"], asked["case_number"]) == ("network test", "4/2026")
    tiers = ("province", "district", "commune-2")
    assert len({id(tree.processes[name]) for name in tiers}) == 3
    for name in tiers[1:]:
        lines = [line for line in tree.audit(name) if line["request_id"] == asked["request_id"]]
        assert {line["case_number"] for line in lines} == {"4/2026"}
        assert {line["event"] for line in lines} == {"opened", "closed"}
    # And so is the trace, in the logs.
    traces = set()
    for name in tiers:
        wanted = re.compile(rf"\[{asked['request_id']} ([0-9a-f]{{32}})\] .*ReadClip")

        def traced(name: str = name, wanted: re.Pattern[str] = wanted) -> list[str]:
            errors = "\n".join(tree.processes[name].errors)
            return wanted.findall(errors)

        wait_for(lambda traced=traced: bool(traced()), f"{name} has logged the call")  # type: ignore[misc]
        traces |= set(traced())
    assert len(traces) == 1


@pytest.mark.parametrize("order", ["nearest", "newest", "oldest"])
def test_pages_go_on_after_the_gateway_was_killed(
    tree: Network, province: nvr.Network, order: Literal["nearest", "newest", "oldest"]
) -> None:
    start, end = last_seconds(province)
    find = partial(province.find, near=PLACES["commune-1"], radius="600m", start=start, end=end, order=order)
    whole = find()
    names = [each.camera.name for each in whole]
    assert (whole.complete, sorted(names)) == (True, ["gate", "yard"])
    page = find(limit=1)
    assert [each.camera.name for each in page] == names[:1]
    assert (page.complete, page.remaining) == (True, 1)
    tree.kill("province")
    tree.start("province")

    def rest() -> bool:
        # The connection of before goes on as well.
        answer = find(limit=1, cursor=page.cursor)
        found = answer.all()
        assert [each.camera.name for each in found] == names[1:]
        assert (answer.remaining, answer.cursor) == (0, "")
        return bool(answer.complete and found[0].spans)

    wait_for(lambda: retried(rest), "the rest is there", every_s=0.1)


def retried(ask: Callable[[], bool]) -> bool:
    """What is asked of a node that may not be there yet."""
    try:
        return ask()
    except nvr.errors.NodeUnavailable:
        return False


@needs_program("prometheus")
def test_prometheus_scrapes_the_network(tree: Network, tmp_path: Path) -> None:
    port = free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(REPOSITORY / "deploy" / "prometheus" / "nvr.rules.yml")],
        "scrape_configs": [
            {"job_name": "nvr", "static_configs": [{"targets": sorted(tree.metrics.values())}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def value(query: str) -> list[dict[str, Any]]:
            url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            except OSError:
                return []
            return found

        def number(query: str) -> float:
            found = value(query)
            return float(found[0]["value"][1]) if found else -1.0

        wait_for(lambda: number('sum(up{job="nvr"})') == 4, "all four nodes are scraped", every_s=0.2)
        wait_for(lambda: number("sum(nvr_stream_up)") == 2, "both cameras are up", every_s=0.2)
        # Each gateway has its own children only; the top needs no series of a camera.
        instance = f'instance="{tree.metrics["province"]}"'
        assert number(f"sum(nvr_link_up{{{instance}}})") == 1
        assert number(f'sum(nvr_area_cameras{{{instance},state="recording"}})') == 2
        assert value(f'{{{instance},camera!=""}}') == []
        # On one machine all clocks are the same; that they are compared is what is looked at.
        wait_for(
            lambda: number("count(abs(nvr_link_clock_offset_seconds) < 1)") == 3,
            "each gateway has measured the clocks of its children",
            every_s=0.2,
        )
        wait_for(lambda: bool(value("nvr:area_cameras_recording:ratio")), "rules are evaluated", every_s=0.2)
    finally:
        server.terminate()
        server.wait(20)


def test_a_node_that_is_killed_is_named_and_comes_back(
    tree: Network, province: nvr.Network, tmp_path: Path
) -> None:
    """The last of the module: it takes a node away."""
    start, end = last_seconds(province)
    tree.kill("commune-2")
    killed_us = time.time_ns() // 1000

    def noticed() -> bool:
        answer = province.find(start=start, end=end)
        found = {each.camera.name: each for each in answer.all()}
        if answer.complete:
            return False
        assert [(warning.code, warning.node) for warning in answer.warnings] == [
            ("node_unreachable", "commune-2")
        ]
        assert found["gate"].spans
        assert found["yard"].coverage == ()
        return True

    wait_for(noticed, "the answer says what is missing", every_s=0.1)
    with (
        nvr.connect(tree.grpc["province"], partial="refuse") as strict,
        pytest.raises(nvr.errors.Incomplete, match="commune-2"),
    ):
        strict.find(start=start, end=end).all()
    with pytest.raises(nvr.errors.NodeUnavailable):
        province.camera("yard").clip(start, end).plan()
    report = province.collect(
        tmp_path / "case", near=PLACES["commune-1"], radius="600m", start=start, end=end
    )
    assert [(item.camera.name, item.failed) for item in report] == [("gate", False), ("yard", True)]
    assert [item.reason for item in report.missing] == ["node_unreachable"]
    assert (report.complete, [warning.node for warning in report.warnings]) == (False, ["commune-2"])
    assert len(list((tmp_path / "case").iterdir())) == 1
    tree.start("commune-2")

    def back() -> bool:
        answer = province.find(cameras=["yard"], start=start, end=to_datetime(time.time_ns() // 1000))
        (yard,) = answer.all()
        return bool(answer.complete) and yard.spans[-1].range.start_us > killed_us

    wait_for(back, "it answers and records again", every_s=0.2)
    coverage = province.camera("yard").coverage(start, to_datetime(time.time_ns() // 1000))
    assert "recorder_crashed" in {gap.reason for gap in coverage.gaps}
