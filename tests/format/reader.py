"""A reader of stores, written from ``docs/on-disk-format.md`` and nothing else.

It shares no code with the recorder: what the two agree on is what the document says.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

HEADER_TYPE = b"nvr.segm.head\0\0\x01"
INFO_TYPE = b"nvr.fragment\0\0\0\x01"
METADATA_TYPE = b"nvr.metadata" + bytes([0, 0, 0, 1])
FOOTER_TYPE = b"nvr.footer\0\0\0\0\0\x01"
TRAILER_MAGIC = b"NVRFOOT1"
INDEX_MAGIC = b"NVRINDX1"
SYNC_BIT = 1 << 31
DECODER_CAN_START = 0x0200_0000
RANDOM_ACCESS, LEADING = 1, 2
NTP_TO_UNIX_S = 2_208_988_800

SEGMENT_NAME = re.compile(r"(\d\d)(\d\d)(\d\d)\.(\d{3})Z-([0-9a-f-]{36})\.mp4")


class FormatError(Exception):
    """A file is not what the document says."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise FormatError(what)


# --- structures of fixed size: the tables of the document -----------------------------------------


class Header(NamedTuple):
    size: int
    type: bytes
    user_type: bytes
    identity: bytes


class Identity(NamedTuple):
    version: int
    stream: int
    camera: bytes
    run: bytes
    epoch: int
    first_sequence: int
    wall_start_us: int
    base_90k: int
    start_pts_90k: int
    salt: bytes


class Info(NamedTuple):
    size: int
    type: bytes
    user_type: bytes
    crc: int
    length: int
    wall_start_us: int
    duration_us: int
    sequence: int
    random_access_distance: int
    flags: int
    camera_clock_offset_ms: int
    activity_bytes: int
    video_digest: bytes
    audio_digest: bytes
    reserved: int


class MetadataInfo(NamedTuple):
    size: int
    type: bytes
    user_type: bytes
    digest: bytes


class Prft(NamedTuple):
    size: int
    type: bytes
    version_flags: int
    track: int
    ntp: int
    media_time: int

    @property
    def wall_us(self) -> int:
        return ((self.ntp >> 32) - NTP_TO_UNIX_S) * 1_000_000 + round((self.ntp & 0xFFFF_FFFF) * 1e6 / 2**32)


class Entry(NamedTuple):
    offset: int
    length: int
    crc: int
    sequence: int
    wall_start_us: int
    duration_us: int
    random_access_distance: int
    flags: int
    camera_clock_offset_ms: int
    activity_bytes: int
    video: bytes
    audio: bytes


class TrackRun(NamedTuple):
    decode_time: int
    first_sample: int
    sample_count: int
    data_offset: int
    data_len: int
    digest: bytes


class Picture(NamedTuple):
    size: int
    duration: int
    composition_offset: int


class Sound(NamedTuple):
    size: int
    duration: int


class Trailer(NamedTuple):
    size: int
    crc: int
    magic: bytes


class IndexHeader(NamedTuple):
    magic: bytes
    camera: bytes
    run: bytes
    epoch: int
    stream: int
    reserved: bytes
    day_start_us: int
    reserved_2: bytes
    crc: int


class IndexRecord(NamedTuple):
    wall_start_us: int
    duration_us: int
    segment_ms: int
    offset: int
    length: int
    flags: int
    pictures: int
    random_access_distance: int
    reserved: int
    activity_bytes: int
    camera_clock_offset_ms: int
    sequence: int
    crc: int


class Watermark(NamedTuple):
    synced_us: int
    crc: int


class DurableHeader(NamedTuple):
    generation: int
    marks: int


class DurableEntry(NamedTuple):
    run: bytes
    first_sequence: int
    len: int


LAYOUTS: dict[type[Any], struct.Struct] = {
    Header: struct.Struct(">I4s16s78s"),
    Identity: struct.Struct(">BB16s16sIIqqI16s"),
    Info: struct.Struct(">I4s16sIIqIIHHiI32s32sI"),
    MetadataInfo: struct.Struct(">I4s16s32s"),
    Prft: struct.Struct(">I4sIIQQ"),
    Entry: struct.Struct(">IIIIqIHHiI56s56s"),
    TrackRun: struct.Struct(">QIIII32s"),
    Picture: struct.Struct(">IIi"),
    Sound: struct.Struct(">II"),
    Trailer: struct.Struct(">II8s"),
    IndexHeader: struct.Struct("<8s16s16sIB3sq4sI"),
    IndexRecord: struct.Struct("<qIIIIHHHHIiII"),
    Watermark: struct.Struct("<qI"),
    DurableHeader: struct.Struct("<QI"),
    DurableEntry: struct.Struct("<16sII"),
}

PARAMETERS = (
    ("video_codec", "u8"),
    ("width", "u16"),
    ("height", "u16"),
    ("video_extra_len", "u32"),
    ("video_extra", "bytes[video_extra_len]"),
    ("audio_sample_rate", "u32"),
    ("audio_channels", "u16"),
    ("audio_extra_len", "u32"),
    ("audio_extra", "bytes[audio_extra_len]"),
)
PARAMETERS_2 = (("audio_codec", "u8"),)
"""Behind the others in versions 2 and 3."""
PARAMETERS_3 = (("metadata_coding", "u8"),)
"""Behind those in version 3."""


T = TypeVar("T")


def take(kind: type[T], data: bytes, at: int = 0) -> T:
    layout = LAYOUTS[kind]
    check(0 <= at <= len(data) - layout.size, f"{kind.__name__} at {at} is cut")
    return kind(*layout.unpack_from(data, at))


def take_all(kind: type[T], data: bytes, at: int, count: int) -> list[T]:
    return [take(kind, data, at + n * LAYOUTS[kind].size) for n in range(count)]


# --- checksums and digests --------------------------------------------------------------------------


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F6_3B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF


@dataclass(frozen=True)
class Sample:
    size: int
    duration: int
    composition_offset: int
    sync: bool


def digest_table(kind: bytes, samples: list[Sample]) -> bytes:
    table = [b"nvr-frg1", kind, struct.pack(">I", len(samples))]
    decode_offset = 0
    for sample in samples:
        table.append(struct.pack(">IIB", sample.size, decode_offset % 2**32, sample.sync))
        decode_offset += sample.duration
    return b"".join(table)


def track_digest(kind: bytes, samples: list[Sample], payload: bytes) -> bytes:
    if not samples:
        return bytes(32)
    return hashlib.sha256(digest_table(kind, samples) + payload).digest()


# --- segments -----------------------------------------------------------------------------------------


class Box(NamedTuple):
    kind: bytes
    start: int
    end: int


def boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    """The boxes that fill a stretch; an error if they do not."""
    while at < end:
        check(end - at >= 8, f"no box at {at}")
        size, kind = struct.unpack_from(">I4s", data, at)
        check(8 <= size <= end - at, f"box {kind!r} at {at} has a wrong size")
        yield Box(kind, at, at + size)
        at += size


def child(data: bytes, box: Box, kind: bytes) -> bytes:
    """The content of a box in a box."""
    found = [b for b in boxes(data, box.start + 8, box.end) if b.kind == kind]
    check(len(found) == 1, f"{len(found)} boxes {kind!r} in {box}")
    return data[found[0].start + 8 : found[0].end]


@dataclass(frozen=True)
class Track:
    decode_time: int
    samples: list[Sample]
    data_offset: int
    """In the file."""
    digest: bytes

    @property
    def data_len(self) -> int:
        return sum(sample.size for sample in self.samples)

    def times(self) -> list[tuple[int, int]]:
        """Decoding and presentation time of each sample, in the file's media time."""
        found, at = [], self.decode_time
        for sample in self.samples:
            found.append((at, at + sample.composition_offset))
            at += sample.duration
        return found


@dataclass(frozen=True)
class Fragment:
    offset: int
    info: Info
    prft: Prft
    video: Track
    audio: Track
    metadata: Track

    @property
    def end(self) -> int:
        return self.offset + self.info.length


@dataclass(frozen=True)
class Head:
    identity: Identity
    identity_bytes: bytes
    parameters: dict[str, Any]
    length: int
    """Of ftyp, header and moov."""


@dataclass(frozen=True)
class Footer:
    offset: int
    head_bytes: bytes
    """Identity and codec parameters."""
    fragments: list[Entry]
    video: list[Sample]
    audio: list[Sample]
    metadata: list[Sample]
    metadata_runs: list[TrackRun]
    """Of each fragment, in version 3."""

    def track(self, run: TrackRun, samples: list[Sample]) -> Track:
        chosen = samples[run.first_sample : run.first_sample + run.sample_count]
        return Track(run.decode_time, chosen, run.data_offset, run.digest)


@dataclass(frozen=True)
class Segment:
    head: Head
    fragments: list[Fragment]
    footer: Footer | None


def read_parameters(data: bytes, at: int, version: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    sizes = {"u8": 1, "u16": 2, "u32": 4}
    for name, kind in PARAMETERS + PARAMETERS_2 * (version >= 2) + PARAMETERS_3 * (version >= 3):
        size = sizes[kind] if kind in sizes else found[f"{name}_len"]
        check(at + size <= len(data), f"{name} is cut")
        value = data[at : at + size]
        found[name] = int.from_bytes(value, "big") if kind in sizes else value
        at += size
    return found, at


def read_identity(data: bytes) -> Identity:
    identity = take(Identity, data)
    check(identity.version in (1, 2, 3), f"version {identity.version} is not known")
    check(identity.stream in (0, 1), "the stream is not known")
    return identity


def read_head(data: bytes) -> Head:
    first = boxes(data, 0, len(data))
    ftyp, header, moov = next(first), next(first), next(first)
    check([ftyp.kind, header.kind, moov.kind] == [b"ftyp", b"uuid", b"moov"], "the first boxes are others")
    check(data[8 : ftyp.end] == b"iso6" + bytes(4) + b"iso6mp41", "ftyp is another")
    content = take(Header, data, header.start)
    check(content.user_type == HEADER_TYPE, "this is no header")
    body, crc = data[header.start + 24 : header.end - 4], data[header.end - 4 : header.end]
    check(crc32c(body) == int.from_bytes(crc, "big"), "the header fails its CRC")
    parameters, end = read_parameters(body, LAYOUTS[Identity].size, take(Identity, body).version)
    check(end == len(body), "the header is longer than it should be")
    return Head(read_identity(body), content.identity, parameters, moov.end)


def read_track(data: bytes, moof: Box, traf: Box, digests: dict[int, bytes]) -> tuple[int, Track]:
    tfhd, tfdt, trun = (child(data, traf, kind) for kind in (b"tfhd", b"tfdt", b"trun"))
    (track_id,) = struct.unpack_from(">I", tfhd, 4)
    (decode_time,) = struct.unpack_from(">Q", tfdt, 4)
    flags, count, data_offset = struct.unpack_from(">III", trun)
    has_flags, has_offsets = bool(flags & 0x400), bool(flags & 0x800)
    check(flags & 0x301 == 0x301, "trun has no sizes, durations or data offset")
    layout = struct.Struct(">II" + "I" * has_flags + "i" * has_offsets)
    check(len(trun) == 12 + count * layout.size, "trun has a wrong size")
    samples = []
    for row in layout.iter_unpack(trun[12:]):
        sync = row[2] == DECODER_CAN_START if has_flags else True
        samples.append(Sample(row[1], row[0], row[-1] if has_offsets else 0, sync))
    return track_id, Track(decode_time, samples, moof.start + data_offset, digests[track_id])


def read_fragment(data: bytes, at: int) -> Fragment:
    """The fragment at a position; checks CRC and digests, and that nothing else is in it."""
    info = take(Info, data, at)
    check((info.size, info.type, info.user_type) == (128, b"uuid", INFO_TYPE), f"no fragment at {at}")
    end = at + info.length
    check(info.size < info.length and end <= len(data), f"the fragment at {at} is cut")
    check(crc32c(data[at + 28 : end]) == info.crc, f"the fragment at {at} fails its CRC")
    parts = list(boxes(data, at, end))
    kinds = [b.kind for b in parts]
    *_, prft, moof, mdat = parts
    check(kinds[-3:] == [b"prft", b"moof", b"mdat"], f"other boxes in fragment {at}")
    metadata_digest = bytes(32)
    if kinds[:-3] == [b"uuid", b"uuid"]:
        box = take(MetadataInfo, data, parts[1].start)
        check((box.size, box.user_type) == (56, METADATA_TYPE), f"another box in fragment {at}")
        metadata_digest = box.digest
    else:
        check(kinds[:-3] == [b"uuid"], f"other boxes in fragment {at}")
    mfhd = child(data, moof, b"mfhd")
    check(int.from_bytes(mfhd[4:], "big") == info.sequence + 1, "mfhd has another sequence")
    digests = {1: info.video_digest, 2: info.audio_digest, 3: metadata_digest}
    trafs = [b for b in boxes(data, moof.start + 8, moof.end) if b.kind == b"traf"]
    tracks = dict(read_track(data, moof, traf, digests) for traf in trafs)
    silence, nothing = Track(0, [], 0, info.audio_digest), Track(0, [], 0, metadata_digest)
    others = tracks.get(2, silence), tracks.get(3, nothing)
    fragment = Fragment(at, info, take(Prft, data, prft.start), tracks[1], *others)
    metadata_at = fragment.metadata.data_offset if fragment.metadata.samples else mdat.end
    sound_at = fragment.audio.data_offset if fragment.audio.samples else metadata_at
    check(fragment.video.data_offset == mdat.start + 8, "pictures do not begin mdat")
    check(fragment.video.data_offset + fragment.video.data_len == sound_at, "sound does not follow pictures")
    check(sound_at + fragment.audio.data_len == metadata_at, "metadata does not follow sound")
    check(metadata_at + fragment.metadata.data_len == mdat.end, "samples do not fill mdat")
    for kind, track in ((b"v", fragment.video), (b"a", fragment.audio), (b"m", fragment.metadata)):
        payload = data[track.data_offset : track.data_offset + track.data_len]
        check(
            track_digest(kind, track.samples, payload) == track.digest, f"a digest of fragment {at} differs"
        )
    return fragment


def read_footer(data: bytes) -> Footer | None:
    """None: the segment is not sealed."""
    if len(data) < 16 or (trailer := take(Trailer, data, len(data) - 16)).magic != TRAILER_MAGIC:
        return None
    start = len(data) - trailer.size
    check(start >= 0, "the footer is longer than the file")
    check(crc32c(data[start + 8 : len(data) - 12]) == trailer.crc, "the footer fails its CRC")
    header = take(Header, data, start)
    check(header.size == trailer.size and header.user_type == FOOTER_TYPE, "this is no footer")
    identity = take(Identity, data, start + 24)
    _, at = read_parameters(data, start + 24 + LAYOUTS[Identity].size, identity.version)
    head_bytes = data[start + 24 : at]
    fragment_count, picture_count, sound_count = struct.unpack_from(">III", data, at)
    at += 12
    document_count, run_size = 0, 0
    if identity.version >= 3:
        (document_count,) = struct.unpack_from(">I", data, at)
        at, run_size = at + 4, LAYOUTS[TrackRun].size
    fragments, runs = [], []
    for _ in range(fragment_count):
        fragments.append(take(Entry, data, at))
        at += LAYOUTS[Entry].size
        runs += [take(TrackRun, data, at)] if run_size else []
        at += run_size
    video = [
        Sample(p.size, p.duration & ~SYNC_BIT, p.composition_offset, bool(p.duration & SYNC_BIT))
        for p in take_all(Picture, data, at, picture_count)
    ]
    at += picture_count * LAYOUTS[Picture].size
    audio = [Sample(s.size, s.duration, 0, True) for s in take_all(Sound, data, at, sound_count)]
    at += sound_count * LAYOUTS[Sound].size
    metadata = [Sample(s.size, s.duration, 0, True) for s in take_all(Sound, data, at, document_count)]
    at += document_count * LAYOUTS[Sound].size
    check(at == len(data) - 16, "the footer's tables do not fill it")
    return Footer(start, head_bytes, fragments, video, audio, metadata, runs)


def read_segment(data: bytes) -> Segment:
    """A segment by its own boxes, with its footer if it is sealed. Every byte is accounted for."""
    head, footer = read_head(data), read_footer(data)
    end = footer.offset if footer else len(data)
    fragments, at = [], head.length
    while at < end:
        fragments.append(read_fragment(data, at))
        at = fragments[-1].end
    check(at == end, "the last fragment reaches into the footer")
    if footer:
        check(footer.head_bytes.startswith(head.identity_bytes), "the footer is of another segment")
    return Segment(head, fragments, footer)


# --- index, event log, store ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Index:
    header: IndexHeader
    records: list[IndexRecord]


def read_index(data: bytes) -> Index:
    header = take(IndexHeader, data)
    check(header.magic == INDEX_MAGIC and header.crc == crc32c(data[:60]), "this is no index header")
    size = LAYOUTS[IndexRecord].size
    records = take_all(IndexRecord, data, 64, (len(data) - 64) // size)
    for n, record in enumerate(records):
        at = 64 + n * size
        check(record.crc == crc32c(data[at : at + size - 4]), f"index record {n} fails its CRC")
    return Index(header, records)


def read_events(data: bytes) -> list[dict[str, Any]]:
    """The events of a log, without a torn last line."""
    events = []
    lines = data.splitlines(keepends=True)
    for n, line in enumerate(lines):
        text = line.removesuffix(b"\n")
        whole = (
            line.endswith(b"\n")
            and re.match(rb"[0-9a-f]{8} ", line)
            and int(text[:8], 16) == crc32c(text[9:])
        )
        if whole:
            events.append(json.loads(text[9:]))
        else:
            check(n == len(lines) - 1, f"line {n + 1} is damaged")
    return events


def read_watermark(data: bytes) -> int:
    mark = take(Watermark, data)
    check(len(data) == 12 and mark.crc == crc32c(data[:8]), "the watermark fails its CRC")
    return mark.synced_us


def read_durable(data: bytes) -> dict[UUID, tuple[int, int]]:
    """First sequence of the newest durable segment of each run, and its durable length."""
    places = []
    for at in range(0, len(data), 65_536):
        header = take(DurableHeader, place := data[at : at + 65_536])
        end = 12 + header.marks * 24
        if int.from_bytes(place[end : end + 4], "little") == crc32c(place[:end]):
            entries = [take(DurableEntry, place[n : n + 24]) for n in range(12, end, 24)]
            places.append(
                (header.generation, {UUID(bytes=e.run): (e.first_sequence, e.len) for e in entries})
            )
    return max(places, key=lambda place: place[0], default=(0, {}))[1]


@dataclass(frozen=True)
class Named:
    """A segment file's place and name."""

    path: Path
    camera: UUID
    stream: str
    day_start_us: int
    segment_ms: int
    run: UUID


def day_start_us(name: str) -> int:
    day = datetime.strptime(name, "%Y-%m-%d").replace(tzinfo=UTC)
    check(day.strftime("%Y-%m-%d") == name, f"{name} is no day")
    return int(day.timestamp()) * 1_000_000


def segments(root: Path) -> list[Named]:
    """All segment files under a root, by camera, stream and name."""
    found = []
    for path in sorted(root.glob("*/*/*/*.mp4")):
        day, stream, camera = path.parent, path.parent.parent, path.parent.parent.parent
        match = SEGMENT_NAME.fullmatch(path.name)
        if match is None or stream.name not in ("main", "sub"):
            continue
        h, m, s, ms = (int(part) for part in match.groups()[:4])
        time_ms = ((h * 60 + m) * 60 + s) * 1000 + ms
        found.append(
            Named(path, UUID(camera.name), stream.name, day_start_us(day.name), time_ms, UUID(match[5]))
        )
    return found
