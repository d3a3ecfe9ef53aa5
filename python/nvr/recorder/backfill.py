"""Filling a copy: what the node that recorded has and this one has not, fetched, verified, kept.

A pass asks the source what it has, compares that run by run with what is held,
and fetches what is missing, the newest run first, in batches of bounded size. A
batch counts as copied when it is on stable storage. So a cut or a restart costs
at most the batch that was under way: the next pass finds what is there.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nvr.errors import DamagedError, LimitExceeded, NvrError
from nvr.footage.source import FootageSource
from nvr.footage.types import (
    End,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    Notice,
    ReadContext,
    Span,
    StreamName,
    TimeRange,
)
from nvr.recorder.backfill_plan import MissingRun, missing_fragments, missing_runs, untold_gaps
from nvr.recorder.rate_limit import RateLimiter
from nvr.recorder.read_pool import ReadPool

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["Backfill", "CopyJob", "CopyStatus"]

logger = logging.getLogger("nvr.recorder")

_CONTEXT = ReadContext(purpose="copy")
_LISTED = 1000
"""References that are asked for at once: half an hour of footage, 200 kB."""
_BATCH_BYTES = 16 << 20
"""About a minute of a main stream: a segment is written once, not in pieces."""
_BATCH_FRAGMENTS = 64
_REFUSED_S = 600.0
_MOST_STRETCHES = 100_000
"""Of one coverage: more than a camera that breaks off every six seconds has in a week."""


@dataclass(frozen=True, slots=True)
class CopyJob:
    """Which stream to copy from where; ``since_us``: how far back, from now."""

    source: FootageSource
    camera_id: str
    stream: StreamName
    since_us: int


@dataclass(slots=True)
class CopyStatus:
    """How far a job is; for metrics and people."""

    fragments: int = 0
    """Copied since the node started."""
    bytes: int = 0
    """Of them."""
    runs_behind: int = 0
    """Runs of which something is missing, as of the last look."""
    behind_us: int = 0
    """How much footage that was."""
    complete_us: int = 0
    """When nothing was missing last; 0: never since the node started."""
    last_error: str = ""
    """Why the last pass did not come to its end; empty: it did."""
    refused: dict[str, str] = field(default_factory=dict)
    """Runs that are left alone for a while, and why."""


class Backfill:
    """Fills copies in a store. One object serves all jobs; passes of different jobs may run at once."""

    def __init__(
        self,
        store: "_core.Store",
        pool: ReadPool,
        limiter: RateLimiter | None = None,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``limiter``: what all jobs together may fetch; None: as much as comes."""
        self._store = store
        self._pool = pool
        self._limiter = limiter
        self._now_us = now_us
        self._now_s = now_s
        self._status: dict[tuple[str, StreamName], CopyStatus] = {}
        self._refused: dict[tuple[str, StreamName, str], float] = {}

    def status(self, camera_id: str, stream: StreamName) -> CopyStatus:
        """How far the copy of a stream is."""
        return self._status.setdefault((camera_id, stream), CopyStatus())

    async def fill(self, job: CopyJob) -> bool:
        """One pass: fetches what is missing now. True: nothing is missing any more that could be had.

        Raises what the source or the store raises; what was fetched until then stays, and the next pass
        goes on from there. A run whose bytes are not what they should be is left alone for ten minutes.
        """
        status = self.status(job.camera_id, job.stream)
        try:
            complete = await self._pass(job, status)
        except NvrError as error:
            status.last_error = f"{error.reason}: {error.message}"
            raise
        status.last_error = ""
        if complete:
            status.complete_us = self._now_us()
        return complete

    async def _pass(self, job: CopyJob, status: CopyStatus) -> bool:
        now_us = self._now_us()
        range = TimeRange(max(now_us - job.since_us, 0), now_us)
        spans, gaps = await self._theirs(job, range)
        missing = missing_runs(spans, await self._held(job, range), await self._unwanted(job, range))
        for run_id in status.refused.keys() - {run.run_id for run in missing}:
            del status.refused[run_id]
        status.runs_behind = len(missing)
        status.behind_us = sum(run.duration_us for run in missing)
        complete = True
        for run in missing:
            if self._is_refused(job, status, run.run_id):
                complete = False
                continue
            try:
                await self._copy(job, run, status)
            except (DamagedError, LimitExceeded) as error:
                # A lie, damage on the way or there, or too old: no reason to leave the other runs.
                self._refuse(job, status, run.run_id, error)
                complete = False
                continue
            status.runs_behind -= 1
            status.behind_us -= run.duration_us
        if complete:
            await self._tell_gaps(job, range, gaps)
        return complete

    async def _theirs(self, job: CopyJob, range: TimeRange) -> tuple[list[Span], list[Gap]]:
        spans, gaps = [], []
        async for step in job.source.coverage(_CONTEXT, job.camera_id, job.stream, range):
            if isinstance(step, Span):
                spans.append(step)
            elif isinstance(step, Gap):
                gaps.append(step)
            if len(spans) + len(gaps) > _MOST_STRETCHES:
                raise DamagedError(f"the source tells of more than {_MOST_STRETCHES} spans and gaps")
        return spans, gaps

    async def _held(self, job: CopyJob, range: TimeRange) -> list[Span]:
        runs = await self._pool.run(self._store.runs, job.camera_id, job.stream, range.start_us, range.end_us)
        return [Span(TimeRange(run.start_us, run.end_us), run.run_id, run.epoch) for run in runs]

    async def _our_gaps(self, job: CopyJob, range: TimeRange) -> list[Gap]:
        _, gaps = await self._pool.run(
            self._store.coverage, job.camera_id, job.stream, range.start_us, range.end_us
        )
        return [Gap(TimeRange(gap.start_us, gap.end_us), gap.reason, gap.detail) for gap in gaps]

    async def _unwanted(self, job: CopyJob, range: TimeRange) -> list[TimeRange]:
        """What retention has deleted here is not fetched again."""
        return [gap.range for gap in await self._our_gaps(job, range) if gap.reason == "expired"]

    def _is_refused(self, job: CopyJob, status: CopyStatus, run_id: str) -> bool:
        key = (job.camera_id, job.stream, run_id)
        until_s = self._refused.get(key)
        if until_s is None:
            return False
        if self._now_s() < until_s:
            return True
        del self._refused[key]
        status.refused.pop(run_id, None)
        return False

    def _refuse(self, job: CopyJob, status: CopyStatus, run_id: str, error: NvrError) -> None:
        logger.warning("copy of camera %s: run %s is left for now: %s", job.camera_id, run_id, error)
        self._refused[job.camera_id, job.stream, run_id] = self._now_s() + _REFUSED_S
        status.refused[run_id] = f"{error.reason}: {error.message}"

    async def _copy(self, job: CopyJob, run: MissingRun, status: CopyStatus) -> None:
        """Fetches what is missing of a run. Raises :exc:`DamagedError` and :exc:`LimitExceeded`."""
        writer = await self._pool.run(self._store.copy_writer, job.camera_id, job.stream)
        damaged = ""
        for range in run.ranges:
            held = {(each.run_id, each.sequence) for each in await self._fragments(job, range)}
            async for page in self._listed(job, range):
                # Others than the run's: what the source has, and hides behind this one.
                for stretch in missing_fragments(page, held):
                    if stretch[0].run_id == run.run_id:
                        damaged = await self._fetch(job, writer, stretch, status) or damaged
                    else:
                        await self._fetch_hidden(job, writer, stretch, status)
        if damaged:
            raise DamagedError(damaged)

    async def _fetch_hidden(
        self, job: CopyJob, writer: "_core.CopyWriter", stretch: list[FragmentRef], status: CopyStatus
    ) -> None:
        run_id = stretch[0].run_id
        if not self._is_refused(job, status, run_id):
            try:
                await self._fetch(job, writer, stretch, status)
            except (DamagedError, LimitExceeded) as error:
                self._refuse(job, status, run_id, error)

    async def _fragments(self, job: CopyJob, range: TimeRange) -> "list[_core.Fragment]":
        return await self._pool.run(
            self._store.fragments, job.camera_id, job.stream, range.start_us, range.end_us
        )

    async def _listed(self, job: CopyJob, range: TimeRange) -> AsyncIterator[list[FragmentRef]]:
        """What the source has of a range, without bytes, page by page."""
        cursor, last_us = "", -1
        while True:
            request = FragmentsRequest(
                job.camera_id, range, job.stream, refs_only=True, limit=_LISTED, cursor=cursor
            )
            page: list[FragmentRef] = []
            end = End(complete=True)
            async for step in job.source.read_fragments(_CONTEXT, request):
                if isinstance(step, Fragment):
                    page.append(step.ref)
                elif isinstance(step, End):
                    end = step
                if len(page) > _LISTED:
                    raise DamagedError("the source lists more than it was asked for")
            if not page:
                return
            yield page
            if not end.cursor:
                return
            if page[-1].start_us <= last_us:
                raise DamagedError("the source lists the same again and again")
            cursor, last_us = end.cursor, page[-1].start_us

    async def _fetch(
        self, job: CopyJob, writer: "_core.CopyWriter", stretch: list[FragmentRef], status: CopyStatus
    ) -> str:
        """Copies a stretch of a run. What the source finds damaged itself is told, and left out."""
        # The source ends a fragment where the next one starts: just these are shown by that range.
        range = TimeRange(stretch[0].start_us, stretch[-1].start_us + 1)
        damaged, cursor, left = "", "", len(stretch)
        while True:
            request = FragmentsRequest(
                job.camera_id, range, job.stream, limit=_BATCH_FRAGMENTS, cursor=cursor
            )
            batch, end = _Batch(), End(complete=True)
            try:
                async for step in job.source.read_fragments(_CONTEXT, request):
                    match step:
                        case Fragment():
                            # Runs may overlap; each has its turn.
                            if step.ref.run_id == stretch[0].run_id:
                                await self._pool.run(writer.add, step.config.init_segment, step.data)
                                batch.add(step)
                                left -= 1
                            if batch.bytes >= _BATCH_BYTES:
                                await self._flush(job, writer, batch, status)
                                batch = _Batch()
                            if self._limiter is not None:
                                await self._limiter.take(len(step.data) * 8)
                        case Notice(code="damaged"):
                            damaged = step.message
                        case End():
                            end = step
                    if left < 0:
                        raise DamagedError(f"run {stretch[0].run_id}: the source gives more than it listed")
            finally:
                # Also after a cut: what has come need not come again.
                await self._flush(job, writer, batch, status)
            if not end.cursor:
                return damaged
            if end.cursor == cursor:
                raise DamagedError("the source gives the same again and again")
            cursor = end.cursor

    async def _flush(
        self, job: CopyJob, writer: "_core.CopyWriter", batch: "_Batch", status: CopyStatus
    ) -> None:
        copied = await self._pool.run(writer.flush)
        status.fragments += copied.fragments
        status.bytes += copied.bytes
        if copied.expired:
            raise LimitExceeded(
                "retention has deleted the segment here that this belongs to", facts={"limit": "retention"}
            )
        if not batch.given:
            return
        starts = [ref.start_us for ref in batch.given]
        range = TimeRange(min(starts), max(starts) + 1)
        held = {(each.run_id, each.sequence) for each in await self._fragments(job, range)}
        for ref in batch.given:
            if (ref.run_id, ref.sequence) not in held:
                raise DamagedError(
                    f"run {ref.run_id}, fragment {ref.sequence}: the source gave another than it announced"
                )

    async def _tell_gaps(self, job: CopyJob, range: TimeRange, theirs: list[Gap]) -> None:
        """So that a reader of the copy learns what a reader of the original does."""
        untold = untold_gaps(theirs, await self._our_gaps(job, range), range)
        if untold:
            writer = await self._pool.run(self._store.copy_writer, job.camera_id, job.stream)
            for gap in untold:
                await self._pool.run(
                    writer.absent, gap.range.start_us, gap.range.end_us, gap.reason, gap.detail
                )


class _Batch:
    """What was added to a writer since its last flush."""

    def __init__(self) -> None:
        self.given: list[FragmentRef] = []
        self.bytes = 0

    def add(self, fragment: Fragment) -> None:
        """Notes a fragment."""
        self.given.append(fragment.ref)
        self.bytes += len(fragment.data)
