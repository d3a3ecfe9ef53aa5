"""What was recorded: the truth that answers are compared with."""

from bisect import bisect_right
from dataclasses import dataclass

from nvr.footage.types import TimeRange

SECOND = 1_000_000


@dataclass(frozen=True)
class Run:
    """An unbroken stretch: the instants at which its pictures are first shown, and its end."""

    frames_us: tuple[int, ...]
    end_us: int

    @property
    def start_us(self) -> int:
        return self.frames_us[0]


@dataclass(frozen=True)
class RecordedCamera:
    id: str
    name: str
    runs: tuple[Run, ...]
    """In order of time, with something unrecorded between any two."""
    gap_reason: str
    """Of what lies between two runs."""

    @property
    def start_us(self) -> int:
        return self.runs[0].start_us

    @property
    def end_us(self) -> int:
        return self.runs[-1].end_us

    @property
    def frames_us(self) -> list[int]:
        return [start for run in self.runs for start in run.frames_us]

    @property
    def whole(self) -> TimeRange:
        return TimeRange(self.start_us, self.end_us)

    def run_at(self, at_us: int) -> Run | None:
        return next((run for run in self.runs if run.start_us <= at_us < run.end_us), None)

    def frame_at(self, at_us: int) -> int | None:
        """When the picture that is shown at an instant was first shown."""
        run = self.run_at(at_us)
        return None if run is None else run.frames_us[bisect_right(run.frames_us, at_us) - 1]


@dataclass(frozen=True)
class World:
    """``gate`` has two runs with a gap between them, ``yard`` one; both end in the past."""

    node: str
    node_id: str
    gate: RecordedCamera
    yard: RecordedCamera
    pictures_decode: bool
    """False where pictures are stand-ins that no decoder takes."""

    @property
    def cameras(self) -> tuple[RecordedCamera, ...]:
        return tuple(sorted((self.gate, self.yard), key=lambda camera: camera.name))


def regular_run(start_us: int, seconds: int, frames_per_second: int) -> Run:
    step = SECOND // frames_per_second
    frames = tuple(start_us + index * step for index in range(seconds * frames_per_second))
    return Run(frames, frames[-1] + step)
