"""The sync client against a node in another process."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import nvr
from nvr.footage.time import to_datetime
from nvr.footage.types import Gap, Span
from tests.footage.memory import memory_world

GATE = memory_world().gate
START, END = to_datetime(GATE.start_us), to_datetime(GATE.end_us)


def test_cameras(net: nvr.Network) -> None:
    cameras = net.cameras()
    assert [camera.name for camera in cameras] == ["market-gate", "yard"]
    assert cameras.complete
    assert [camera.name for camera in net.cameras("yard")] == ["yard"]
    assert net.camera("yard").info().name == "yard"
    assert net.node.name == "station-1"


def test_coverage_fills_the_range(net: nvr.Network) -> None:
    coverage = net.camera("market-gate").coverage(START, END)
    assert [type(item) for item in coverage] == [Span, Gap, Span]
    assert coverage.gaps[0].reason == "unreachable"
    assert coverage.recorded + coverage.missing == END - START
    assert coverage.spans[0].range.start == START


def test_a_range_is_given_by_its_end_or_its_duration(net: nvr.Network) -> None:
    camera = net.camera("market-gate")
    by_end = camera.coverage(START, START + timedelta(seconds=5))
    assert camera.coverage(START.isoformat(), duration="5s") == by_end
    assert camera.coverage(START, duration=timedelta(seconds=5)) == by_end
    with pytest.raises(nvr.errors.InvalidArgument, match="either an end or a duration"):
        camera.coverage(START)
    with pytest.raises(nvr.errors.InvalidArgument, match="either an end or a duration"):
        camera.coverage(START, END, duration="5s")
    with pytest.raises(nvr.errors.InvalidArgument, match="longer than nothing"):
        camera.clip(START, duration="0s")


def test_a_naive_time_is_refused_with_help(net: nvr.Network) -> None:
    with pytest.raises(nvr.errors.NaiveDatetime, match="tzinfo"):
        net.camera("market-gate").clip(datetime(2026, 11, 23), END)  # noqa: DTZ001
    with pytest.raises(nvr.errors.NaiveDatetime, match="add Z"):
        net.camera("market-gate").frames("2026-11-23T14:05:00", duration="1s")


def test_frames_are_arrays_with_their_time(net: nvr.Network) -> None:
    with net.camera("market-gate").frames(
        START, duration="2s", every="1s", max_width=64, max_height=36
    ) as frames:
        found = list(frames)
    assert frames.complete
    assert [time for time, _ in found] == [START, START + timedelta(seconds=1)]
    for time, image in found:
        assert time.tzinfo is UTC
        assert image.shape == (36, 64, 3)
        assert image.dtype == np.uint8
        image[0, 0] = 0


def test_frames_are_fetched_as_they_are_asked_for(net: nvr.Network) -> None:
    frames = net.camera("market-gate").frames(START, END, max_width=64, max_height=36)
    assert next(frames).time == START
    assert frames.complete is None
    frames.close()
    assert list(frames) == []


def test_snapshot(net: nvr.Network, tmp_path: Path) -> None:
    snapshot = net.camera("market-gate").snapshot(START, max_width=64, max_height=36)
    assert snapshot.time == START
    assert snapshot.array().shape == (36, 64, 3)
    assert snapshot.save(tmp_path / "gate.jpg").read_bytes() == snapshot.jpeg
    with pytest.raises(nvr.errors.NoFootage):
        net.camera("market-gate").snapshot(END + timedelta(seconds=1))


def test_fragments_go_on_from_a_cursor(net: nvr.Network) -> None:
    camera = net.camera("market-gate")
    whole = [fragment.ref for fragment in camera.fragments(START, END, refs_only=True)]
    first = camera.fragments(START, END, limit=3)
    refs = [fragment.ref for fragment in first]
    assert all(
        len(fragment.data) == fragment.ref.size_bytes for fragment in camera.fragments(START, duration="3s")
    )
    rest = camera.fragments(START, END, refs_only=True, cursor=first.cursor)
    assert refs + [fragment.ref for fragment in rest] == whole
    backward = [fragment.ref for fragment in camera.fragments(START, END, refs_only=True, backward=True)]
    assert backward == whole[::-1]


def test_locate(net: nvr.Network) -> None:
    camera = net.camera("market-gate")
    assert camera.locate(START).start_us == GATE.start_us
    between = to_datetime(GATE.runs[0].end_us)
    with pytest.raises(nvr.errors.NoFootage):
        camera.locate(between)
    assert camera.locate(between, mode="next").start_us == GATE.runs[1].start_us


def test_live_and_its_elementary_stream(net: nvr.Network) -> None:
    units = net.camera("market-gate").live()
    assert [unit.random_access for unit in units] == [True, False, True]
    assert units.warnings[0].code == "slow_reader"
    parameters = b"\0\0\0\1\x67SPS\0\0\0\1\x68PPS"
    stream = b"".join(net.camera("market-gate").live().annexb())
    assert stream == (
        parameters + b"\0\0\0\1\x65first" + b"\0\0\0\1\x41second" + parameters + b"\0\0\0\1\x65third"
    )


def test_events(net: nvr.Network) -> None:
    assert [event.kind for event in net.events()] == ["stream_down"]


def test_administration(net: nvr.Network) -> None:
    added = net.add_camera("new-gate", "rtsp://u:p@10.0.0.9/main", place=(19.9, 105.8), dry_run=True)
    assert added.name == "new-gate"
    with pytest.raises(nvr.errors.CameraNotFound):
        net.camera("new-gate").settings()
    net.add_camera("new-gate", "rtsp://u:p@10.0.0.9/main", place=(19.9, 105.8))
    camera = net.camera("new-gate")
    with pytest.raises(nvr.errors.CameraExists):
        net.add_camera("new-gate", "rtsp://10.0.0.9/main")
    assert camera.settings().main_url == "rtsp://u:***@10.0.0.9/main"
    camera.update(title="Cổng mới")
    assert camera.settings().title == "Cổng mới"
    camera.update(main_url=camera.settings().main_url)
    assert camera.remove(dry_run=True) == "id-of-new-gate"
    assert camera.remove() == "id-of-new-gate"
    with pytest.raises(nvr.errors.InvalidArgument, match="nothing to change"):
        net.camera("market-gate").update()
    for url in ("ftp://x/y", "rtsp:///p", "rtsp://u:s3cret@h:99999/p", "nonsense"):
        with pytest.raises(nvr.errors.InvalidArgument) as refused:
            net.add_camera("x", url)
        assert url not in str(refused.value).replace("rtsp://user:password@host:port/path", "")


def test_errors_of_names(net: nvr.Network) -> None:
    with pytest.raises(nvr.errors.CameraNotFound):
        net.camera("nobody").coverage(START, END)
    with pytest.raises(nvr.errors.AmbiguousCamera):
        net.camera("twice").coverage(START, END)


def test_sheet(net: nvr.Network, tmp_path: Path) -> None:
    sheet = net.camera("market-gate").sheet(START, END, count=6, columns=3, width=80, tz="Asia/Ho_Chi_Minh")
    assert len(sheet.times) == 6
    assert sheet.times[0] == START
    assert None in net.camera("yard").sheet(START, END, count=6, width=80).times
    assert sheet.save(tmp_path / "s.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert sheet.save(tmp_path / "s.jpg").read_bytes().startswith(b"\xff\xd8")
    with pytest.raises(nvr.errors.InvalidArgument, match=r"\.png or \.jpg"):
        sheet.save(tmp_path / "s.bmp")
    with pytest.raises(nvr.errors.InvalidArgument, match="time zone"):
        net.camera("yard").sheet(START, END, tz="Mars/Base")


def test_several_connections_and_a_closed_one(address: str) -> None:
    first, second = nvr.connect(address), nvr.connect(address)
    first.close()
    first.close()
    assert second.cameras()
    with pytest.raises(nvr.errors.Closed):
        first.cameras()
    second.close()
    with pytest.raises(nvr.errors.Closed):
        second.camera("yard")


def test_a_case_is_a_view_of_the_connection(net: nvr.Network) -> None:
    case = net.for_case("17/2026", purpose="theft at the market")
    assert case.cameras()
    assert "17/2026" in str(case.view().rows)
    case.close()
    assert net.cameras()


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(nvr.errors.NodeUnavailable, match=r"no node answers at 127\.0\.0\.1:1"):
        nvr.connect("127.0.0.1:1")


@pytest.mark.parametrize(
    "wrong",
    [
        {"partial": "perhaps"},
        {"timeout": "0s"},
        {"certificate": "a.pem"},
        {"tls": False, "ca": "ca.pem"},
        {"address": "two words"},
    ],
)
def test_options_are_checked_before_anything_is_sent(wrong: dict[str, object]) -> None:
    with pytest.raises(nvr.errors.InvalidArgument):
        nvr.connect(**wrong)  # type: ignore[arg-type]
