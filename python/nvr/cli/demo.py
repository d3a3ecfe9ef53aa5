"""``nvr demo``: everything at work on one machine, cleaned up afterwards."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nvr.cli.children import NvrChild
from nvr.errors import InvalidArgument, NoFootage

if TYPE_CHECKING:
    from nvr.client import CameraList, Network

_MINUTE_S, _QUICK_S = 60, 8
_SCENES_WAIT_S = 600.0
_RECORDER_WAIT_S = 60.0
# The longest that one is (docs/on-disk-format.md, "Where a fragment ends"), and a little.
_FRAGMENT_US = 3_000_000
_FIRST_PICTURE_WAIT_S = 60.0
_SHOW_EVERY_S = 1.0
_LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class _Source:
    """A camera to record."""

    name: str
    main: str
    sub: str = ""


def demo(
    cameras: Annotated[
        list[str] | None,
        typer.Option(
            "--cameras",
            "--camera",
            metavar="URL",
            help="RTSP address of a camera of yours; repeat it, or quote several.",
        ),
    ] = None,
    footage: Annotated[
        Path | None,
        typer.Option(
            "--footage", metavar="DIR", help="Play the files of this folder.", exists=True, file_okay=False
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where clip and sheet go.")] = Path(
        "demo-out"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A few seconds of footage instead of a minute.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="End after the clip instead of staying up.")] = False,
) -> None:
    """Show it all: simulated cameras, a small province of nodes, a clip.

    Without --cameras and --footage it plays street scenes that it generates, to four recorders under two
    districts and a province, and takes a tour: a place query, a clip from each tier, a node killed and the
    answer saying so, the node back. With them, one recorder. Ctrl-C ends it and removes the footage.
    """
    urls = [url for text in cameras or () for url in text.split()]
    if urls and footage:
        raise InvalidArgument("--cameras and --footage: choose one")
    with ExitStack() as stack:
        stack.enter_context(_terminated_like_interrupted())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nvr-demo-")))
        sources = _from_urls(urls) if urls else _simulated(stack, footage)
        wanted_s = _QUICK_S if quick else _MINUTE_S
        if not urls and not footage:
            from nvr.cli.demo_province import Province

            province = stack.enter_context(Province(folder, [(each.main, each.sub) for each in sources]))
            with province.connect() as network:
                with _display() as show:
                    name, start_us = _wait_for_footage(network, show, province.check, wanted_s)
                _take_out(network, name, start_us, wanted_s, out)
                province.tour(network, name, start_us, min(wanted_s, _QUICK_S), out)
                _stay_up(network, province.check, once=once)
            return
        config = folder / "recorder.toml"
        _write_config(config, folder / "store", sources)
        recorder = stack.enter_context(
            NvrChild("recorder", ["recorder", "--config", str(config), "--json", "--log-level", "warning"])
        )
        facts = recorder.ready(_RECORDER_WAIT_S)
        _show_addresses(facts, sources)

        from nvr.client import connect

        with connect(facts["grpc"], purpose="demo") as network:
            with _display() as show:
                name, start_us = _wait_for_footage(network, show, recorder.check, wanted_s)
            _take_out(network, name, start_us, wanted_s, out)
            _stay_up(network, recorder.check, once=once)


def _stay_up(network: Network, check: Callable[[], None], *, once: bool) -> None:
    if once:
        return
    print("It goes on recording; Ctrl-C ends it and removes the footage.", flush=True)
    with _display() as show:
        while True:
            check()
            show(network.cameras())
            time.sleep(_SHOW_EVERY_S)


def _wait_for_footage(
    network: Network, show: Callable[[CameraList], None], check: Callable[[], None], wanted_s: int
) -> tuple[str, int]:
    """A camera that has recorded so many seconds without a gap, and their start."""
    from nvr.footage.types import TimeRange

    give_up_s = time.monotonic() + _FIRST_PICTURE_WAIT_S + wanted_s * 3
    while True:
        check()
        found = network.cameras()
        show(found)
        for camera in found:
            main = camera.streams[0] if camera.streams else None
            if main is None or not main.oldest_us:
                continue
            # The newest such stretch: the first seconds may have been broken. What is newer than a
            # fragment lasts is still being written: each tier is to be asked for the same.
            end_us = main.newest_us - _FRAGMENT_US
            start_us = end_us - wanted_s * 1_000_000
            if start_us < main.oldest_us:
                continue
            range_ = TimeRange(start_us, end_us)
            if not network.camera(camera.id).coverage(range_.start, range_.end).gaps:
                return camera.name, start_us
        if time.monotonic() > give_up_s:
            states = "; ".join(
                f"{camera.name}: {stream.reason or stream.state.value} {stream.detail}".rstrip()
                for camera in found
                for stream in camera.streams[:1]
            )
            raise NoFootage(f"no camera gave {wanted_s} s of footage without a gap: {states}")
        time.sleep(_SHOW_EVERY_S)


def _take_out(network: Network, name: str, start_us: int, wanted_s: int, out: Path) -> None:
    from nvr.client._show import range_text
    from nvr.footage.time import format_instant, to_datetime

    out.mkdir(parents=True, exist_ok=True)
    start, duration = to_datetime(start_us), f"{wanted_s}s"
    camera = network.camera(name)
    print(f"Taking {wanted_s} s of {name} from {format_instant(start_us)} out over gRPC …", flush=True)
    report = camera.clip(start, duration=duration).save(
        out / f"{name}.mp4", progress=sys.stderr.isatty(), overwrite=True
    )
    for part in report.parts:
        print(f"  clip   {part.path}  {part.size_bytes} bytes, {part.video_codec}")
    for gap in report.gaps:
        print(f"  not recorded: {range_text(gap.range)}: {gap.reason}")
    sheet = camera.sheet(start, duration=duration, count=12, columns=4)
    print(f"  sheet  {sheet.save(out / f'{name}.png')}", flush=True)


def _from_urls(urls: Sequence[str]) -> list[_Source]:
    from nvr.footage.checks import checked_url

    return [
        _Source(f"camera-{number}", checked_url(url, f"--cameras {number}"))
        for number, url in enumerate(urls, 1)
    ]


def _simulated(stack: ExitStack, footage: Path | None) -> list[_Source]:
    played = ["--footage", str(footage.absolute())] if footage else []
    print("Preparing simulated cameras (the first time takes a while) …", flush=True)
    child = stack.enter_context(
        NvrChild("simulator", ["simulate", "--json", "--listen", "127.0.0.1:0", *played])
    )
    return [
        _Source(camera["name"], camera["main_url"], camera.get("sub_url") or "")
        for camera in child.ready(_SCENES_WAIT_S)["cameras"]
    ]


def _write_config(path: Path, store: Path, sources: Sequence[_Source]) -> None:
    store.mkdir()
    lines = [
        "[node]",
        'name = "demo"',
        f"stores = [{_toml(str(store))}]",
        'grpc = "127.0.0.1:0"',
        'metrics = "127.0.0.1:0"',
    ]
    for source in sources:
        lines += ["", "[[camera]]", f"name = {_toml(source.name)}", f"main = {_toml(source.main)}"]
        if source.sub:
            lines.append(f"sub = {_toml(source.sub)}")
    # The addresses may hold passwords.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _toml(text: str) -> str:
    # A JSON string is a basic string of TOML, as long as nothing is escaped in surrogates.
    return json.dumps(text, ensure_ascii=False)


def _show_addresses(facts: dict[str, Any], sources: Sequence[_Source]) -> None:
    from nvr.footage.admin import mask_password

    print(f"Recorder  gRPC     {facts['grpc']}   (nvr cameras list --node {facts['grpc']})")
    if facts.get("metrics"):
        print(f"          metrics  http://{facts['metrics']}/metrics")
    for source in sources:
        print(f"Camera    {source.name}  {' '.join(mask_password(url) for url in (source.main, source.sub))}")
    sys.stdout.flush()


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM cleans up too."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _display() -> Iterator[Callable[[CameraList], None]]:
    """Shows cameras: a table that lives on a terminal, a line now and then elsewhere."""
    if sys.stdout.isatty():
        from rich.live import Live

        with Live(auto_refresh=False) as live:
            yield lambda cameras: live.update(_table(cameras), refresh=True)
        return
    shown_s = -_LINE_EVERY_S
    states: list[str] = []

    def line(cameras: CameraList) -> None:
        nonlocal shown_s, states
        now_s = time.monotonic()
        now = [stream.state.value for camera in cameras for stream in camera.streams]
        if now != states or now_s - shown_s >= _LINE_EVERY_S:
            shown_s, states = now_s, now
            print("\n".join("  ".join(row) for row in _rows(cameras)), flush=True)

    yield line


def _rows(cameras: CameraList) -> list[tuple[str, ...]]:
    from nvr.client._show import size_text

    return [
        (
            camera.name,
            stream.kind,
            stream.state.value + (f" ({stream.reason})" if stream.reason else ""),
            stream.video_codec,
            f"{stream.frames} pictures",
            size_text(stream.bytes),
            f"{(stream.newest_us - stream.oldest_us) / 1_000_000:.1f} s kept",
        )
        for camera in cameras
        for stream in camera.streams
    ]


def _table(cameras: CameraList) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "camera", "stream", "state", "codec", "received", "bytes", "footage", box=None, header_style="bold"
    )
    for row in _rows(cameras):
        table.add_row(*(Text(cell) for cell in row))
    return table
