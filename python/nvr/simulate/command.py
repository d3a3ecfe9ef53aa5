"""``nvr simulate``: plays files or made-up street scenes as cameras."""

import json
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from nvr.errors import InvalidArgument
from nvr.simulate.server import SimulatedCamera, SimulatedCameras, Source, street_scenes

__all__ = ["simulate"]

_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".ts", ".avi", ".h264", ".264", ".h265", ".265", ".hevc"}


def simulate(
    files: Annotated[list[Path] | None, typer.Argument(help="Files to play, in turn.")] = None,
    cameras: Annotated[
        int, typer.Option(min=0, max=10_000, help="How many cameras; 0: one for each file, or 4 scenes.")
    ] = 0,
    listen: Annotated[str, typer.Option(help="Address and port; port 0: any free one.")] = "127.0.0.1:8554",
    user: Annotated[str, typer.Option(help="User that viewers must give; empty: no login.")] = "",
    password: Annotated[
        str, typer.Option(envvar="NVR_SIMULATE_PASSWORD", help="Password that viewers must give.")
    ] = "",
    basic: Annotated[
        bool, typer.Option("--basic", help="Ask for the password by Basic, not Digest.")
    ] = False,
    footage: Annotated[
        Path | None, typer.Option(help="Play the files of this folder.", file_okay=False, exists=True)
    ] = None,
    scenes: Annotated[
        bool, typer.Option("--scenes", help="Play made-up street scenes too (the default without files).")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder that keeps the made-up scenes.")] = None,
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads that serve.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
) -> None:
    """Plays files or made-up street scenes as cameras over RTSP until Ctrl-C.

    Prints each camera's addresses and the wall time at which its media time is
    zero. H.264 and H.265 with sound in AAC or G.711 are played as they are.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    sources = _sources(files or [], footage, scenes=scenes, cameras=cameras)
    cache = cache or Path(typer.get_app_dir("nvr")) / "scenes"
    with SimulatedCameras(
        listen, user=user, password=password, digest=not basic, threads=threads, cache=cache
    ) as server:
        if not as_json:
            Console(stderr=True).print("Preparing media …")
        server.add_many(cameras or len(sources), sources)
        _show(server.cameras, as_json=as_json)
        stop.wait()


def _sources(
    files: list[Path], footage: Path | None, *, scenes: bool, cameras: int
) -> list[tuple[Source, Source | None]]:
    played = [*files]
    if footage is not None:
        found = sorted(path for path in footage.iterdir() if path.suffix.lower() in _SUFFIXES)
        if not found:
            raise InvalidArgument(
                f"--footage: {footage} holds no file to play ({', '.join(sorted(_SUFFIXES))})"
            )
        played += found
    sources: list[tuple[Source, Source | None]] = [(path, None) for path in played]
    if scenes or not sources:
        sources += street_scenes(cameras or 4)
    return sources


def _show(cameras: tuple[SimulatedCamera, ...], *, as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "name": camera.name,
                "main_url": camera.main_url,
                "sub_url": camera.sub_url,
                "zero_us": camera.zero_us,
            }
            for camera in cameras
        ]
        print(json.dumps({"cameras": rows}), flush=True)
        return
    table = Table("camera", "main", "sub", "media time zero (UTC)")
    for camera in cameras:
        zero = datetime.fromtimestamp(camera.zero_us / 1_000_000, UTC)
        table.add_row(camera.name, camera.main_url, camera.sub_url, zero.isoformat(timespec="milliseconds"))
    console = Console()
    console.print(table)
    console.print("Ctrl-C stops.")
