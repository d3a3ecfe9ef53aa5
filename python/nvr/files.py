"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nvr.errors import StoreError


@contextmanager
def file_errors(what: str, path: Path) -> Iterator[None]:
    """Turns what the file system says into :exc:`nvr.errors.StoreError`, with errno and the path."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        message = f"{what} {path}: {error.strerror or error}"
        raise StoreError(message, error.errno, str(path)) from error


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file beside its place, syncs it, and renames it into place."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with file_errors("cannot write", path):
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        sync_folder(path.parent)
    return path
