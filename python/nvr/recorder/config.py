"""A recorder's settings; :mod:`nvr.settings` says how they are read and their faults told."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from nvr.catalog.address import parse_address
from nvr.catalog.catalog import check_settings
from nvr.errors import InvalidArgument
from nvr.footage.admin import CameraSettings, view_of
from nvr.footage.time import parse_duration
from nvr.footage.types import OwnerKind, Place
from nvr.network_catalog.settings import HolderSettings
from nvr.recorder.copy_settings import CopySettings
from nvr.rtsp.settings import RtspSettings
from nvr.settings.document import Fault, load_document, parse_document
from nvr.settings.fields import (
    AbsolutePath,
    Address,
    DurationUs,
    ListenAddress,
    NodeName,
    Section,
    SizeBytes,
    TlsSettings,
)
from nvr.sources.rules import SourceRules
from nvr.uplink.settings import UplinkSettings, uplink_faults

__all__ = ["Settings", "load_settings", "parse_settings"]


class NodeSettings(Section):
    """``[node]``: who it is, where it writes, where it listens."""

    name: NodeName
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


class RetentionGroup(Section):
    """``[[retention.groups]]``: limits of some cameras."""

    cameras: list[str] = Field(min_length=1)
    """Their names."""
    max_age: DurationUs | None = None
    """Instead of the node's; of several groups, the shortest."""
    max_bytes: SizeBytes | None = None
    """Footage of these cameras together; the node's limit holds beside it."""


class RetentionSettings(Section):
    """``[retention]``: the oldest footage is deleted until all of these hold. Held footage stays."""

    max_age: DurationUs | None = None
    """Footage older than this goes; stored as microseconds."""
    max_bytes: SizeBytes | None = None
    """Footage in all stores together."""
    min_free: SizeBytes | None = 2_000_000_000
    """Free space on each store's disk; default 2 GB."""
    groups: list[RetentionGroup] = Field(default=[])
    """Limits of some cameras."""


class LimitSettings(Section):
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
    scrub: SizeBytes = 2_000_000
    """How much footage is read again each second to find what is damaged; 0: none."""


class LeaseSettings(Section):
    """``[lease]``: failover. Who may move this node's cameras, and to whom their settings may go."""

    authorities: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]] = Field(
        default=[], max_length=100
    )
    """Ids of the gateways that are an authority over this node, or names of their certificates."""
    peers: list[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default=[], max_length=1000)
    """Ids of the recorders that may stand by for this one and it for them; default: any that the
    authority names."""


class SourceSettings(Section):
    """``[sources]``: what of its own machine the recorder may read as a camera. Nothing by default."""

    folders: list[AbsolutePath] = Field(default=[], max_length=1000)
    """Files in these, and below, may be played (``file:/path``)."""
    devices: list[Annotated[str, Field(pattern=r"^/dev/[A-Za-z0-9/_.:-]{1,200}$")]] = Field(
        default=[], max_length=1000
    )
    """Video devices that may be recorded (``v4l2:/dev/video0``)."""

    def rules(self) -> SourceRules:
        """As sources are checked by."""
        return SourceRules(tuple(map(str, self.folders)), tuple(self.devices))


class CameraEntry(Section):
    """``[[camera]]``: imported into the catalog when the node first starts."""

    name: str
    """Slug, unique within the node."""
    main: str = Field(repr=False)
    """Address of the main stream: rtsp://user:password@host:port/path, or of another kind of source."""
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
    height_m: float | None = Field(default=None, ge=-500, le=9000)
    """Height of the lens over the ground, in metres."""
    direction_deg: float | None = Field(default=None, ge=0, le=360)
    """Middle of the picture: degrees clockwise from true north."""
    angle_deg: float | None = Field(default=None, ge=1, le=360)
    """How wide the picture is."""
    reach_m: float | None = Field(default=None, ge=0, le=20_000)
    """How far it shows enough to be of use; default: taken for 50 m."""
    area: str = ""
    """Code of the area that it stands in."""
    owner: Literal["unknown", "state", "household", "organisation"] = "unknown"
    """Whose it is: state, household or organisation."""

    def settings(self) -> CameraSettings:
        """As the catalog takes it."""
        place = None if self.lat is None or self.lon is None else Place(self.lat, self.lon)
        return CameraSettings(
            name=self.name,
            main_url=self.main,
            sub_url=self.sub,
            title=self.title,
            place=place,
            enabled=self.enabled,
            height_m=self.height_m,
            view=view_of(self.direction_deg, self.angle_deg, self.reach_m),
            area=self.area,
            owner=OwnerKind(self.owner),
        )


class Settings(Section):
    """The whole file."""

    node: NodeSettings
    tls: TlsSettings | None = None
    retention: RetentionSettings = RetentionSettings()
    limits: LimitSettings = LimitSettings()
    sources: SourceSettings = SourceSettings()
    lease: LeaseSettings = LeaseSettings()
    catalog: HolderSettings = HolderSettings()
    rtsp: RtspSettings | None = None
    uplink: UplinkSettings | None = None
    camera: list[CameraEntry] = Field(default=[], max_length=100_000)
    copies: list[CopySettings] = Field(default=[], max_length=10_000, alias="copy")


def load_settings(path: Path) -> Settings:
    """The settings in a file. Raises :exc:`ConfigError` with a line for each fault."""
    return load_document(path, Settings, _faults_across)


def parse_settings(text: str, source: str = "settings") -> Settings:
    """The settings in a TOML text; ``source`` begins every line of the :exc:`ConfigError`."""
    return parse_document(text, Settings, _faults_across, source)


def _faults_across(document: Mapping[str, Any]) -> Iterator[Fault]:
    """What no single field shows. Works on the raw document, so that it tells also beside other faults."""
    node, limits, cameras = document.get("node"), document.get("limits"), document.get("camera")
    if isinstance(node, dict) and isinstance(node.get("stores"), list):
        yield from _store_faults([store for store in node["stores"] if isinstance(store, str)])
    if isinstance(limits, dict):
        yield from _range_fault(limits, "silent_after", 1_000_000, 600_000_000, "1s to 10m")
        yield from _range_fault(limits, "sync_interval", 100_000, 60_000_000, "100ms to 1m")
    if isinstance(cameras, list):
        yield from _camera_faults(cameras)
    yield from uplink_faults(document)


def _store_faults(stores: Sequence[str]) -> Iterator[Fault]:
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


def _range_fault(section: Mapping[str, Any], key: str, least: int, most: int, words: str) -> Iterator[Fault]:
    try:
        value = parse_duration(section[key]) if isinstance(section.get(key), str) else least
    except InvalidArgument:
        return  # told already, with the field
    if value and not least <= value <= most:
        yield f"limits.{key}", f"must be {words}"


def _camera_faults(cameras: Sequence[object]) -> Iterator[Fault]:
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
        if camera.keys() & {"direction_deg", "angle_deg", "reach_m"}:
            for key in ("direction_deg", "angle_deg"):
                if key not in camera:
                    yield f"camera[{number}].{key}", "missing; a view has direction and angle"


def _checked_name(number: int, name: str, camera: Mapping[str, object]) -> Iterator[Fault]:
    title, area = camera.get("title", ""), camera.get("area", "")
    for key, settings in (
        ("name", CameraSettings(name, "rtsp://192.0.2.1/")),
        ("title", CameraSettings("x", "rtsp://192.0.2.1/", title=title if isinstance(title, str) else "")),
        ("area", CameraSettings("x", "rtsp://192.0.2.1/", area=area if isinstance(area, str) else "")),
    ):
        try:
            check_settings(settings)
        except InvalidArgument as error:
            yield f"camera[{number}].{key}", error.message.removeprefix(f"{key}: ")
