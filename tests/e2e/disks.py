"""Small disks, and what fills them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own at a folder: ``size`` as tmpfs takes it, ``64m``."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        if os.path.ismount(folder):
            # What a failed test still has open ends with it.
            subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def ext4_disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes at a folder, with a file system that can be :func:`frozen`."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk needs root")
    folder.mkdir()
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def frozen(disk: Path) -> Iterator[None]:
    """Whoever writes to the disk waits, and cannot even be killed; reading goes on."""
    subprocess.run(["fsfreeze", "--freeze", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(disk)], check=True)


@contextmanager
def bound(to: Path, at: Path) -> Iterator[None]:
    """The disk that lies at ``to`` is mounted at a second folder."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", str(to), str(at)], check=True)
    try:
        yield
    finally:
        while os.path.ismount(at):
            subprocess.run(["umount", "-l", str(at)], check=True)


def free(disk: Path) -> int:
    """Bytes that may still be written to a disk."""
    space = os.statvfs(disk)
    return space.f_bavail * space.f_frsize


def fill(disk: Path, leave: int = 0) -> Path:
    """A file that leaves so much room on a disk, to the block."""
    path = disk / f"filler-{leave}"
    # Unbuffered: what a buffer still held would be refused once more when the file is closed.
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while (room := free(disk) - leave) > 0:
            file.write(bytes(min(room, 1 << 16)))
    return path
