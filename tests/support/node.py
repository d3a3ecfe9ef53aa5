"""A node in memory, in a process of its own."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.processes import child


@contextmanager
def memory_node() -> Iterator[str]:
    """Its address."""
    with child("-m", "tests.support.memory_node") as process:
        yield json.loads(process.wait_line(lambda line: line.startswith("{")))["address"]
