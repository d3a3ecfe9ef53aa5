"""What a node's process keeps in memory."""

import os
import subprocess
import sys

RELEASES = """
import hashlib, re, sqlite3
from pathlib import Path

import nvr.recorder.node
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nvr import _core

def resident():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"^Rss: +([0-9]+) kB", text, re.MULTILINE)[1]) << 10

before = resident()
released = _core.release_code()
after = resident()
# Each library goes on, with its relocated pointers and what it wrote.
key = Ed25519PrivateKey.generate()
key.public_key().verify(key.sign(b"x"), b"x")
assert hashlib.sha256(b"x").hexdigest().startswith("2d711642")
assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
assert nvr.recorder.node.RecorderNode is not None
print(before, released, after)
"""


def test_code_that_only_starting_ran_leaves_memory_and_all_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", RELEASES], capture_output=True, text=True, check=True)
    before, released, after = map(int, done.stdout.split())
    assert released > 10 << 20
    # Some is in use again by the time it is looked at.
    assert before - after > released // 2


GIVES_BACK = """
import asyncio, re
from pathlib import Path

from nvr.node import process
from nvr.node.lifecycle import Node

def resident():
    text = Path("/proc/self/smaps_rollup").read_text()
    return int(re.search(r"^Rss: +([0-9]+) kB", text, re.MULTILINE)[1]) << 10

class Empty(Node):
    async def _open(self):
        pass

async def watch(node):
    pieces = [b"x" * (64 << 10) for _ in range(1000)]
    full = resident()
    del pieces[::2]
    # Between what is in use: nothing of it is at the end of a heap.
    while resident() > full - (24 << 20):
        await asyncio.sleep(0.05)
    node.stop()

async def main():
    node = Empty("empty")
    watching = asyncio.create_task(watch(node))
    await process._serve(node, "serves", True, None)
    await watching

process._GIVE_BACK_EVERY_S = 0.2
asyncio.run(asyncio.wait_for(main(), 60))
"""


def test_what_is_freed_goes_back_wherever_it_lies() -> None:
    done = subprocess.run([sys.executable, "-c", GIVES_BACK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


USES = """
import resource
from nvr.footage.malloc import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

print(keep_freed_memory())
for _ in range(3):
    before = faults()
    messages = [b"x" * (1 << 20) for _ in range(6)]
    del messages
print(faults() - before)
"""
"""What a clip does to memory, over and over; how many pages the last time asked the system for."""


def faults_of_messages(**environment: str) -> tuple[bool, int]:
    plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name.upper()}
    done = subprocess.run(
        [sys.executable, "-c", USES], capture_output=True, text=True, check=True, env=plain | environment
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


def test_memory_of_messages_is_used_again() -> None:
    kept, faults = faults_of_messages()
    assert kept
    assert faults < 100


def test_who_has_settings_for_malloc_keeps_them() -> None:
    # These are glibc's own at the start: they stay, and nearly each page is asked for anew.
    kept, faults = faults_of_messages(GLIBC_TUNABLES="glibc.malloc.mmap_threshold=131072")
    assert not kept
    assert faults > 1000
