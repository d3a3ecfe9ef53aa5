"""How libav is to open an address: under which name, with which of its protocols and formats."""

from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from nvr.errors import InvalidArgument
from nvr.sources.rules import SCHEMES, file_path

__all__ = ["READ_LIMIT_S", "Opening", "opening"]

READ_LIMIT_S = 15.0
"""libav gives up a read that takes longer."""

# What a playlist or a redirection may lead to: never a file of this machine, nor what libav
# builds of other addresses (concat:, subfile:, data:).
_PROTOCOLS = {
    "file": "file",
    "http": "http,https,tcp,tls,crypto",
    "https": "http,https,tcp,tls,crypto",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
    "srt": "srt,udp",
    "tcp": "tcp",
    "udp": "udp",
}
# Those that hold pictures, and no format that is a list of other addresses but HLS.
_FILE_FORMATS = "mpegts,mov,matroska,flv,avi,h264,hevc"
_HTTP_FORMATS = f"{_FILE_FORMATS},hls,mpjpeg"
_RECEIVE_BUFFER_BYTES = 4 << 20
"""A keyframe comes faster than it is read: the kernel cuts this down to what it allows."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What to give to libav. ``repr`` shows no address."""

    name: str = field(repr=False)
    format: str | None
    options: dict[str, str]
    scheme: str = ""
    recorded: bool = False
    """Not live: it is played at its own pace."""
    loop: bool = False
    """Played over and over."""


def opening(url: str) -> Opening:
    """Of an address that was checked before.

    Raises :exc:`InvalidArgument` for an unknown scheme or option.
    """
    parts = urlsplit(url)
    scheme = parts.scheme
    if scheme not in SCHEMES:
        raise InvalidArgument(f"'{scheme[:16]}' is no scheme of a source: use {', '.join(SCHEMES)}")
    if scheme == "v4l2":
        return _device(url)
    options = {"protocol_whitelist": _PROTOCOLS[scheme]}
    if scheme == "file":
        known = _query(parts.query, "loop")
        options["format_whitelist"] = _FILE_FORMATS
        # The prefix keeps a name from being taken for one of libav's own protocols.
        name = f"file:{file_path(url)}"
        return Opening(name, None, options, scheme, recorded=True, loop=known.get("loop") in {"1", "true"})
    if scheme in {"http", "https"}:
        options |= {
            "format_whitelist": _HTTP_FORMATS,
            "rw_timeout": str(int(READ_LIMIT_S * 1_000_000)),
            "user_agent": "nvr",
            # The newest segment of a live playlist: what lies further back is the past.
            "live_start_index": "-1",
        }
        return Opening(url, None, options, scheme)
    if scheme in {"rtmp", "rtmps"}:
        options |= {"rtmp_live": "live", "format_whitelist": "flv"}
        return Opening(url, "flv", options, scheme)
    options["format_whitelist"] = "mpegts"
    if scheme == "udp":
        # What does not fit is lost and counted by nobody; the connection goes on.
        options |= {"buffer_size": str(_RECEIVE_BUFFER_BYTES), "overrun_nonfatal": "1"}
    return Opening(url, "mpegts", options, scheme)


def _device(url: str) -> Opening:
    """A camera of this machine, by Video4Linux: ``v4l2:/dev/video0?size=1920x1080&rate=25``."""
    known = _query(urlsplit(url).query, "size", "rate", "format")
    options = {"input_format": known.get("format", "h264")}
    if "size" in known:
        options["video_size"] = known["size"]
    if "rate" in known:
        options["framerate"] = known["rate"]
    return Opening(file_path(url), "video4linux2,v4l2", options, "v4l2")


def _query(query: str, *known: str) -> dict[str, str]:
    try:
        given = parse_qs(query, strict_parsing=True) if query else {}
    except ValueError:
        given = {"": [query]}
    if unknown := given.keys() - set(known):
        raise InvalidArgument(f"'{min(unknown)[:20]}' is no option here: known are {', '.join(known)}")
    return {key: values[-1] for key, values in given.items()}
