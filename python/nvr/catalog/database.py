"""A SQLite file that several threads use through one connection."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nvr.errors import StoreError

__all__ = ["Database"]


class Database:
    """One call at a time; what SQLite finds wrong becomes a :exc:`StoreError`.

    What a transaction changed is on disk when it ends. ``what``: what is in the file,
    for messages. ``connection`` is to be used within :meth:`reading` and
    :meth:`transaction` only.
    """

    def __init__(self, path: Path, what: str, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Opens or makes the file; ``prepare`` brings it to the newest schema. Raises :exc:`StoreError`."""
        self._path = path
        self._what = what
        self._lock = threading.Lock()
        try:
            self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {what} cannot be opened: {error}", filename=str(path)) from error
        try:
            with self._errors():
                self.connection.execute("PRAGMA journal_mode = WAL")
                self.connection.execute("PRAGMA synchronous = FULL")
                prepare(self.connection)
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within, nobody else uses the connection."""
        with self._lock, self._errors():
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """The same, and all that is written within is kept, or nothing."""
        with self.reading():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {self._what}: {error}", filename=str(self._path)) from error
