"""The private event loop that the sync client drives the async one on.

There is one loop thread for all sync connections of a process: gRPC's asyncio
transport likes one loop best, and the logic exists once, in the async classes.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

from nvr.errors import Closed, InternalError

T = TypeVar("T")

_lock = threading.Lock()
_shared: Portal | None = None


class Portal:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._users = 0
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name="nvr-client", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        # The runner cancels what is left and closes asynchronous generators.
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stopped.wait())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the loop and returns its result.

        When the caller is interrupted (Ctrl-C), the coroutine is cancelled, its
        clean-up is waited for, and the interruption goes on.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise InternalError(
                "a blocking call was made on the client's own event loop; use nvr.connect_async there"
            )
        if not self._thread.is_alive():
            coroutine.close()
            raise Closed("the connection is closed; open a new one with nvr.connect(...)")
        outcome: Future[T] = Future()
        task: asyncio.Task[T] | None = None

        def start() -> None:
            nonlocal task
            task = self._loop.create_task(coroutine)
            task.add_done_callback(settle)

        def settle(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                outcome.cancel()
                outcome.set_running_or_notify_cancel()
            elif (error := task.exception()) is not None:
                outcome.set_exception(error)
            else:
                outcome.set_result(task.result())

        def abandon() -> None:
            if task is not None:
                task.cancel()
            elif not outcome.done():
                # Interrupted before the start was scheduled.
                coroutine.close()
                outcome.cancel()
                outcome.set_running_or_notify_cancel()

        try:
            self._loop.call_soon_threadsafe(start)
            return outcome.result()
        except CancelledError:
            raise Closed("the connection was closed during the call") from None
        except (KeyboardInterrupt, SystemExit):
            self._loop.call_soon_threadsafe(abandon)
            wait([outcome])
            raise

    def stop(self) -> None:
        """Ends the loop and its thread; tasks still running are cancelled."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(lambda: self._stopped.set())
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether calls can be run."""
        return self._thread.is_alive()


def acquire() -> Portal:
    """The process's portal, started when there is none; give it back with :func:`release`."""
    global _shared
    with _lock:
        if _shared is None or not _shared.alive:
            _shared = Portal()
        _shared._users += 1
        return _shared


def release(portal: Portal) -> None:
    """Gives a portal back; the last user stops it."""
    global _shared
    with _lock:
        portal._users -= 1
        if portal._users > 0:
            return
        if _shared is portal:
            _shared = None
    portal.stop()


@atexit.register
def _stop_at_exit() -> None:
    portal = _shared
    if portal is not None:
        portal.stop()
