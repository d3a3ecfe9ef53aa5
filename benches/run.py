"""``make bench``: runs the measurements and writes ``benches/RESULTS.md``."""

import argparse
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nvr._core
from benches import (
    clip_over_grpc,
    clips,
    days,
    digests,
    federation,
    live,
    province,
    province_day,
    recording,
    seek,
    simulating,
    streams,
)
from benches.harness import Row, Settings, first_line, page, program, table

RESULTS = Path(__file__).with_name("RESULTS.md")
MEASUREMENTS = {
    "recording": recording.measure,
    "streams": streams.measure,
    "digests": digests.measure,
    "simulator": simulating.measure,
    "seek": seek.measure,
    "days": days.measure,
    "clips": clips.measure,
    "clip-over-grpc": clip_over_grpc.measure,
    "live": live.measure,
    "province": province.measure,
    "province-day": province_day.measure,
    "federation": federation.measure,
}


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="only this; writes no page")
    parser.add_argument("--work", type=Path, help="folder for footage, 5 GB free (default: temporary)")
    parser.add_argument("--cameras", type=int, default=Settings.cameras)
    parser.add_argument("--window", type=float, default=Settings.window_s, help="seconds measured each turn")
    parser.add_argument("--soak", type=float, default=Settings.soak_s, help="seconds of the whole node")
    parser.add_argument("--streams", type=int, default=Settings.streams, help="cameras of the whole node")
    parser.add_argument("--quick", action="store_true", help="does everything run? Writes no page")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Exit status 1 when a floor is not met."""
    asked = arguments(words)
    if nvr._core.__debug_build__:
        print("nvr._core is a debug build: its figures mean nothing (make venv)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="nvr-bench-", dir=asked.work) as work:
        settings = Settings(work=Path(work), cameras=asked.cameras, window_s=asked.window)
        settings.soak_s, settings.streams = asked.soak, asked.streams
        if asked.quick:
            settings.cameras, settings.window_s, settings.rounds, settings.repeats = 4, 5.0, 1, 3
            settings.clip_hours, settings.seek_days, settings.seeks, settings.live_s = 0.05, 1, 2000, 5.0
            settings.day_s, settings.full = 10.0, False
            settings.soak_s, settings.streams, settings.store_days = 20.0, 4, 3
        rows: list[Row] = []
        for name, measure in MEASUREMENTS.items():
            if not asked.only or name in asked.only:
                print(f"{name} …", flush=True)
                rows += measure(settings)
    print(table(rows))
    if not asked.only and not asked.quick:
        versions = [
            f"nvr {nvr._core.__version__}, Python {platform.python_version()}",
            first_line("rustc", "--version"),
            first_line(program("ffmpeg"), "-version"),
            first_line(program("cp"), "--version"),
        ]
        RESULTS.write_text(page(rows, versions, settings.conditions), encoding="utf-8")
        print(f"written: {RESULTS}")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
