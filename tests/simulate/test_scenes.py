"""Scenes are what was asked for, the same each time."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from nvr import nal
from nvr.errors import InvalidArgument
from nvr.simulate import scenes, timecode
from nvr.simulate.scenes import Scene

from .conftest import H264, SCENES, rgb


@pytest.mark.parametrize("name", SCENES)
def test_each_picture_shows_its_media_time(name: str, files: dict[str, Path]) -> None:
    with av.open(str(files[name])) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        shown = [
            (
                round(float(frame.pts * stream.time_base) * 1000),
                timecode.read(rgb(frame)),
            )
            for frame in container.decode(stream)
            if frame.pts is not None
        ]
    assert len(shown) == 60
    assert all(read is not None and abs(read - pts_ms) <= 1 for pts_ms, read in shown)


def random_access_points(path: Path) -> list[tuple[int, list[int]]]:
    """Position and NAL unit types of each picture at which decoding can start."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = "h264" if stream.codec.name == "h264" else "h265"
        for index, packet in enumerate(packet for packet in container.demux(stream) if packet.size):
            units = nal.split_length_prefixed(bytes(packet), 4)
            if any(nal.is_random_access(codec, unit) for unit in units):
                kinds = [unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F for unit in units]
                found.append((index, kinds))
    return found


def test_random_access_points_are_where_they_were_asked_for(files: dict[str, Path]) -> None:
    assert [index for index, _ in random_access_points(files["h264"])] == [0, 15, 30, 45]
    assert [index for index, _ in random_access_points(files["h264-b-frames"])] == [0, 30]


def test_an_open_gop_has_cra_pictures_with_leading_pictures(files: dict[str, Path]) -> None:
    points = random_access_points(files["h265-open-gop"])
    assert len(points) == 4
    assert all(21 in kinds for _, kinds in points[1:])
    with av.open(str(files["h265-open-gop"])) as container:
        pts = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    second = points[1][0]
    assert pts[second + 1] < pts[second]


def test_drawing_depends_on_the_seed_alone() -> None:
    scene = replace(H264, duration_s=1)
    first, second = ([picture.copy() for picture in scenes.pictures(scene)] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    other = next(scenes.pictures(replace(scene, seed=99)))
    assert not np.array_equal(first[0], other)
    assert any(not np.array_equal(first[0], picture) for picture in first[1:]), "something moves"


def test_night_is_darker_than_day() -> None:
    day, night = (next(scenes.pictures(replace(H264, night=night))).mean() for night in (False, True))
    assert night < day / 2


def test_a_scene_is_made_once(cache: Path, files: dict[str, Path]) -> None:
    before = files["h264"].stat().st_mtime_ns
    assert scenes.generate(H264, cache) == files["h264"]
    assert files["h264"].stat().st_mtime_ns == before
    assert not list(cache.glob("tmp*"))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 100},
        {"height": 181},
        {"fps": 0},
        {"gop_s": 0.0},
        {"gop_s": 11.0},
        {"codec": "av1"},
        {"duration_s": 0},
    ],
)
def test_wrong_values_are_named(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(change))):
        scenes.generate(replace(Scene(), **change), tmp_path)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
