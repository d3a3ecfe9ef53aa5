"""How long it takes to make a clip as a file on disk, beside ffmpeg and cp."""

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benches import stores
from benches.harness import Row, Settings, medians_by_turns, program
from nvr._core import Store

MIN_SPEED = 20
MAX_MINUTE_MS = 8.0
MAX_CP_RATIO = 1.2
MS = 1000.0


def ffmpeg_clip(segments: list[str], first_start_us: int, start_us: int, seconds: float, out: Path) -> None:
    """The same with ffmpeg: the segments that hold the range, one after another, cut without recoding."""
    playlist = out.with_suffix(".txt")
    playlist.write_text("".join(f"file '{segment}'\n" for segment in segments))
    command = [
        *(program("ffmpeg"), "-nostdin", "-loglevel", "error", "-y", "-f", "concat", "-safe", "0"),
        # After the input: before it, ffmpeg 5 finds no place inside a fragmented file, begins at the
        # start of the segment and copies up to a minute too much.
        *("-i", str(playlist), "-ss", f"{(start_us - first_start_us) / 1e6:.6f}", "-t", f"{seconds:g}"),
        *("-c", "copy", str(out)),
    ]
    subprocess.run(command, check=True)


def measure_one(settings: Settings, store: Store, start_us: int, seconds: float, repeats: int) -> list[Row]:
    """One clip: by us, by ffmpeg from the same segments, and a plain copy of the result."""
    end_us = start_us + int(seconds * 1_000_000)
    ours, theirs, copy = (settings.work / name for name in ("clip.mp4", "clip-ffmpeg.mp4", "clip-cp.mp4"))

    def by_us() -> None:
        plan = store.clip(stores.CAMERA, "main", start_us, end_us)
        if len(plan.parts) != 1 or plan.gaps:
            raise RuntimeError(f"{len(plan.parts)} parts, gaps {plan.gaps}: one and none were written")
        # Neither ffmpeg nor cp waits for the disk.
        plan.parts[0].save(ours, durable=False)

    fragments = store.fragments(stores.CAMERA, "main", start_us, end_us)
    segments = list(dict.fromkeys(fragment.segment for fragment in fragments))
    first = next(
        found
        for found in store.fragments(stores.CAMERA, "main", fragments[0].start_us - 120_000_000, end_us)
        if found.segment == segments[0]
    )

    def by_ffmpeg() -> None:
        ffmpeg_clip(segments, first.start_us, start_us, seconds, theirs)

    def by_cp() -> None:
        subprocess.run([program("cp"), "--reflink=never", str(ours), str(copy)], check=True)

    def away(path: Path) -> Callable[[], None]:
        return partial(path.unlink, missing_ok=True)

    taken = medians_by_turns(
        [by_us, by_ffmpeg, by_cp], repeats, prepare=[away(ours), away(theirs), away(copy)]
    )
    our_ms, ffmpeg_ms, cp_ms = (MS * seconds_taken for seconds_taken in taken)
    size_mb = ours.stat().st_size / 1e6
    if not 0.8 < theirs.stat().st_size / 1e6 / size_mb < 1.25:
        raise RuntimeError("ffmpeg's clip is not of the same size: the two do not do the same work")
    what = f"clip of {seconds:g} s ({size_mb:.0f} MB)"
    minute = seconds == 60
    fast = our_ms * MIN_SPEED <= ffmpeg_ms and our_ms <= MAX_MINUTE_MS if minute else None
    beside_cp = None if minute else our_ms <= MAX_CP_RATIO * cp_ms
    for path in (ours, theirs, copy):
        path.unlink()
    return [
        Row(
            what, our_ms, "ms", "ffmpeg -c copy", ffmpeg_ms,
            f"≤ {MAX_MINUTE_MS:g} ms, ≥ {MIN_SPEED} × ffmpeg's speed" if minute else "", fast,
        ),
        Row(
            what, our_ms, "ms", "cp of the finished clip", cp_ms,
            "" if minute else f"≤ {MAX_CP_RATIO} × cp", beside_cp,
        ),
    ]  # fmt: skip


def measure(settings: Settings) -> list[Row]:
    """A minute, and as long as the store goes (an hour)."""
    settings.say(f"  writing {settings.clip_hours:g} h of footage")
    written = stores.hours_of_footage(settings.work, settings.clip_hours)
    store = Store([str(written.root)], read_only=True)
    # Off the segments' borders, as an officer's question is.
    inside_us = 777_000
    long_s = int(settings.clip_hours * 3600) - 2
    try:
        middle_us = (written.start_us + written.end_us) // 2 + inside_us
        rows = measure_one(settings, store, middle_us, 60, settings.repeats)
        rows += measure_one(
            settings, store, written.start_us + inside_us, long_s, max(3, settings.repeats // 3)
        )
    finally:
        store.close()
        shutil.rmtree(written.root)
    settings.conditions.append(
        "Clips: planned and written to a new file on the same file system, page cache warm, median of "
        f"{settings.repeats} (long: {max(3, settings.repeats // 3)}) after one that does not count; "
        "the file of the turn before is removed off the clock. "
        "Ours is called inside a running Python process, as a node does it; ffmpeg and cp include the "
        "start of their process, as whoever calls them pays. ffmpeg reads the same segment files by its "
        "concat demuxer, is given only those that hold the range, and can cut at keyframes only. None "
        "of them waits for the disk (ours does by default)."
    )
    return rows
