"""Child processes of a command: started by exec, watched, and ended by their id."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, Self

from nvr.errors import InternalError, NodeUnavailable

_POLITE_S = 15.0


class NvrChild:
    """``nvr …`` in a process of its own, which says that it is ready by a line of JSON.

    It has a session of its own: Ctrl-C in the terminal reaches only us, and we
    end the children in order.
    """

    def __init__(self, what: str, arguments: Sequence[str]) -> None:
        self._what = what
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nvr", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"nvr-{what}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        if self._process.stdout is not None:
            with self._process.stdout as lines:
                for line in lines:
                    self._lines.put(line)
        self._lines.put(None)

    def ready(self, timeout_s: float) -> dict[str, Any]:
        """What it says when it is ready; raises :exc:`nvr.errors.NodeUnavailable` when it does not."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise NodeUnavailable(f"the {self._what} was not ready after {timeout_s:.0f} s") from None
        if line is None:
            self.check()
            raise NodeUnavailable(f"the {self._what} closed its output without saying that it is ready")
        said = json.loads(line)
        if not isinstance(said, dict):
            raise InternalError(f"the {self._what} said {line!r} instead of its addresses")
        return said

    def check(self) -> None:
        """Raises :exc:`nvr.errors.NodeUnavailable` when it has ended."""
        code = self._process.poll()
        if code is not None:
            raise NodeUnavailable(f"the {self._what} ended with exit code {code}; its last words are above")

    def stop(self) -> None:
        """Ends it: politely, and by force when it does not go."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_POLITE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._reader.join()

    def kill(self) -> None:
        """Ends it as a power cut does."""
        self._process.kill()
        self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
