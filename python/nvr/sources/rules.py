"""What a node reads from, apart from RTSP, and what of the machine itself it may read."""

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nvr.errors import InvalidArgument

__all__ = ["SCHEMES", "SourceRules", "file_path"]

SCHEMES = ("file", "http", "https", "rtmp", "rtmps", "srt", "tcp", "udp", "v4l2")
"""Of addresses, beside ``rtsp``. libav knows more, some of which read or write what nobody asked for."""


def file_path(url: str) -> str:
    """The file or device that an address of this machine names, decoded."""
    return unquote(urlsplit(url).path)


@dataclass(frozen=True, slots=True)
class SourceRules:
    """Files and devices of the recorder's own machine that cameras may be read from.

    Whoever may add a camera is often not whoever owns the machine: nothing of it is
    read but what its settings name.
    """

    folders: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def check(self, url: str, *, field: str = "main_url") -> None:
        """Raises :exc:`InvalidArgument` for a file or device that the settings do not name."""
        scheme = urlsplit(url).scheme
        if scheme == "file":
            # Links are followed first: one inside of a folder may lead out of it.
            path = Path(file_path(url)).resolve()
            if not any(path.is_relative_to(Path(folder).resolve()) for folder in self.folders):
                raise InvalidArgument(
                    f"{field}: this recorder reads no files there; its settings name the folders it may "
                    "read from ([sources] folders)",
                    field=field,
                )
        elif scheme == "v4l2" and file_path(url) not in self.devices:
            raise InvalidArgument(
                f"{field}: this recorder does not read this device; its settings name those it may "
                "read ([sources] devices)",
                field=field,
            )

    def command(self) -> list[str]:
        """Program and arguments of the process that reads one source, as ``Ingest`` takes them."""
        folders = [f"--folder={folder}" for folder in self.folders]
        devices = [f"--device={device}" for device in self.devices]
        # -P: the folder that the node was started in is no place to import from.
        return [sys.executable, "-P", "-m", "nvr.sources", *folders, *devices]
