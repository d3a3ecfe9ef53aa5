"""Setting the wall clock of a process, and of no other."""

import mmap
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """A clock for processes that are started with its environment."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "wall_clock.so", folder / "clock-offset"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SOURCE)],
            check=True,
            timeout=60,
        )
        self._file.write_bytes(struct.pack("=q", 0))
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK_OFFSET": str(self._file)}

    def set(self, offset_s: int) -> None:
        """From now on it is off by so many seconds."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as mapped:
            mapped[:8] = struct.pack("=q", offset_s)
