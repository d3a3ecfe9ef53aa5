"""Addresses of cameras' streams: parsed strictly, and never shown with their passwords."""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from nvr.errors import InvalidArgument

__all__ = ["DEFAULT_PORT", "StreamAddress", "parse_address"]

DEFAULT_PORT = 554
METADATA = "#metadata"
_PORTS = {"rtsp": DEFAULT_PORT, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
_NEED_PORT = ("srt", "tcp", "udp")
_ON_THIS_MACHINE = ("file", "v4l2")
_MAX_LENGTH = 2000
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}\.?)*", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_EXAMPLE = "rtsp://user:password@192.0.2.7:554/main"


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where a stream is and how to log in, percent-decoded. ``repr`` shows no password."""

    scheme: str
    host: str
    """Empty for a file or device of the recorder's machine."""
    port: int
    user: str
    password: str = field(repr=False)
    path: str = field(repr=False)
    metadata: bool = False
    """``#metadata`` stands behind it: ONVIF metadata is recorded too."""


def parse_address(url: str, *, field: str = "main_url") -> StreamAddress:
    """The parts of ``rtsp://user:password@host:port/path`` (RFC 2326, section 3.2; RFC 3986).

    Beside ``rtsp``: what a process reads with libav (``nvr.sources``), so ``http``, ``https``, ``rtmp``,
    ``rtmps``, ``srt``, ``tcp``, ``udp`` with a host, ``file:/path`` and ``v4l2:/dev/video0``.
    ``#metadata`` behind an ``rtsp`` address asks for ONVIF metadata; no server ever sees it.

    Raises :exc:`InvalidArgument`, whose message quotes nothing of the address
    but its scheme: what looks like a host may be part of a password.
    """
    if not url:
        raise _wrong(field, f"an address is needed, such as {_EXAMPLE}")
    if len(url) > _MAX_LENGTH:
        raise _wrong(field, f"the address is longer than {_MAX_LENGTH} characters")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise _wrong(field, "the address has a space or a character that must be percent-encoded (RFC 3986)")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _wrong(
            field,
            f"host or port cannot be read; write it like {_EXAMPLE}, with / : @ # ? in a password "
            "percent-encoded (%2F %3A %40 %23 %3F)",
        ) from None
    scheme = parts.scheme
    if scheme in _ON_THIS_MACHINE:
        return _on_this_machine(url, parts, field)
    if scheme not in _PORTS and scheme not in _NEED_PORT:
        shown = f"not {scheme[:16]}:" if scheme else "which is missing"
        others = ", ".join((*_PORTS, *_NEED_PORT, *_ON_THIS_MACHINE))
        raise _wrong(field, f"the address must begin with rtsp://, {shown} (known are {others})")
    if not url[len(scheme) + 1 :].startswith("//"):
        raise _wrong(field, f"after {scheme}: come two slashes; write it like {_EXAMPLE}")
    if not host:
        raise _wrong(field, f"the address names no host; write it like {_EXAMPLE}")
    if port == 0:
        raise _wrong(field, "port 0 is no camera's; leave the port out for the standard one")
    if port is None and scheme in _NEED_PORT:
        raise _wrong(field, f"the address needs a port, such as {scheme}://192.0.2.7:5000")
    metadata = scheme == "rtsp" and url.endswith(METADATA) and url.count("#") == 1
    if "#" in url and not metadata:
        raise _wrong(
            field,
            "the address has a #; in a password or path write it as %23 (only #metadata at the end of an "
            "rtsp:// address means something)",
        )
    userinfo, _, _ = parts.netloc.rpartition("@")
    if "@" in userinfo:
        raise _wrong(field, "the address has more than one @; in a password write it as %40")
    if not _is_host(host):
        raise _wrong(
            field,
            "the host is neither a name nor an IP address; in a password write / : @ # ? "
            "as %2F %3A %40 %23 %3F",
        )
    user, _, password = userinfo.partition(":")
    if ":" in password:
        raise _wrong(field, "the password has a colon; write it as %3A")
    return StreamAddress(
        scheme=scheme,
        host=host,
        port=port or _PORTS[scheme],
        user=_decoded(user, field, "user"),
        password=_decoded(password, field, "password"),
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        metadata=metadata,
    )


def _on_this_machine(url: str, parts: SplitResult, field: str) -> StreamAddress:
    """``file:/path/x.mp4?loop=1``, ``v4l2:/dev/video0?size=1280x720``; ``file:///path`` is the same."""
    if parts.netloc:
        raise _wrong(field, f"a {parts.scheme}: address names no host; write it {parts.scheme}:/path")
    if "#" in url:
        raise _wrong(field, "the address has a #; in a path write it as %23")
    path = _decoded(parts.path, field, "path")
    if not path.startswith("/") or path.endswith("/"):
        raise _wrong(field, f"a whole path from / on is needed, such as {parts.scheme}:/path")
    return StreamAddress(parts.scheme, "", 0, "", "", path)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        # All digits and dots, but no IPv4 address: a typing error, not a name.
        return bool(_HOST_NAME.fullmatch(host)) and not re.fullmatch(r"[0-9.]+", host)
    return True


def _decoded(text: str, field: str, what: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise _wrong(field, f"the {what} has a % that begins no escape; write the sign itself as %25")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _wrong(field, f"the {what} is not UTF-8 after percent-decoding") from None
    if not decoded.isprintable():
        raise _wrong(field, f"the {what} has a control character")
    return decoded


def _wrong(field: str, message: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {message}", field=field)
