"""A node's settings: one TOML file, checked as a whole before anything starts.

All faults are told at once, each with its place. Entries of a list are counted
from 1, as a person counts them in the file: ``camera[3].main`` is ``main`` of
the third ``[[camera]]``. No message quotes an address: it may hold a password.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from nvr.catalog.address import parse_address
from nvr.catalog.catalog import check_settings
from nvr.errors import ConfigError, InvalidArgument
from nvr.footage.admin import CameraSettings
from nvr.footage.time import parse_duration
from nvr.footage.types import Place

__all__ = ["Address", "Settings", "load_settings", "parse_settings", "parse_size"]

_MAX_FILE_BYTES = 16 << 20
_MAX_FAULTS = 100
_SIZE_UNITS = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)},
}
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?\s*([kKMGTP]?i?B)", re.ASCII)
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
SizeBytes = Annotated[int, BeforeValidator(lambda value: parse_size(_text(value, "20GB")))]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class NodeSettings(_Section):
    """``[node]``: who it is, where it writes, where it listens."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,63}$")
    """Slug, unique among the nodes of a tree."""
    stores: list[AbsolutePath] = Field(min_length=1, max_length=64)
    """Folders for footage, one for each disk."""
    data: AbsolutePath | None = None
    """Folder for the node's key, catalog and audit record; default: ``.node`` in the first store."""
    grpc: ListenAddress = Address("127.0.0.1:7600")
    """Where gRPC is served."""
    metrics: ListenAddress | None = None
    """Where /metrics is served over HTTP; default: nowhere."""

    @property
    def data_folder(self) -> Path:
        """``data``, or its default."""
        return self.data or self.stores[0] / ".node"


class TlsSettings(_Section):
    """``[tls]``: PEM files for gRPC; with ``client_ca`` callers must show a certificate (mutual TLS)."""

    cert: AbsolutePath
    """Certificate chain."""
    key: AbsolutePath
    """Private key of the certificate."""
    client_ca: AbsolutePath | None = None
    """Authorities whose client certificates are accepted."""


class RetentionSettings(_Section):
    """``[retention]``: the oldest footage is deleted until all of these hold."""

    max_age: DurationUs | None = None
    """Footage older than this goes; stored as microseconds."""
    max_bytes: SizeBytes | None = None
    """Footage in all stores together."""
    min_free: SizeBytes | None = 2_000_000_000
    """Free space on each store's disk; default 2 GB."""


class LimitSettings(_Section):
    """``[limits]``: how much work is done at once. The defaults fit a small PC with 200 cameras."""

    read_threads: int = Field(default=8, ge=1, le=256)
    """Threads that read the disks for callers."""
    decoders: int = Field(default=2, ge=1, le=64)
    """Streams decoded at once for pictures; each may take 60 MB at 1080p."""
    ingest_threads: int = Field(default=1, ge=1, le=64)
    """Threads that receive from cameras."""
    handshakes: int = Field(default=16, ge=1, le=1000)
    """Cameras being connected to at once."""
    silent_after: DurationUs = 10_000_000
    """A camera that sends nothing for so long is reconnected; 1 s to 10 min."""
    sync_interval: DurationUs = 2_000_000
    """How much footage a power failure may cost; 100 ms to 1 min."""


class CameraEntry(_Section):
    """``[[camera]]``: imported into the catalog when the node first starts."""

    name: str
    """Slug, unique within the node."""
    main: str = Field(repr=False)
    """Address of the main stream: rtsp://user:password@host:port/path."""
    sub: str = Field(default="", repr=False)
    """Address of the small stream; default: none."""
    title: str = ""
    """For display, in any script."""
    lat: float | None = Field(default=None, ge=-90, le=90)
    """Degrees north."""
    lon: float | None = Field(default=None, ge=-180, le=180)
    """Degrees east."""
    enabled: bool = True
    """False: known, but not recorded."""

    def settings(self) -> CameraSettings:
        """As the catalog takes it."""
        place = None if self.lat is None or self.lon is None else Place(self.lat, self.lon)
        return CameraSettings(self.name, self.main, self.sub, self.title, place, self.enabled)


class Settings(_Section):
    """The whole file."""

    node: NodeSettings
    tls: TlsSettings | None = None
    retention: RetentionSettings = RetentionSettings()
    limits: LimitSettings = LimitSettings()
    camera: list[CameraEntry] = Field(default=[], max_length=100_000)


def load_settings(path: Path) -> Settings:
    """The settings in a file. Raises :exc:`ConfigError` with a line for each fault."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB: that is no settings file")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; save the file in that encoding") from None
    return parse_settings(text, str(path))


def parse_settings(text: str, source: str = "settings") -> Settings:
    """The settings in a TOML text; ``source`` begins every line of the :exc:`ConfigError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_fault(source, str(error), text)) from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None
    settings, faults = None, []
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        faults = [_fault(detail) for detail in error.errors(include_url=False, include_input=False)]
    faults += _faults_across(document)
    if faults or settings is None:
        lines = [f"{source}: {place}: {message}" for place, message in sorted(set(faults), key=_place_order)]
        if len(lines) > _MAX_FAULTS:
            lines[_MAX_FAULTS:] = [f"{source}: and {len(lines) - _MAX_FAULTS} more"]
        # The cause would show the values, passwords among them.
        raise ConfigError("\n".join(lines), facts={"faults": str(len(set(faults)))}) from None
    return settings


_Fault = tuple[str, str]


def _syntax_fault(source: str, message: str, text: str) -> str:
    place = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)$", message)
    if place is not None:
        return f"{source}:{place[1]}:{place[2]}: {message[: place.start()]}"
    line = text.count("\n") + 1
    return f"{source}:{line}: {message.removesuffix(' (at end of document)')}, at the end of the file"


def _place(location: Sequence[str | int]) -> str:
    shown = ""
    for step in location:
        shown += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if shown else step
    return shown


def _place_order(fault: _Fault) -> list[tuple[int, str]]:
    """Sorts camera[2] before camera[10]."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"\[([0-9]+)\]", fault[0])]


def _fault(detail: Mapping[str, Any]) -> _Fault:
    location, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    place = _place(location)
    match kind:
        case "extra_forbidden":
            return place, _unknown_key(location)
        case "missing":
            what = "the section is missing" if location == ("node",) else "missing; it must be set"
            return place, what
        case "value_error":
            return place, re.sub(r"^\w+: ", "", str(context["error"]))
        case "string_pattern_mismatch":
            return place, "1 to 63 of a-z, 0-9 and -"
    return place, _in_words(kind, context, detail["msg"])


def _in_words(kind: str, context: Mapping[str, Any], message: str) -> str:
    types = {
        "string_type": 'must be text in quotes ("…")',
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "list_type": "must be a list ([…])",
        "model_type": "must be a section ([…])",
        "finite_number": "must be a number",
    }
    limits = {"greater_than_equal": ("ge", "at least"), "less_than_equal": ("le", "at most")}
    if kind in types:
        return types[kind]
    if kind in limits:
        key, words = limits[kind]
        return f"must be {words} {context[key]}"
    if kind == "too_short":
        return f"has too few entries; at least {context['min_length']}"
    if kind == "too_long":
        return f"has too many entries; at most {context['max_length']}"
    return message


def _unknown_key(location: Sequence[str | int]) -> str:
    known = list(_fields_at(location[:-1]))
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    if near:
        return f'unknown key; did you mean "{near[0]}"?'
    return f"unknown key; known here: {', '.join(known)}"


def _fields_at(location: Sequence[str | int]) -> Mapping[str, object]:
    sections: dict[str, type[_Section]] = {
        "node": NodeSettings,
        "tls": TlsSettings,
        "retention": RetentionSettings,
        "limits": LimitSettings,
        "camera": CameraEntry,
    }
    return sections[str(location[0])].model_fields if location else Settings.model_fields


def _faults_across(document: Mapping[str, Any]) -> Iterator[_Fault]:
    """What no single field shows. Works on the raw document, so that it tells also beside other faults."""
    node, limits, cameras = document.get("node"), document.get("limits"), document.get("camera")
    if isinstance(node, dict) and isinstance(node.get("stores"), list):
        yield from _store_faults([store for store in node["stores"] if isinstance(store, str)])
    if isinstance(limits, dict):
        yield from _range_fault(limits, "silent_after", 1_000_000, 600_000_000, "1s to 10m")
        yield from _range_fault(limits, "sync_interval", 100_000, 60_000_000, "100ms to 1m")
    if isinstance(cameras, list):
        yield from _camera_faults(cameras)


def _store_faults(stores: Sequence[str]) -> Iterator[_Fault]:
    paths = [Path(store) for store in stores]
    for number, path in enumerate(paths):
        for earlier, other in enumerate(paths[:number]):
            if path == other:
                yield f"node.stores[{number + 1}]", f"the same as stores[{earlier + 1}]"
            elif path.is_relative_to(other) or other.is_relative_to(path):
                yield (
                    f"node.stores[{number + 1}]",
                    f"one of it and stores[{earlier + 1}] lies within the other",
                )


def _range_fault(section: Mapping[str, Any], key: str, least: int, most: int, words: str) -> Iterator[_Fault]:
    try:
        value = parse_duration(section[key]) if isinstance(section.get(key), str) else least
    except InvalidArgument:
        return  # told already, with the field
    if value and not least <= value <= most:
        yield f"limits.{key}", f"must be {words}"


def _camera_faults(cameras: Sequence[object]) -> Iterator[_Fault]:
    first: dict[str, int] = {}
    for number, camera in enumerate(cameras, 1):
        if not isinstance(camera, dict):
            continue
        name = camera.get("name")
        if isinstance(name, str):
            yield from _checked_name(number, name, camera)
            if name in first:
                yield f"camera[{number}].name", f"{name[:80]!r} is also the name of camera[{first[name]}]"
            first.setdefault(name, number)
        for key in ("main", "sub"):
            url = camera.get(key)
            if isinstance(url, str) and (url or key == "main"):
                try:
                    parse_address(url, field=key)
                except InvalidArgument as error:
                    yield f"camera[{number}].{key}", error.message.removeprefix(f"{key}: ")
        if "lat" in camera and "lon" not in camera:
            yield f"camera[{number}].lon", "missing; lat and lon go together"
        if "lon" in camera and "lat" not in camera:
            yield f"camera[{number}].lat", "missing; lat and lon go together"


def _checked_name(number: int, name: str, camera: Mapping[str, object]) -> Iterator[_Fault]:
    title = camera.get("title", "")
    for key, settings in (
        ("name", CameraSettings(name, "rtsp://192.0.2.1/")),
        ("title", CameraSettings("x", "rtsp://192.0.2.1/", title=title if isinstance(title, str) else "")),
    ):
        try:
            check_settings(settings)
        except InvalidArgument as error:
            yield f"camera[{number}].{key}", error.message.removeprefix(f"{key}: ")
