"""Clips of many cameras at once."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from nvr.client._clip import AsyncClip, ClipPlan
from nvr.client._estimate import estimate_text, seconds_for
from nvr.client._progress import Progress
from nvr.client._save import part_paths, saved_part
from nvr.client._show import Shown, View, notice_text, size_text
from nvr.client._stream import AsyncStream
from nvr.client._values import ClipReport, SavedPart
from nvr.errors import NoFootage, NvrError, StoreError
from nvr.footage.places import Found
from nvr.footage.source import FootageSource
from nvr.footage.time import format_instant, to_datetime
from nvr.footage.types import Camera, ClipPart, ClipRequest, Gap, Notice, ReadContext, StreamName, TimeRange

_COLUMNS = ("camera", "node", "size", "files", "not recorded / why not")


@dataclass(frozen=True, slots=True, repr=False)
class Collected(Shown):
    """What came of one camera.

    ``report`` is None when nothing was saved: then ``reason`` says why, in a
    stable word (a gap reason, a warning code, or that of an error), and
    ``detail`` in a sentence. ``failed``: there may be footage all the same. On a
    dry run ``report`` is None, ``reason`` empty.
    """

    camera: Camera
    size_bytes: int
    gaps: tuple[Gap, ...] = ()
    report: ClipReport | None = None
    reason: str = ""
    detail: str = ""
    failed: bool = False
    planned: tuple[ClipPart, ...] = ()
    """On a dry run: the files that there would be."""

    @property
    def complete(self) -> bool:
        """Nothing that is recorded is missing."""
        return not self.failed and (self.report is None or self.report.complete)

    def row(self) -> tuple[str, ...]:
        """Camera, node, size, files, and what is not recorded or why there is nothing."""
        return (
            self.camera.name,
            self.camera.node,
            size_text(self.size_bytes) if self.size_bytes else "",
            "; ".join(str(part.path) for part in self.report.parts) if self.report else self.reason,
            self.detail or ", ".join(sorted({gap.reason for gap in self.gaps})),
        )

    def view(self) -> View:
        """What there is to see."""
        return View(f"collected of {self.camera.name}", _COLUMNS, [self.row()])

    def __repr__(self) -> str:
        return f"<Collected {self.camera.name}: {self.reason or size_text(self.size_bytes)}>"


@dataclass(frozen=True, slots=True, repr=False)
class CollectReport(Shown, Sequence[Collected]):
    """What a collection brought, camera by camera, and what is missing."""

    folder: Path
    range: TimeRange
    items: tuple[Collected, ...]
    warnings: tuple[Notice, ...]
    complete: bool
    """Every node that can hold footage answered, and everything recorded was saved."""

    @overload
    def __getitem__(self, index: int) -> Collected: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Collected, ...]: ...
    def __getitem__(self, index: int | slice) -> Collected | tuple[Collected, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Collected]:
        return iter(self.items)

    @property
    def missing(self) -> tuple[Collected, ...]:
        """Cameras of which nothing was saved."""
        return tuple(item for item in self.items if item.report is None)

    @property
    def size_bytes(self) -> int:
        """All files together; on a dry run what they would be."""
        return sum(item.size_bytes for item in self.items)

    @property
    def seconds(self) -> float | None:
        """On a dry run: about how long it would take; None: no line is known to be slow."""
        return seconds_for([part for item in self.items for part in item.planned])

    @property
    def estimate(self) -> str:
        """The same for people, with the slowest line; empty when it is None."""
        return estimate_text([part for item in self.items for part in item.planned])

    def view(self) -> View:
        """What there is to see."""
        rows = [item.row() for item in self.items]
        saved = len(self.items) - len(self.missing)
        title = (
            f"{saved} of {len(self.items)} cameras, {size_text(self.size_bytes)}, "
            f"from {format_instant(self.range.start_us)} to {format_instant(self.range.end_us)}"
        )
        notes = [notice_text(warning) for warning in self.warnings]
        if self.estimate:
            notes.append(f"it would take {self.estimate}")
        if not self.complete:
            notes.append("something that may be recorded is missing")
        return View(title, _COLUMNS, rows, notes)

    def __repr__(self) -> str:
        return f"<CollectReport {self.view().title}>"


class Collector:
    """One collection into one folder."""

    def __init__(
        self,
        source: FootageSource,
        context: Callable[[], ReadContext],
        folder: Path,
        range_: TimeRange,
        *,
        stream: StreamName,
        audio: bool,
        parallel: int,
        overwrite: bool,
        retries: int,
        dry_run: bool,
        progress: Callable[[Progress], None],
    ) -> None:
        self._source = source
        self._context = context
        self._folder = folder
        self._range = range_
        self._stream: StreamName = stream
        self._audio = audio
        self._slots = asyncio.Semaphore(parallel)
        self._overwrite = overwrite
        self._retries = retries
        self._dry_run = dry_run
        self._progress = progress

    async def collect(self, found: AsyncStream[Found]) -> CollectReport:
        """Starts with the first camera found, while others are still being looked for."""
        if not self._dry_run:
            await asyncio.to_thread(self._make_folder)
        errors: Sequence[Exception] = ()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(each)) async for each in found]
        except* NvrError as failed:
            # Of what ends all of it, one tells enough: a full disk, a part that was refused.
            errors = failed.exceptions
        if errors:
            raise errors[0]
        items = tuple(task.result() for task in tasks)
        complete = bool(found.complete) and not found.cursor and all(item.complete for item in items)
        return CollectReport(self._folder, self._range, items, found.warnings, complete)

    async def _one(self, found: Found) -> Collected:
        camera, gaps = found.camera, found.gaps
        if not found.coverage:
            detail = "its node did not answer: the warnings say why"
            return Collected(camera, 0, reason="node_unreachable", detail=detail, failed=True)
        if not found.spans:
            return Collected(camera, 0, gaps, reason=gaps[0].reason, detail=gaps[0].detail)
        request = ClipRequest(camera.id, self._range, self._stream, self._audio)
        clip = AsyncClip(self._source, self._context, request)
        async with self._slots:
            try:
                if self._dry_run:
                    plan = await clip.plan()
                    return Collected(camera, plan.size_bytes, plan.gaps, planned=plan.parts)
                report = await self._save(clip, self._folder / self._name(camera))
            except NoFootage as error:
                # Retention was faster.
                return Collected(camera, 0, gaps, reason=error.reason.lower(), detail=error.message)
            except StoreError as error:
                if error.errno != errno.EEXIST:
                    raise  # a full disk concerns all
                return Collected(camera, 0, gaps, reason="exists", detail=error.message, failed=True)
            except NvrError as error:
                reason = error.reason.lower()
                return Collected(camera, 0, gaps, reason=reason, detail=error.message, failed=True)
        return Collected(camera, sum(part.size_bytes for part in report.parts), report.gaps, report)

    async def _save(self, clip: AsyncClip, path: Path) -> ClipReport:
        """Saves a clip, unless an earlier collection has done so."""
        if not self._overwrite and await asyncio.to_thread(_begun, path):
            plan = await clip.plan()
            done = await asyncio.to_thread(_saved_before, path, plan)
            if done is not None:
                return ClipReport(
                    camera=plan.camera,
                    range=self._range,
                    parts=done,
                    gaps=plan.gaps,
                    warnings=plan.warnings,
                    complete=plan.complete,
                    resumed_bytes=plan.size_bytes,
                    retries=0,
                )
        return await clip.save(
            path, progress=self._progress, overwrite=self._overwrite, retries=self._retries
        )

    def _name(self, camera: Camera) -> str:
        # Names are unique within their node only.
        words = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{camera.node}_{camera.name}".strip("_"))
        return f"{words}_{to_datetime(self._range.start_us):%Y%m%dT%H%M%SZ}.mp4"

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self._folder}: the folder cannot be made: {error.strerror}", error.errno, str(self._folder)
            ) from error


def _begun(path: Path) -> bool:
    return path.exists() or part_paths(path, 2)[0].exists()


def _saved_before(path: Path, plan: ClipPlan) -> tuple[SavedPart, ...] | None:
    """The files of a clip that is whole on disk: a file gets its name only when it is."""
    paths = part_paths(path, len(plan.parts))
    if all(
        file.exists() and file.stat().st_size == part.size_bytes
        for file, part in zip(paths, plan.parts, strict=True)
    ):
        return tuple(saved_part(part, file) for file, part in zip(paths, plan.parts, strict=True))
    return None
