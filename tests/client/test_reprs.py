"""How results show themselves, and what they never show."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import nvr
from nvr.footage.time import to_datetime
from tests.footage.memory import memory_world

GATE = memory_world().gate
START, END = to_datetime(GATE.start_us), to_datetime(GATE.end_us)
SECRET = "s3cret"


@pytest.fixture(scope="module")
def shown(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One of each public class."""
    folder: Path = tmp_path_factory.mktemp("shown")
    with nvr.connect(address, purpose="<script>", case="17/2026") as net:
        camera = net.camera("market-gate")
        clip = camera.clip(START, END)
        report = clip.save(folder / "gate.mp4")
        collected = net.collect(folder, cameras=["yard"], start=START, end=END)
        net.add_camera("secret", f"rtsp://u:{SECRET}@h/1")
        frames = camera.frames(START, duration="1s", max_width=64, max_height=36)
        yield {
            "Network": net,
            "Camera": camera,
            "Clip": clip,
            "ClipPlan": clip.plan(),
            "ClipReport": report,
            "SavedPart": report.parts[0],
            "CollectReport": collected,
            "Collected": collected[0],
            "Coverage": camera.coverage(START, END),
            "CameraList": net.cameras(),
            "Stream": frames,
            "Frame": next(frames),
            "Live": camera.live(),
            "Snapshot": camera.snapshot(START, max_width=64, max_height=36),
            "Sheet": camera.sheet(START, END, count=2, width=80),
            "StoredFragment": next(camera.fragments(START, END)),
            "AsyncNetwork": net._inner,
            "AsyncCamera": camera._inner,
            "AsyncClip": clip._inner,
            "AsyncStream": frames._inner,
            "AsyncLive": camera.live()._inner,
            "settings": net.camera("secret").settings(),
        }
        net.camera("secret").remove()


def test_every_public_class_is_here(shown: dict[str, Any]) -> None:
    classes = {name for name in nvr.client.__all__ if isinstance(getattr(nvr, name), type)}
    assert classes - {"Progress"} == set(shown) - {"settings"}
    for name in classes & set(shown):
        assert type(shown[name]) is getattr(nvr, name)


def test_reprs_are_one_line_and_keep_secrets(shown: dict[str, Any]) -> None:
    for name, value in shown.items():
        text = repr(value)
        assert "\n" not in text, name
        assert len(text) < 400, name
        assert SECRET not in text + str(value), name
        assert " object at 0x" not in text, name


def test_rich_and_notebook_reprs(shown: dict[str, Any]) -> None:
    for name, value in shown.items():
        if name == "settings":
            continue
        console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
        console.print(value)
        console.file.close()
        assert console.export_text().strip(), name
        html = value._repr_html_() if hasattr(value, "_repr_html_") else None
        picture = [
            getattr(value, f"_repr_{kind}_")() for kind in ("png", "jpeg") if hasattr(value, f"_repr_{kind}_")
        ]
        assert html or picture, name
        assert "<script>" not in (html or ""), name


def test_a_view_escapes_what_others_wrote(shown: dict[str, Any]) -> None:
    assert "&lt;script&gt;" in shown["Network"]._repr_html_()
    assert "market-gate" in shown["CameraList"]._repr_html_()
