"""What the settings of every node are made of: addresses, paths, durations, sizes, TLS files."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nvr.errors import InvalidArgument
from nvr.footage.time import parse_duration

__all__ = [
    "AbsolutePath",
    "Address",
    "DurationUs",
    "ListenAddress",
    "NodeName",
    "RateBits",
    "Section",
    "SizeBytes",
    "TlsSettings",
    "parse_rate",
    "parse_size",
]

_SIZE_UNITS = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)},
}
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?\s*([kKMGTP]?i?B)", re.ASCII)
_RATE = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))? ?(kbit|Mbit|Gbit)", re.ASCII)
_RATE_UNITS = {"kbit": 1_000, "Mbit": 1_000_000, "Gbit": 1_000_000_000}
_ADDRESS = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9_.-]+)):(?P<port>[0-9]{1,5})", re.ASCII
)


class Address(str):
    """``host:port`` or ``[IPv6]:port`` to listen on; port 0: a free one."""

    __slots__ = ("host", "port")
    host: str
    port: int

    def __new__(cls, text: str) -> "Address":
        """Parses it. Raises :exc:`InvalidArgument`."""
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match["port"]) > 65535:
            raise InvalidArgument("not host:port, such as 127.0.0.1:7600 or [::1]:7600 (port 0: a free one)")
        address = super().__new__(cls, text)
        address.host = match["six"] or match["host"]
        address.port = int(match["port"])
        return address

    def with_port(self, port: int) -> str:
        """The address with the port that was got."""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_size(text: str) -> int:
    """Bytes of ``"20GB"``, ``"1.5 TiB"``, ``"500MB"``: kB = 1000 B, KiB = 1024 B."""
    match = _SIZE.fullmatch(text.strip())
    unit = "" if match is None else match[3]
    factor = _SIZE_UNITS.get("kB" if unit == "KB" else unit)
    if match is None or factor is None:
        raise InvalidArgument("not a size such as 500MB, 20GB or 1.5TiB")
    fraction = match[2] or ""
    size: int = int(match[1] + fraction) * factor // 10 ** len(fraction)
    if size >= 1 << 63:
        raise InvalidArgument("a size beyond any disk's")
    return size


def parse_rate(text: str) -> int:
    """Bits a second of ``"2Mbit"``, ``"500kbit"``, ``"1.5Gbit"``; 1 kbit = 1000 bits."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument("not a rate such as 500kbit, 2Mbit or 1.5Gbit (a second)")
    fraction = match[2] or ""
    rate: int = int(match[1] + fraction) * _RATE_UNITS[match[3]] // 10 ** len(fraction)
    if rate < _RATE_UNITS["kbit"]:
        raise InvalidArgument("must be at least 1kbit; leave the line out for no cap")
    return rate


def _text(value: object, example: str) -> str:
    # Pydantic takes a ValueError as a fault of the file, not of the program.
    if not isinstance(value, str):
        raise ValueError(f'write it as text, such as "{example}"')  # noqa: TRY004
    return value


def _path(value: object) -> Path:
    text = _text(value, "/var/lib/nvr")
    if not text or "\0" in text:
        raise ValueError("a path is needed")
    # A relative path would depend on where the program happens to be started.
    if not Path(text).is_absolute():
        raise ValueError("the path must be absolute, beginning with /")
    return Path(text)


def _positive_duration(value: object) -> int:
    duration = parse_duration(_text(value, "30d"))
    if duration == 0:
        raise ValueError("must be more than nothing; leave the line out for no limit")
    return duration


AbsolutePath = Annotated[Path, BeforeValidator(_path)]
ListenAddress = Annotated[Address, BeforeValidator(lambda value: Address(_text(value, "127.0.0.1:7600")))]
DurationUs = Annotated[int, BeforeValidator(_positive_duration)]
NodeName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")]
RateBits = Annotated[int, BeforeValidator(lambda value: parse_rate(_text(value, "2Mbit")))]
SizeBytes = Annotated[int, BeforeValidator(lambda value: parse_size(_text(value, "20GB")))]


class Section(BaseModel):
    """A section of a settings file: unknown keys are refused, and no error quotes a value."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class TlsSettings(Section):
    """``[tls]``: PEM files for gRPC; with ``client_ca`` callers must show a certificate (mutual TLS)."""

    cert: AbsolutePath
    """Certificate chain."""
    key: AbsolutePath
    """Private key of the certificate."""
    client_ca: AbsolutePath | None = None
    """Authorities whose client certificates are accepted."""
