"""The Rust core: recording, store, seek, clips, RTSP in and out, simulated cameras.

Times are integers, microseconds since the epoch, UTC (``*_us``). Camera ids and
run ids are lower-case UUID strings; ``stream`` is ``"main"`` or ``"sub"``. Calls
that touch a disk release the GIL; none of them is meant for the event loop's
thread unless it says so.

Raises ``nvr.errors`` exceptions: ``StoreError`` (also an ``OSError`` with errno
when the file system said no), ``DamagedError``, ``InvalidArgument``,
``NoFootage``, ``Closed``.
"""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import final

from typing_extensions import Buffer

from nvr.footage import types

__all__ = [
    "CameraSim",
    "ClipPart",
    "ClipPlan",
    "CodecConfig",
    "Copied",
    "CopyWriter",
    "DamagedStretch",
    "DiskUsage",
    "EventWatch",
    "FanoutClient",
    "FanoutTls",
    "FindReader",
    "Fragment",
    "FrameSamples",
    "Gap",
    "GopSamples",
    "Ingest",
    "LiveUnit",
    "LiveWatch",
    "RtspDescribe",
    "RtspFeed",
    "RtspFormat",
    "RtspPlay",
    "RtspReplay",
    "RtspServer",
    "RtspSignal",
    "Scrubbed",
    "SimMedia",
    "Span",
    "Store",
    "StoreReport",
    "StoredStream",
    "StreamEvent",
    "StreamStatus",
    "StreamWriter",
    "__debug_build__",
    "__version__",
    "release_code",
]

__version__: str
__debug_build__: bool

def release_code() -> int:
    """Takes code and constants that nobody runs at the moment out of resident memory.

    What is needed comes back from the page cache. To be called once, when a process has started:
    most of what that ran is never run again. Gives how many bytes it was.
    """

@final
class Span:
    """A stretch recorded without a break, by one run."""

    start_us: int
    end_us: int
    run_id: str
    epoch: int

@final
class Gap:
    """A stretch that is not recorded, and why."""

    start_us: int
    end_us: int
    reason: str
    detail: str
    unknown: bool  # there may be footage of it, on a disk that is not there or cannot be read

@final
class Fragment:
    """A stored fragment: its names, times, and where its bytes are."""

    camera_id: str
    stream: str
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
    camera_clock_offset_us: int | None
    segment: str
    """Path of the segment file."""
    offset: int
    """Position of the fragment in the segment file."""

@final
class CodecConfig:
    """What is needed to decode the fragments of a segment."""

    video_codec: str
    """RFC 6381, e.g. ``avc1.4d401f``."""
    audio_codec: str
    """RFC 6381 (``mp4a.40.2``, ``ulaw``, ``alaw``, ``opus``), or empty."""
    width: int
    height: int
    init_segment: bytes
    video_extra_data: bytes
    audio_extra_data: bytes
    audio_sample_rate_hz: int

@final
class ClipPart:
    """One playable file of a clip; nothing is copied until it is read."""

    start_us: int
    end_us: int
    disclosed_start_us: int
    disclosed_end_us: int
    size_bytes: int
    etag: str
    video_codec: str
    audio_codec: str
    def read(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset``; empty at the end."""
    def read_after(self, head: bytes, offset: int, length: int) -> bytes:
        """``head``, and behind it what :meth:`read` gives: one object, nothing is copied twice."""
    def read_now_after(self, head: bytes, offset: int, length: int) -> bytes | None:
        """The same, if it need not wait for a disk (nor for an error); else None."""
    def save(self, path: str | PathLike[str], *, durable: bool = True) -> None:
        """Copies the whole file. ``durable``: when this returns, it is on stable storage."""

@final
class ClipPlan:
    """What a clip consists of."""

    parts: list[ClipPart]
    gaps: list[Gap]

@final
class FrameSamples:
    """The samples to decode for the picture shown at an instant, random-access point first."""

    config: CodecConfig
    samples: list[tuple[bytes, int]]
    """Length-prefixed NAL units and presentation time (1/90,000 s, run's media time), in decoding order."""
    target_pts_90k: int
    """Presentation time of the picture that is shown."""
    frame_us: int
    """Wall time at which that picture is first shown."""

@final
class GopSamples:
    """One group of pictures, decodable from its first sample."""

    config: CodecConfig
    samples: list[tuple[bytes, int, int]]
    """Length-prefixed NAL units, presentation time (1/90,000 s) and wall time shown, in decoding order.
    Those shown from ``end_us`` on belong to the next group, and only serve to decode an open one."""
    start_us: int
    end_us: int
    """Wall time from which the next group's random-access point is shown."""

@final
class StoreReport:
    """What a check or a rebuild found."""

    segments: int
    fragments: int
    bytes: int
    repaired: list[str]
    problems: list[str]

@final
class DamagedStretch:
    """Stored fragments of a segment, one after another, that cannot be read."""

    camera_id: str
    stream: str
    run_id: str
    sequence: int
    """The first one's."""
    fragments: int
    start_us: int
    end_us: int
    detail: str
    """Which file, where, and what is wrong."""

@final
class Scrubbed:
    """What a scrub found in a segment."""

    segment: str
    fragments: int
    bytes: int
    damaged: list[DamagedStretch]
    """What was not known to be."""
    intact: list[DamagedStretch]
    """What was damaged, and is sound now."""
    problems: list[str]
    """What is wrong and costs no footage."""
    repaired: list[str]

@final
class DiskUsage:
    """One store root."""

    root: str
    total_bytes: int
    free_bytes: int
    footage_bytes: int
    held_bytes: int
    oldest_us: int | None
    trouble: tuple[str, str] | None
    """What is wrong with the disk: ``disk_full`` or ``disk_error``, and words for people."""

@final
class Store:
    """The footage of a node, on one or more roots (one for each disk)."""

    def __new__(
        cls,
        roots: Sequence[str],
        *,
        beside: Sequence[str] = ...,
        read_only: bool = False,
        sync_interval_ms: int = 2000,
    ) -> Store: ...
    def close(self) -> None:
        """Writes and syncs what is held. Further calls raise ``Closed``."""
    def sync(self) -> None:
        """Returns when everything written so far is on stable storage."""
    def repairs(self) -> list[str]:
        """What had to be repaired when it was opened, one line each."""
    def io_histograms(self) -> dict[str, tuple[list[float], list[int], float]]:
        """``write`` and ``sync`` durations: upper bounds in seconds, counts (one more), sum in seconds."""
    def streams(self) -> list[tuple[str, str]]:
        """(camera id, stream) of all that has footage."""
    def range(self, camera_id: str, stream: str) -> tuple[int, int] | None:
        """Start of the oldest and end of the newest footage, and of what there may be (``unknown``)."""
    def coverage(
        self, camera_id: str, stream: str, start_us: int, end_us: int
    ) -> tuple[list[Span], list[Gap]]: ...
    def unknown(self, camera_id: str, stream: str, start_us: int, end_us: int) -> list[Gap]:
        """The gaps that are ``unknown``; to be asked after reading, too: what cannot be read is noticed."""
    def runs(self, camera_id: str, stream: str, start_us: int, end_us: int) -> list[Span]:
        """The unbroken stretches of each run, also of one that another hides; in order of start."""
    def locate(self, camera_id: str, stream: str, at_us: int, mode: str = "at") -> Fragment | None:
        """``mode``: ``at``, ``next`` or ``previous`` (what to give inside a gap)."""
    def stream(self, camera_id: str, stream: str) -> StoredStream:
        """One stream, found once: for many questions about it. It may have no footage yet."""
    def fragments(
        self,
        camera_id: str,
        stream: str,
        start_us: int,
        end_us: int,
        *,
        backward: bool = False,
        limit: int = 0,
    ) -> list[Fragment]:
        """The fragments that show any instant of the range, in order."""
    def config(self, fragment: Fragment) -> CodecConfig: ...
    def read_fragment(self, fragment: Fragment) -> bytes:
        """The stored bytes, checked against their CRC."""
    def read_keyframe(self, fragment: Fragment) -> bytes:
        """The NAL units of its random-access point, each after its 4-byte length."""
    def clip(
        self, camera_id: str, stream: str, start_us: int, end_us: int, *, audio: bool = True
    ) -> ClipPlan: ...
    def frame_samples(self, camera_id: str, stream: str, at_us: int) -> FrameSamples | None:
        """For the picture shown at an instant; None inside a gap."""
    def gops(self, camera_id: str, stream: str, start_us: int, end_us: int) -> list[int]:
        """Wall starts of the groups of pictures that show any instant of the range."""
    def gop_samples(self, camera_id: str, stream: str, start_us: int) -> GopSamples: ...
    def disk_usage(self) -> list[DiskUsage]: ...
    def troubles(self) -> list[tuple[str, str, str]]:
        """What is wrong with disks: root, reason (``disk_full``, ``disk_error``), and for people."""
    def look_at_disks(self) -> list[Path]:
        """Looks whether each disk is there; those that were not and are now are to be taken up."""
    def take_up(self, root: Path) -> list[str]: ...
    def enforce_retention(
        self,
        *,
        max_age_us: int | None = None,
        max_bytes: int | None = None,
        min_free_bytes: int | None = None,
        groups: Sequence[tuple[Sequence[str], int | None, int | None]] | None = None,
    ) -> tuple[int, int]:
        """Deletes the oldest segments until the limits hold.

        How many, and how many bytes are still too many because what is left is held or being written.
        ``groups``: camera ids, the age (µs) that holds for them instead, and the bytes that they
        may take together.
        """
    def hold(
        self, camera_id: str, stream: str, hold: str, start_us: int, end_us: int, *, detail: str = ""
    ) -> tuple[int, int]:
        """Retention leaves the range alone, under this id, until it is released: whole segments.

        Durable on return. Answers the range of starts of segments that are held.
        """
    def release(self, camera_id: str, stream: str, hold: str) -> bool:
        """Ends a hold; whether there was one."""
    def holds(self, camera_id: str, stream: str) -> dict[str, tuple[int, int]]:
        """By id: the range of starts of segments that are held."""
    def writer(self, camera_id: str, stream: str, *, epoch: int = 0) -> StreamWriter: ...
    def copy_writer(self, camera_id: str, stream: str) -> CopyWriter:
        """For copies of footage that other nodes recorded; several at once are possible."""
    def scrub_next(self, *, bytes_per_s: int = 0) -> Scrubbed | None:
        """Checks every byte of the next segment, no faster than this (0: as fast as it can be read).

        What is damaged is written into the event log and is a gap from then on. None at the end of
        a pass; the next call begins another.
        """
    def scrub_again(self) -> None:
        """The next call of :meth:`scrub_next` begins a pass, wherever the last one has come to."""
    @staticmethod
    def check(roots: Sequence[str], *, digests: bool = False) -> StoreReport:
        """Reads everything, changes nothing."""
    @staticmethod
    def missing(roots: Sequence[str], *, beside: Sequence[str] = ...) -> list[Path]:
        """Roots whose disk is not mounted, by the notes on the others and in ``beside``."""
    @staticmethod
    def init(root: Path) -> None: ...
    @staticmethod
    def rebuild(roots: Sequence[str]) -> StoreReport:
        """Makes all indexes anew from the segment files. The store must not be in use."""

@final
class StoredStream:
    """One stream of a store, found once: for many questions about it."""

    def locate_us(self, at_us: int, mode: str | None = None) -> Fragment | None:
        """The fragment that shows an instant (microseconds since the epoch, UTC).

        ``mode``: ``at`` (the default), ``next`` or ``previous``: what to give inside a gap.
        Raises :exc:`nvr.errors.Closed` when the store is closed.
        """

@final
class Copied:
    """What a flush made durable."""

    fragments: int
    """Those that were not held before."""
    bytes: int
    expired: int
    """Fragments of segments that retention has deleted, or would: they are not written."""

@final
class CopyWriter:
    """Writes fragments of other nodes exactly as they were recorded, in any order, once each.

    A fragment is named by camera, stream, run and sequence. What contradicts itself, its segment or
    what is held is refused with ``DamagedError``, which names it.
    """

    def add(self, init_segment: bytes, fragment: bytes) -> None:
        """Checks CRC and digests and holds the fragment in memory until ``flush``.

        ``init_segment``: ftyp, header and moov of its segment, as ``CodecConfig`` has them.
        """
    def flush(self) -> Copied:
        """Returns when what was added is on stable storage and found by readers.

        After an error the segments that could be written are; nothing waits any more.
        """
    def absent(self, start_us: int, end_us: int, reason: str, detail: str = "") -> None:
        """Notes, durably, that the source has nothing of a range, and the gap reason that it gives."""

@final
class StreamWriter:
    """Writes packets that something other than RTSP brought."""

    def begin(
        self,
        *,
        codec: str,
        extra_data: bytes,
        width: int,
        height: int,
        audio_codec: str = "aac",
        audio_extra_data: bytes = ...,
        audio_sample_rate_hz: int = 0,
        audio_channels: int = 0,
        metadata: bool = False,
    ) -> None:
        """``codec``: ``h264``, ``h265`` or ``jpeg``; ``extra_data``: content of avcC or hvcC.

        ``metadata``: documents of ONVIF metadata come too.
        """
    def video(self, data: Buffer, pts_90k: int, arrival_us: int) -> None:
        """Length-prefixed NAL units of one access unit."""
    def audio(self, data: Buffer, pts: int, duration: int, arrival_us: int) -> None: ...
    def metadata(self, data: Buffer, arrival_us: int) -> None:
        """A document of ONVIF metadata, as XML."""
    def end(self, at_us: int, reason: str = "disconnected", detail: str = "") -> None: ...
    def down(self, at_us: int, reason: str, detail: str = "") -> None: ...
    def flush(self) -> None:
        """Returns when everything ended so far is on disk."""

@final
class StreamStatus:
    """What a recorded stream does now, and its counters since the node started."""

    camera_id: str
    stream: str
    state: str
    """``connecting``, ``recording`` or ``waiting``."""
    reason: str
    detail: str
    video_codec: str
    audio_codec: str
    width: int
    height: int
    last_frame_us: int
    frames: int
    bytes: int
    lost_packets: int
    """RTP packets that the camera numbered and that did not arrive, or that made no sense."""
    recorded_us: int
    camera_clock_offset_us: int | None
    reconnects: dict[str, int]
    """By gap reason."""
    gap_us: dict[str, int]
    """By gap reason, finished gaps only."""

@final
class Ingest:
    """Sessions with cameras, on a runtime of its own."""

    def __new__(
        cls,
        store: Store,
        *,
        threads: int = 1,
        max_handshakes: int = 16,
        silent_after_ms: int = 10000,
        source_command: Sequence[str] = ...,
    ) -> Ingest:
        """``source_command``: program and arguments of a process that reads a source that is not RTSP."""
    def add(self, camera_id: str, stream: str, url: str, *, epoch: int = 0) -> None:
        """Starts recording. ``url`` may carry a password, never shown; it replaces an earlier one."""
    def remove(self, camera_id: str, stream: str, reason: str = "removed") -> None:
        """Ends the session and returns when its last fragment is queued for disk."""
    def status(self) -> list[StreamStatus]: ...
    def close(self, reason: str = "recorder_stopped") -> None: ...
    def notify_fd(self) -> int:
        """An eventfd that becomes readable when a watcher has something to take."""
    def take_ready(self) -> list[int]:
        """Ids of the watchers that have something; clears the eventfd. For the event loop's thread."""
    def watch_live(self, camera_id: str, stream: str, *, audio: bool = True) -> LiveWatch: ...
    def watch_events(self) -> EventWatch: ...
    @staticmethod
    def probe(url: str, timeout_ms: int = 10000, *, source_command: Sequence[str] = ...) -> tuple[str, str]:
        """Connects once: (gap reason, detail), reason empty when pictures arrive."""

@final
class LiveUnit:
    """An access unit or a frame of sound, as it came."""

    audio: bool
    pts: int
    arrival_us: int
    random_access: bool
    data: bytes
    run_id: str
    config: CodecConfig | None
    """Set on the first unit and whenever it changes; ``init_segment`` is empty."""
    dropped: int
    """Units lost before this one because the watcher was too slow."""

@final
class LiveWatch:
    """A bounded queue of live units; starts at the newest random-access point."""

    id: int
    def take(self) -> list[LiveUnit]:
        """What is there; empty when nothing is. For the event loop's thread."""
    def closed(self) -> bool: ...
    def close(self) -> None: ...

@final
class StreamEvent:
    """Something that happened to a stream."""

    at_us: int
    camera_id: str
    stream: str
    kind: str
    """``run_started``, ``run_ended``, ``stream_down``, ``footage_lost`` or ``packets_lost``."""
    reason: str
    detail: str

@final
class EventWatch:
    """A bounded queue of events."""

    id: int
    def take(self) -> list[StreamEvent]: ...
    def close(self) -> None: ...

@final
class SimMedia:
    """Packets of one file, ready to be played; kept in an unlinked temporary file."""

    def __new__(
        cls,
        *,
        codec: str,
        extra_data: bytes,
        width: int,
        height: int,
        timescale: int,
        audio_codec: str = "aac",
        audio_extra_data: bytes = ...,
        audio_sample_rate_hz: int = 0,
        audio_channels: int = 0,
    ) -> SimMedia: ...
    def add_video(self, data: Buffer, pts: int, keyframe: bool) -> None:
        """Length-prefixed NAL units of one access unit, in decoding order; pts in 1/timescale s from 0."""
    def add_audio(self, data: Buffer, pts: int) -> None:
        """One frame of sound; pts in 1/audio_sample_rate_hz s from 0."""
    def finish(self, duration: int) -> None:
        """``duration`` in 1/timescale s: after it the media starts anew."""

@final
class CameraSim:
    """An RTSP server that plays media as cameras."""

    def __new__(
        cls,
        listen: str = "127.0.0.1:0",
        *,
        user: str = "",
        password: str = "",
        digest: bool = True,
        threads: int = 1,
        max_payload: int = 1400,
    ) -> CameraSim: ...
    port: int
    def add(self, path: str, media: SimMedia, *, zero_us: int | None = None) -> int:
        """Serves media at ``/path``; returns the wall time at which its media time is zero."""
    def remove(self, path: str) -> None: ...
    def stats(self) -> dict[str, int]:
        """``sessions``, ``packets``, ``bytes``."""
    def close(self) -> None: ...

@final
class RtspFormat:
    """What a decoder must know, as RTSP describes and sends it."""

    def __new__(
        cls,
        *,
        codec: str,
        extra_data: bytes,
        width: int,
        height: int,
        audio_codec: str = "aac",
        audio_extra_data: bytes = ...,
        audio_sample_rate_hz: int = 0,
    ) -> RtspFormat:
        """``codec``: ``h264`` or ``h265``; ``extra_data``: content of avcC or hvcC."""

@final
class RtspServer:
    """An RTSP 1.0 server (RFC 2326). Its owner takes events and answers them.

    ``users``: names and passwords, asked for by Digest (RFC 7616; from this
    machine also Basic); without any, only this machine may watch.
    """

    def __new__(
        cls,
        listen: str = "127.0.0.1:0",
        *,
        users: Sequence[tuple[str, str]] = ...,
        threads: int = 1,
        max_payload: int = 1400,
        max_connections: int = 1000,
        max_sessions: int = 200,
        max_backlog_bytes: int = ...,
        session_timeout_ms: int = 60000,
        answer_within_ms: int = 15000,
    ) -> RtspServer: ...
    port: int
    def notify_fd(self) -> int:
        """An eventfd that becomes readable when there are events."""
    def take_events(self) -> list[RtspDescribe | RtspPlay | RtspSignal]:
        """What came; clears the eventfd. For the event loop's thread, as all of the answers are."""
    def feed(self) -> RtspFeed:
        """A feed for a stream as it comes."""
    def stats(self) -> dict[str, int]:
        """``sessions`` that are open."""
    def close(self) -> None:
        """Disconnects everybody and frees the port."""

@final
class RtspDescribe:
    """A client asks what is behind an address. Dropped without an answer it is status 500."""

    path: str
    """Without slashes at its ends, escaped as in the address."""
    query: str
    def accept(self, path: str, key: str, range: str, format: RtspFormat) -> None:
        """``path``: by which it shall be called; ``range``: for ``a=range``; ``key``: given back by PLAY."""
    def refuse(self, status: int) -> None: ...

@final
class RtspPlay:
    """A client wants to see something. Headers are as it wrote them, empty without one."""

    session: int
    host: str
    port: int
    user: str
    """Empty where there is no login."""
    key: str
    range: str
    scale: str
    speed: str
    rate_control: str
    def stop(self) -> int:
        """Ends what the session plays; bytes of it that were sent."""
    def live(self, feed: RtspFeed) -> bool:
        """Shows what comes; False when the client is gone, or the feed closed or without a unit."""
    def replay(
        self,
        start_us: int,
        end_us: int,
        *,
        range: str,
        pre_roll_us: int = 0,
        scale: int = 1,
        paced: bool = True,
    ) -> RtspReplay | None:
        """Shows what was recorded; None when the client is gone.

        ``pre_roll_us``: footage before ``start_us`` that a decoder needs; ``scale``
        above 1: keyframes alone; ``paced``: at its own pace, else as fast as the
        client takes it; ``range``: for the answer.
        """
    def unchanged(self) -> None:
        """It goes on as it does."""
    def refuse(self, status: int) -> None: ...

@final
class RtspSignal:
    """Something happened to a session."""

    kind: str
    """``paused``, ``ended``, ``finished`` (played to the end) or ``room`` (for more of a replay)."""
    session: int
    sent_bytes: int
    """Since its last PLAY, with packet headers."""
    position_us: int | None
    """Wall time of the last picture of a replay that was sent."""

@final
class RtspFeed:
    """A stream as it comes, for all who watch it. Nothing waits for a client."""

    def set_format(self, format: RtspFormat) -> bool:
        """Before the first unit, and when it changes. False: clients cannot go on, the feed is closed."""
    def push(
        self, data: bytes, *, audio: bool, pts: int, arrival_us: int, random_access: bool, run_id: str
    ) -> None:
        """An access unit or a frame of sound."""
    def close(self) -> None:
        """Says goodbye to all who watch."""

@final
class RtspReplay:
    """What was recorded, on its way to one client. Nothing waits for it."""

    def push_fragment(
        self,
        data: bytes,
        format: RtspFormat,
        *,
        start_us: int,
        duration_us: int,
        run_id: str,
        random_access: bool,
    ) -> bool:
        """A stored fragment, whole. False: wait for the signal ``room``.

        Raises ``InvalidArgument``: it is damaged, or the client cannot go on with its format.
        """
    def push_keyframe(self, data: bytes, format: RtspFormat, wall_us: int) -> bool:
        """A keyframe of a replay of keyframes alone, as :meth:`push_fragment`."""
    def finish(self) -> None:
        """After what is there the client is told goodbye."""

@final
class FanoutTls:
    """Whom a connection trusts, and who we are on it.

    ``authorities``: PEM; a self-signed certificate among them is trusted as it is.
    ``certificate`` (with its chain) and ``key``: PEM, both or neither. Raises ``InvalidArgument``.
    """

    def __new__(
        cls, *, authorities: bytes, certificate: bytes | None = None, key: bytes | None = None
    ) -> FanoutTls: ...

@final
class FindReader:
    """Reads messages of ``Find``'s answers, with the classes that stand for spans, gaps and ranges."""

    def __new__(
        cls, *, span: type[types.Span], gap: type[types.Gap], time_range: type[types.TimeRange]
    ) -> FindReader: ...
    def read(
        self, message: bytes
    ) -> tuple[list[tuple[str, str, list[types.Span | types.Gap]]], bytes | None, bytes | None]:
        """Of a serialized ``nvr.v1.FindResponse``: of each camera found its id, the source, spans and gaps.

        Then the serialized warning and end, if it has one. What this version does not know is
        left out. Raises ``ValueError`` for what is none.
        """

@final
class FanoutClient:
    """Asks many peers one question at once, by gRPC calls whose answers are streams of messages.

    ``at_once``: calls at the same time, others wait for their turn; ``message_bytes`` and
    ``answer_bytes``: the most of each; ``waiting_bytes``: when so many are not taken yet,
    peers have to wait; ``partial_bytes``: of messages that came in part, of all peers together.
    A connection is tried every ``keepalive_ms``, is lost without an answer within
    ``keepalive_timeout_ms``, and closed when it was not used for ``idle_ms``.
    """

    def __new__(
        cls,
        *,
        at_once: int = 256,
        message_bytes: int = ...,
        answer_bytes: int = ...,
        waiting_bytes: int = ...,
        partial_bytes: int = ...,
        keepalive_ms: int = 30_000,
        keepalive_timeout_ms: int = 10_000,
        idle_ms: int = 600_000,
    ) -> FanoutClient: ...
    def add_peer(self, target: str, tls: FanoutTls | None = None) -> int:
        """A peer at ``host:port`` or ``unix:path``; nothing is sent before the first question.

        Raises ``InvalidArgument`` for what is no address.
        """
    def remove_peer(self, peer: int) -> None:
        """Forgets a peer. What it is asked at the moment goes on."""
    def connections_made(self, peer: int) -> int:
        """How often it was connected to."""
    def notify_fd(self) -> int:
        """Becomes readable when answers wait."""
    def ask(
        self,
        path: str,
        requests: Sequence[tuple[int, bytes]],
        *,
        timeout_us: int,
        metadata: Sequence[tuple[str, str]] = ...,
        most_messages: int,
    ) -> int:
        """Asks peers, each with its serialized request; the number of the first call.

        Those of the others follow it. ``path``: ``/package.Service/Method``; ``most_messages``:
        of an answer. Raises ``InvalidArgument`` and ``Closed``.
        """
    def cancel(self, calls: Sequence[int]) -> None:
        """Cancels calls; those that are over do not mind."""
    def take(self) -> list[tuple[int, list[bytes], tuple[int, str, bytes, bool] | None]]:
        """What came: call, messages in order, and how it ended if it did.

        That is gRPC's status, its text, the decoded ``nvr-problem-bin`` of its trailers, and
        whether the peer was asked at all before the deadline.
        """
    def close(self) -> None:
        """Ends all calls and connections."""
