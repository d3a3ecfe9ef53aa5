"""The record of who looked at what, through which every read passes.

One JSON object a line, appended to ``<data>/audit.jsonl``. Every call leaves a
``closed`` line with its outcome and bytes. Calls that disclose pictures leave an
``opened`` line as well, before the first byte is answered; for clips and
fragments, which may become evidence, that line is synced to disk first: when it
cannot be written, nothing is disclosed.
"""

import asyncio
import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from nvr.errors import StoreError
from nvr.files import sync_folder
from nvr.security.identity import Caller

__all__ = ["AuditEntry", "AuditHook", "AuditLog"]

FILE_NAME = "audit.jsonl"
_MAX_TEXT = 500
_MAX_CAMERAS = 1000
_MAX_WHERE = 5000


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One call: who asks for what, and why. ``caller`` is None when its credentials did not hold.

    ``where``: the place asked for, as JSON of ``nvr.v1.PlaceQuery``.
    """

    request_id: str
    method: str
    caller: Caller | None
    peer: str = ""
    cameras: tuple[str, ...] = ()
    where: str = ""
    stream: str = ""
    start_us: int | None = None
    end_us: int | None = None
    purpose: str = ""
    case_number: str = ""

    def bounded(self) -> "AuditEntry":
        """With texts cut to a length that a refused request cannot exceed."""
        return replace(
            self,
            request_id=self.request_id[:_MAX_TEXT],
            cameras=tuple(camera[:_MAX_TEXT] for camera in self.cameras[:_MAX_CAMERAS]),
            where=self.where[:_MAX_WHERE],
            purpose=self.purpose[:_MAX_TEXT],
            case_number=self.case_number[:_MAX_TEXT],
        )


class AuditHook(Protocol):
    """Where the record goes. An error of either method fails the call."""

    async def opened(self, entry: AuditEntry, *, durable: bool) -> None:
        """Before the first byte is answered; ``durable``: returns when it is on disk."""

    async def closed(self, entry: AuditEntry, *, outcome: str, sent_bytes: int) -> None:
        """After the last byte. ``outcome``: ``OK``, ``CANCELLED``, or the problem's reason."""


class AuditLog:
    """The record in a file, which is only ever appended to."""

    def __init__(self, folder: Path) -> None:
        """Opens or makes ``audit.jsonl``; a line torn by a crash is ended. Raises :exc:`StoreError`."""
        self._path = folder / FILE_NAME
        self._lock = threading.Lock()
        # A thread of its own: others that wait for a disk or a camera do not keep an answer waiting.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="nvr-audit")
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            size = os.fstat(self._file).st_size
            self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"
            sync_folder(folder)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot open: {error}", error.errno, str(self._path)) from error

    def close(self) -> None:
        """Syncs and closes the file, once what is under way is written."""
        self._writer.shutdown()
        with self._lock:
            if self._file >= 0:
                os.fsync(self._file)
                os.close(self._file)
                self._file = -1

    async def opened(self, entry: AuditEntry, *, durable: bool) -> None:
        """Appends an ``opened`` line. Raises :exc:`StoreError`."""
        await asyncio.to_thread(self._append, _line("opened", entry), durable)

    async def closed(self, entry: AuditEntry, *, outcome: str, sent_bytes: int) -> None:
        """Appends a ``closed`` line. Raises :exc:`StoreError`."""
        line = _line("closed", entry, outcome=outcome, sent_bytes=sent_bytes)
        # Awaited at its line and not by a task: it is done in every call.
        await asyncio.get_running_loop().run_in_executor(self._writer, self._append, line, False)

    def _append(self, line: bytes, durable: bool) -> None:
        try:
            with self._lock:
                data = b"\n" + line if self._torn else line
                written = os.write(self._file, data)
                self._torn = written < len(data)
                if durable and not self._torn:
                    os.fdatasync(self._file)
        except OSError as error:
            raise StoreError(
                f"{self._path}: the audit record cannot be written: {error.strerror}; so nothing is answered",
                error.errno,
                str(self._path),
            ) from error
        if written < len(data):
            raise StoreError(
                f"{self._path}: the audit record was cut (disk full?), so nothing is answered",
                errno.ENOSPC,
                str(self._path),
            )


def _line(event: str, entry: AuditEntry, **more: Any) -> bytes:
    values: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "event": event,
        "request_id": entry.request_id,
        "method": entry.method,
        "caller": None if entry.caller is None else str(entry.caller),
        "peer": entry.peer,
        "cameras": entry.cameras,
        "where": entry.where,
        "stream": entry.stream,
        "start_us": entry.start_us,
        "end_us": entry.end_us,
        "purpose": entry.purpose,
        "case_number": entry.case_number,
        **more,
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
