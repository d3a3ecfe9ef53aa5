"""The values that footage is spoken of in.

Times are microseconds since the epoch, UTC (``*_us``); ranges are half open.
They mirror ``protos/nvr/v1``, whose comments are the contract.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Literal

StreamName = Literal["main", "sub"]
CAPABILITIES = ("find", "directory", "source", "source_id", "catalog")
"""What nodes of this version can do beyond the first version of the contract; see ``node.proto``."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StreamState(Enum):
    """What a stream of a camera does now."""

    UNKNOWN = "unknown"
    DISABLED = "disabled"
    CONNECTING = "connecting"
    RECORDING = "recording"
    WAITING = "waiting"


class OwnerKind(Enum):
    """Whose a camera is."""

    UNKNOWN = "unknown"
    STATE = "state"
    HOUSEHOLD = "household"
    ORGANISATION = "organisation"


class NodeKind(Enum):
    """What a node is for."""

    UNKNOWN = "unknown"
    RECORDER = "recorder"
    GATEWAY = "gateway"


class PictureFormat(Enum):
    """How a decoded picture is delivered."""

    JPEG = "jpeg"
    RGB24 = "rgb24"


@dataclass(frozen=True, slots=True)
class ReadContext:
    """Why a read is made: purpose, case, and whether a partial answer is accepted."""

    purpose: str = ""
    case_number: str = ""
    request_id: str = ""
    partial: Literal["allow", "refuse"] = "allow"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range of wall time."""

    start_us: int
    end_us: int

    @property
    def duration_us(self) -> int:
        """Its length."""
        return self.end_us - self.start_us

    @property
    def start(self) -> datetime:
        """First instant in the range, UTC."""
        return _EPOCH + timedelta(microseconds=self.start_us)

    @property
    def end(self) -> datetime:
        """First instant after the range, UTC."""
        return _EPOCH + timedelta(microseconds=self.end_us)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know about an answer, beside the answer."""

    code: str
    message: str
    node: str = ""
    camera_id: str = ""
    range: TimeRange | None = None
    cameras: int = 0
    """How many cameras' answers it concerns, if more than one."""


@dataclass(frozen=True, slots=True)
class End:
    """The last step of every stream. ``remaining``: items after the cursor, where that is known."""

    complete: bool
    cursor: str = ""
    remaining: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A place on the earth, WGS 84, in degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class View:
    """Where a camera looks: degrees clockwise from north, width of the picture; ``reach_m`` 0: unknown."""

    direction_deg: float
    angle_deg: float
    reach_m: float = 0.0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream of a camera: what it is and what it does now."""

    kind: StreamName
    state: StreamState
    reason: str = ""
    detail: str = ""
    video_codec: str = ""
    audio_codec: str = ""
    width: int = 0
    height: int = 0
    last_frame_us: int = 0
    frames: int = 0
    bytes: int = 0
    camera_clock_offset_us: int | None = None
    oldest_us: int = 0
    newest_us: int = 0


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera as readers see it: no address, no password."""

    id: str
    name: str
    title: str = ""
    place: Place | None = None
    node: str = ""
    streams: Sequence[StreamInfo] = ()
    height_m: float | None = None
    view: View | None = None
    area: str = ""
    owner: OwnerKind = OwnerKind.UNKNOWN
    sources: Sequence[str] = ()
    """Names of all nodes that have footage of it; empty: ``node`` alone."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch that is recorded without a break.

    ``clock_offset_us``: the holding node's clock minus the answering node's, where
    they are more than a second apart.
    """

    range: TimeRange
    run_id: str
    epoch: int = 0
    node: str = ""
    clock_offset_us: int | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that is not recorded, and why."""

    range: TimeRange
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FragmentRef:
    """One stored fragment, named so everywhere and in every copy."""

    camera_id: str
    stream: StreamName
    run_id: str
    epoch: int
    sequence: int
    start_us: int
    duration_us: int
    random_access: bool
    random_access_distance: int
    size_bytes: int
    pictures: int
    activity_bytes: int
    camera_clock_offset_us: int | None = None
    notices: tuple[Notice, ...] = field(default=(), compare=False)
    """Of an answer that is this alone: what is to be known about it."""


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """What is needed to decode the fragments (or live units) that follow."""

    video_codec: str
    width: int
    height: int
    video_extra_data: bytes
    audio_codec: str = ""
    audio_extra_data: bytes = b""
    audio_sample_rate_hz: int = 0
    init_segment: bytes = b""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment with its bytes (empty when only references were asked for)."""

    ref: FragmentRef
    config: CodecConfig
    data: bytes
    node: str = ""


@dataclass(frozen=True, slots=True)
class LineSpeed:
    """A node's line that is known to be slow. 0: no cap, or not measured yet."""

    node: str
    cap_bits_per_s: int = 0
    rate_bits_per_s: int = 0

    @property
    def bits_per_s(self) -> int:
        """What it carries, as far as it is known; 0: that is unknown."""
        return min((each for each in (self.cap_bits_per_s, self.rate_bits_per_s) if each), default=0)


@dataclass(frozen=True, slots=True)
class ClipPart:
    """One playable file of a clip."""

    index: int
    range: TimeRange
    size_bytes: int
    etag: str
    video_codec: str
    audio_codec: str
    node: str
    disclosed: TimeRange
    line: LineSpeed | None = field(default=None, compare=False)
    """The slowest line that its bytes come over, where one is known to be slow; that changes all the time."""


@dataclass(frozen=True, slots=True)
class ClipHead:
    """What a clip consists of, and what of its range is not recorded."""

    parts: Sequence[ClipPart]
    gaps: Sequence[Gap] = ()


@dataclass(frozen=True, slots=True)
class ClipData:
    """Bytes of a part, in order and contiguous."""

    part: int
    offset: int
    data: bytes

    @property
    def view(self) -> memoryview:
        """The bytes for who only looks at them or writes them: never copied for it."""
        return memoryview(self.data)

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """Which clip, and from where on.

    ``source``: only this node's footage; empty: one timeline of all. ``one_part``: only
    the bytes of ``part``; else those of all that follow too.
    """

    camera: str
    range: TimeRange
    stream: StreamName = "main"
    audio: bool = True
    part: int = 0
    offset: int = 0
    if_etag: str = ""
    head_only: bool = False
    source: str = ""
    one_part: bool = False


@dataclass(frozen=True, slots=True)
class FragmentsRequest:
    """Which fragments, in which order. ``source`` as in :class:`ClipRequest`."""

    camera: str
    range: TimeRange
    stream: StreamName = "main"
    backward: bool = False
    keyframes_only: bool = False
    refs_only: bool = False
    limit: int = 0
    cursor: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class PictureOptions:
    """Size and coding of decoded pictures; 0: as recorded."""

    format: PictureFormat = PictureFormat.JPEG
    max_width: int = 0
    max_height: int = 0
    jpeg_quality: int = 85


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture: JPEG bytes, or RGB rows of height × width × 3 bytes."""

    asked_us: int
    frame_us: int
    width: int
    height: int
    format: PictureFormat
    data: bytes
    notices: tuple[Notice, ...] = field(default=(), compare=False)
    """Of an answer that is this alone: what is to be known about it."""


@dataclass(frozen=True, slots=True)
class LiveUnit:
    """A picture (or a piece of sound) as it came; ``config`` when it changed."""

    audio: bool
    pts: int
    arrival_us: int
    random_access: bool
    data: bytes
    run_id: str
    config: CodecConfig | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a camera, its stream, or the node."""

    at_us: int
    kind: str
    camera_id: str = ""
    stream: StreamName | None = None
    reason: str = ""
    detail: str = ""
    node: str = ""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node is."""

    id: str
    name: str
    version: str
    capabilities: Sequence[str] = field(default_factory=tuple)
    now_us: int = 0
    kind: NodeKind = NodeKind.UNKNOWN
