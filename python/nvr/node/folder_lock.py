"""One node for each folder: two would write over one another."""

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from nvr.errors import StoreError

__all__ = ["FolderLocks"]

FILE_NAME = ".lock"


class FolderLocks:
    """Holds the file ``.lock`` of each folder; the system lets go of it however the process ends."""

    def __init__(self, stores: Iterable[Path], owner: str) -> None:
        """Makes the folders that are missing. ``owner``: told to others that want the folder.

        Raises :exc:`StoreError`, also when another process has one of them.
        """
        self._owner = f"{owner}, process {os.getpid()}"
        self._files: dict[Path, int] = {}
        try:
            for store in stores:
                self.take(store)
        except BaseException:
            self.close()
            raise

    def take(self, store: Path) -> None:
        """Locks a folder; anew if it is: another disk may lie there by now.

        Raises :exc:`StoreError`, also when another process has it.
        """
        before = self._files.pop(store, None)
        if before is not None:
            os.close(before)
        self._files[store] = _lock(store, self._owner)

    def close(self) -> None:
        """Lets go."""
        while self._files:
            os.close(self._files.popitem()[1])

    def __enter__(self) -> "FolderLocks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(store: Path, owner: str) -> int:
    path = store / FILE_NAME
    try:
        store.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"{store}: the folder cannot be used: {error}", error.errno, str(store)) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(file, 0)
        os.pwrite(file, owner.encode(), 0)
    except BlockingIOError as error:
        other = os.pread(file, 200, 0).decode("utf-8", "replace")
        os.close(file)
        raise StoreError(
            f"{store}: another process is using this folder ({other}); stop it first",
            error.errno,
            str(path),
        ) from None
    except OSError as error:
        os.close(file)
        raise StoreError(f"{path}: the folder cannot be locked: {error}", error.errno, str(path)) from error
    return file
