"""What a recorder opens first: its folders and its store. Imports nothing that only serving needs."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from nvr.errors import StoreError
from nvr.node.data_folder import make_data_folder
from nvr.node.folder_lock import FolderLocks
from nvr.recorder.config import Settings

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["Opening"]


class Opening:
    """Locks a recorder's folders at once, and opens its store on a thread of its own.

    After a crash the store is put right first, which takes as long as loading the rest of the program:
    both are done side by side. Raises :exc:`StoreError`: another node has a folder, or the disk of the
    data folder is not there.
    """

    def __init__(self, settings: Settings) -> None:
        from nvr import _core

        node = settings.node
        folder = node.data_folder
        stores = [str(root) for root in node.stores]
        away = _core.Store.missing(stores, beside=[str(folder)])
        if any(folder.is_relative_to(root) for root in away):
            raise StoreError(
                f"{folder}: the node's data folder lies on a disk that is not there: is it mounted?",
                filename=str(folder),
            )
        # Nothing is written where a disk is to be mounted.
        there = [root for root in node.stores if root not in away]
        self.locks = FolderLocks(there, f"node {node.name}")
        try:
            make_data_folder(folder)
        except BaseException:
            self.locks.close()
            raise
        interval_ms = settings.limits.sync_interval // 1000
        self._given = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="nvr-open")
        self._store = self._thread.submit(
            partial(_core.Store, stores, beside=[str(folder)], sync_interval_ms=interval_ms)
        )

    def store(self) -> "_core.Store":
        """The store, once it is open; the caller closes it. Raises what opening it raised."""
        store = self._store.result()
        self._given = True
        return store

    def close(self) -> None:
        """Lets go of the folders, and of a store that nobody took."""
        self._thread.shutdown(wait=True)
        if not self._given and self._store.exception() is None:
            self.store().close()
        self.locks.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
