"""How much memory that is free the process keeps, to use it again, and what goes back to the system."""

import ctypes
import os
from contextlib import suppress
from functools import cache

__all__ = ["give_back_freed_memory", "keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")

_LARGEST_OF_HEAP_BYTES = 4 << 20
"""What is larger, glibc maps and unmaps each time. Messages of footage are 1 MiB."""
_KEPT_BYTES = 8 << 20
"""What a clip has on its way. Twice as much makes none faster, and each gateway on the way keeps it."""


@cache
def keep_freed_memory() -> bool:
    """Lets ``malloc`` keep up to 8 MiB that are free at the end of a heap, to be used again.

    A message of footage lives for a millisecond. By itself glibc gives most of what it took back to the
    system, and gets it again, page by page and zeroed, for the next one: a third of what a clip over gRPC
    costs. Process-wide, done once. False: nothing is changed, since the environment says how malloc is to
    be, or since this is not glibc (mallopt(3)).
    """
    if any(name in os.environ for name in _SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    settings = ((_M_MMAP_THRESHOLD, _LARGEST_OF_HEAP_BYTES), (_M_TRIM_THRESHOLD, _KEPT_BYTES))
    return all(mallopt(what, size) == 1 for what, size in settings)


def give_back_freed_memory() -> None:
    """Gives the system every whole page that is free, wherever it lies; some milliseconds.

    By itself glibc gives back only the end of a heap: what a burst took, and pieces of different sizes that
    come and go for days, would stay (malloc_trim(3)). Nothing happens where this is not glibc.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
