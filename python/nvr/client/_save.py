"""Saving a clip, so that neither a cut connection nor a killed process fetches a byte twice.

Until a file ``gate.mp4`` is whole, two files lie beside it:

- ``gate.mp4.part``: its bytes so far; locked while a save runs;
- ``gate.mp4.part.json``: which clip, the ETags of its parts, and up to which
  byte the part being fetched has been synced to disk.

A clip of several parts has one such record, and a ``.part`` file for each part
in turn. A save of the same clip to the same name goes on from there. Bytes
after the synced offset are not trusted: after a power failure they may be
anything.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from nvr.client._progress import Progress
from nvr.client._values import ClipReport, SavedPart
from nvr.errors import ClipChanged, InternalError, NodeUnavailable, NoFootage, NvrError, StoreError
from nvr.files import file_errors, sync_folder, write_whole
from nvr.footage.closing import closing
from nvr.footage.source import Answer, FootageSource
from nvr.footage.time import format_instant
from nvr.footage.types import ClipData, ClipHead, ClipPart, ClipRequest, End, Notice, ReadContext

_CHECKPOINT_S = 1.0
_BACKOFF_FIRST_S = 0.25
_BACKOFF_MOST_S = 10.0
_SIDECAR_VERSION = 1


@dataclass(slots=True)
class _Checkpoint:
    """What the sidecar holds."""

    version: int
    camera: str
    stream: str
    start_us: int
    end_us: int
    audio: bool
    etags: list[str]
    part: int
    offset: int

    def is_of(self, other: _Checkpoint) -> bool:
        """Whether both speak of the same bytes."""
        return replace(self, part=0, offset=0) == replace(other, part=0, offset=0)


class ClipSaver:
    """One save of one clip to one name."""

    def __init__(
        self,
        source: FootageSource,
        context: Callable[[], ReadContext],
        request: ClipRequest,
        path: Path,
        *,
        overwrite: bool,
        retries: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self._source = source
        self._context = context
        self._request = request
        self._path = path
        self._overwrite = overwrite
        self._retries = retries
        self._progress = progress
        self._sidecar = path.with_name(path.name + ".part.json")
        self._resumed_bytes = 0
        self._cuts = 0
        self._failures = 0
        self._warnings: list[Notice] = []
        self._complete = True

    async def save(self) -> ClipReport:
        """Saves it; see :meth:`nvr.client.AsyncClip.save`."""
        try:
            return await self._save_parts()
        except ClipChanged:
            # The stored bytes behind the clip are not those any more (a part of the
            # range was deleted, or arrived late): what we have is of no use.
            await _to_thread(self._forget)
            return await self._save_parts()

    async def _save_parts(self) -> ClipReport:
        head = await self._head()
        if not head.parts:
            request = self._request
            reasons = ", ".join(sorted({gap.reason for gap in head.gaps})) or "no reason given"
            raise NoFootage(
                f"{request.camera}: nothing is recorded from {format_instant(request.range.start_us)} "
                f"to {format_instant(request.range.end_us)} ({reasons})"
            )
        names = part_paths(self._path, len(head.parts))
        state = self._start_state(head, names)
        self._refuse_existing(names[state.part :])
        for part in head.parts[state.part :]:
            await self._save_part(state, part, names[part.index])
            state.part, state.offset = part.index + 1, 0
        with file_errors("cannot remove", self._sidecar):
            self._sidecar.unlink(missing_ok=True)
        return ClipReport(
            camera=self._request.camera,
            range=self._request.range,
            parts=tuple(saved_part(part, names[part.index]) for part in head.parts),
            gaps=tuple(head.gaps),
            warnings=tuple(self._warnings),
            complete=self._complete,
            resumed_bytes=self._resumed_bytes,
            retries=self._cuts,
        )

    async def _head(self) -> ClipHead:
        while True:
            try:
                head, self._complete = await read_head(
                    self._source, self._context(), self._request, self._note
                )
            except NodeUnavailable as error:
                await self._back_off(error)
            else:
                return head

    def _start_state(self, head: ClipHead, names: Sequence[Path]) -> _Checkpoint:
        """Where to go on: from the sidecar when it is about these bytes, else from the start."""
        request = self._request
        state = _Checkpoint(
            version=_SIDECAR_VERSION,
            camera=request.camera,
            stream=request.stream,
            start_us=request.range.start_us,
            end_us=request.range.end_us,
            audio=request.audio,
            etags=[part.etag for part in head.parts],
            part=0,
            offset=0,
        )
        left = _read_sidecar(self._sidecar)
        if left is None or not left.is_of(state):
            return state
        for part, path in zip(head.parts, names, strict=True):
            # A part may be in its place although the record does not say so yet: it
            # is written after the rename.
            moved = part.index == left.part and not partial_of(path).exists()
            if (part.index < left.part or moved) and _size_of(path) == part.size_bytes:
                self._resumed_bytes += part.size_bytes
                state.part = part.index + 1
            else:
                if part.index == left.part and left.offset <= min(
                    _size_of(partial_of(path)), part.size_bytes
                ):
                    self._resumed_bytes += left.offset
                    state.offset = left.offset
                break
        return state

    def _refuse_existing(self, paths: Sequence[Path]) -> None:
        if self._overwrite:
            return
        for path in paths:
            if path.exists():
                message = f"{path} exists already: choose another name, or pass overwrite=True"
                raise StoreError(message, errno.EEXIST, str(path))

    async def _save_part(self, state: _Checkpoint, part: ClipPart, path: Path) -> None:
        """Fetches one part into its ``.part`` file, and puts that in its place."""
        partial = partial_of(path)
        with file_errors("cannot write", partial):
            file = partial.open("ab")
        with file:
            _lock(file, path)
            with file_errors("cannot write", partial):
                file.truncate(state.offset)
            try:
                await self._fetch(file, state, part, path.name)
            except ClipChanged:
                raise
            except BaseException:
                # Ctrl-C too: what has arrived is kept for the next attempt.
                if state.part or state.offset:
                    self._checkpoint(file, state)
                else:
                    partial.unlink(missing_ok=True)
                    self._sidecar.unlink(missing_ok=True)
                raise
            await _to_thread(self._put_in_place, file, state, path)

    async def _fetch(self, file: BinaryIO, state: _Checkpoint, part: ClipPart, name: str) -> None:
        """Fetches what is missing of a part; ``state.offset`` follows the bytes written."""
        self._progress(Progress(name, state.offset, part.size_bytes, self._cuts))
        while state.offset < part.size_bytes:
            request = replace(
                self._request, part=part.index, offset=state.offset, if_etag=part.etag, one_part=True
            )
            try:
                await self._take(self._source.read_clip(self._context(), request), file, state, part, name)
            except NodeUnavailable as error:
                cut = error
            else:
                cut = NodeUnavailable(f"the clip was cut at byte {state.offset} of {part.size_bytes}")
            if state.offset < part.size_bytes:
                await _to_thread(self._checkpoint, file, state)
                await self._back_off(cut)

    async def _take(
        self,
        answer: Answer[ClipHead | ClipData],
        file: BinaryIO,
        state: _Checkpoint,
        part: ClipPart,
        name: str,
    ) -> None:
        """Writes what an answer brings of one part."""
        checkpoint_s = time.monotonic()
        async with closing(answer):
            async for step in answer:
                if isinstance(step, Notice):
                    self._note(step)
                elif isinstance(step, End):
                    self._complete = self._complete and step.complete
                    return
                elif isinstance(step, ClipData):
                    if step.part != part.index:
                        # An older node goes on with the next part, which gets its own request.
                        return
                    after = state.offset + step.size
                    if step.offset != state.offset or after > part.size_bytes:
                        raise InternalError(
                            f"the node sent bytes {step.offset} to {step.offset + step.size} of a file "
                            f"of {part.size_bytes} bytes where byte {state.offset} was due; report this"
                        )
                    await _to_thread(_write, file, step.view)
                    state.offset = after
                    self._failures = 0
                    self._progress(Progress(name, after, part.size_bytes, self._cuts))
                    if time.monotonic() - checkpoint_s >= _CHECKPOINT_S:
                        await _to_thread(self._checkpoint, file, state)
                        checkpoint_s = time.monotonic()

    async def _back_off(self, error: NvrError) -> None:
        self._failures += 1
        if self._failures > self._retries:
            raise error
        self._cuts += 1
        most_s = min(_BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2 ** (self._failures - 1))
        await asyncio.sleep(most_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    def _note(self, notice: Notice) -> None:
        if notice not in self._warnings:
            self._warnings.append(notice)

    def _checkpoint(self, file: BinaryIO, state: _Checkpoint) -> None:
        """Syncs the bytes first, then the record that they are there."""
        with file_errors("cannot write", Path(file.name)):
            file.flush()
            os.fdatasync(file.fileno())
        write_whole(self._sidecar, json.dumps(asdict(state)).encode())

    def _put_in_place(self, file: BinaryIO, state: _Checkpoint, path: Path) -> None:
        with file_errors("cannot write", path):
            file.flush()
            os.fsync(file.fileno())
            if len(state.etags) > 1:
                self._checkpoint(file, state)
            partial_of(path).replace(path)
            sync_folder(path.parent)

    def _forget(self) -> None:
        """Removes what an attempt left."""
        left = _read_sidecar(self._sidecar)
        with file_errors("cannot remove", self._sidecar):
            if left is not None:
                for path in part_paths(self._path, len(left.etags)):
                    partial_of(path).unlink(missing_ok=True)
            self._sidecar.unlink(missing_ok=True)
        self._resumed_bytes = 0


async def read_head(
    source: FootageSource, context: ReadContext, request: ClipRequest, note: Callable[[Notice], None]
) -> tuple[ClipHead, bool]:
    """What a clip consists of, and whether that is complete.

    Raises :exc:`nvr.errors.NodeUnavailable` when the answer was cut.
    """
    head: ClipHead | None = None
    complete = False
    async with closing(source.read_clip(context, replace(request, head_only=True))) as answer:
        async for step in answer:
            if isinstance(step, Notice):
                note(step)
            elif isinstance(step, ClipHead):
                head = step
            elif isinstance(step, End):
                complete = step.complete
                break
    if head is None:
        raise NodeUnavailable("the node's answer ended before it said what the clip consists of; ask again")
    if [part.index for part in head.parts] != list(range(len(head.parts))):
        raise InternalError("the node numbered a clip's parts wrongly; report this as a defect")
    return head, complete


def part_paths(path: Path, count: int) -> list[Path]:
    """The files of a clip: the name itself, or ``gate-1.mp4``, ``gate-2.mp4``, … for several parts."""
    if count == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, count + 1)]


def partial_of(path: Path) -> Path:
    """Where a file's bytes are collected until it is whole."""
    return path.with_name(path.name + ".part")


async def _to_thread(function: Callable[..., None], *arguments: object) -> None:
    """Runs a step on disk beside the loop; an interruption waits for its end, so that steps never overlap."""
    step = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"another process is saving to {path}: wait for it, or choose another name"
        raise StoreError(message, error.errno, str(path)) from error


def _write(file: BinaryIO, data: memoryview) -> None:
    with file_errors("cannot write", Path(file.name)):
        file.write(data)


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _read_sidecar(path: Path) -> _Checkpoint | None:
    """The record of an interrupted save; None when there is none that can be understood."""
    try:
        left = _Checkpoint(**json.loads(path.read_bytes()))
        # Somebody may have edited it: then it compares with nothing, or fails here.
        left.part, left.offset = int(left.part), int(left.offset)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return left if left.part >= 0 and left.offset >= 0 else None


def saved_part(part: ClipPart, path: Path) -> SavedPart:
    """A part that lies whole in its file."""
    return SavedPart(
        path=path,
        size_bytes=part.size_bytes,
        range=part.range,
        disclosed=part.disclosed,
        etag=part.etag,
        video_codec=part.video_codec,
        audio_codec=part.audio_codec,
        node=part.node,
    )
