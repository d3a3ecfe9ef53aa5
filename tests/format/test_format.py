"""What the recorder writes is what the document says, down to the byte."""

import io
import json
import shutil
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import av
import pytest

from nvr import _core
from tests.format import reader
from tests.format.conftest import OPEN_GOP_CAMERA, SECOND, SOUND_CAMERA, Recorded, Recording
from tests.format.reader import LEADING, RANDOM_ACCESS, Fragment, Index, Segment, Track

CAMERAS = [SOUND_CAMERA, OPEN_GOP_CAMERA]
DAY_US = 86_400 * SECOND


class Stored(NamedTuple):
    name: reader.Named
    data: bytes
    segment: Segment


class Run(NamedTuple):
    recording: Recording
    segments: list[Stored]

    @property
    def fragments(self) -> list[tuple[Stored, Fragment]]:
        return [(stored, fragment) for stored in self.segments for fragment in stored.segment.fragments]

    @property
    def folder(self) -> Path:
        return self.segments[0].name.path.parents[1]

    @property
    def indexes(self) -> list[Index]:
        return [reader.read_index(path.read_bytes()) for path in sorted(self.folder.glob("*/*.index"))]


@pytest.fixture(scope="module")
def stored(recorded: Recorded) -> dict[str, Run]:
    """Every segment of the store, by camera; reading checks each of its bytes."""
    found = {
        recording.camera: Run(
            recording,
            [
                Stored(name, data := name.path.read_bytes(), reader.read_segment(data))
                for name in reader.segments(recorded.root)
                if str(name.camera) == recording.camera
            ],
        )
        for recording in recorded.recordings
    }
    assert [len(found[camera].segments) for camera in CAMERAS] == [2, 1]
    return found


@pytest.fixture(params=CAMERAS, ids=["h264-aac", "h265"])
def run(request: pytest.FixtureRequest, stored: dict[str, Run]) -> Run:
    return stored[request.param]


def test_the_tree_holds_nothing_else(recorded: Recorded, stored: dict[str, Run]) -> None:
    expected = {recorded.root / name for name in (".boot", ".disks", ".durable", ".store", ".synced")}
    for run in stored.values():
        expected |= {run.folder / "events"} | {segment.name.path for segment in run.segments}
        expected |= {segment.name.path.parent / f"{segment.name.run}.index" for segment in run.segments}
    assert {path for path in recorded.root.rglob("*") if path.is_file()} == expected
    (disk,) = json.loads((recorded.root / ".disks").read_text())["disks"]
    assert disk["path"] == str(recorded.root)
    streams = {f"{run.recording.camera}/{run.recording.stream}" for run in stored.values()}
    assert disk["streams"].keys() == streams


def test_names_say_what_headers_say(run: Run) -> None:
    for name, _, segment in run.segments:
        identity = segment.head.identity
        assert (UUID(bytes=identity.camera), UUID(bytes=identity.run)) == (name.camera, name.run)
        assert str(name.camera) == run.recording.camera
        assert name.run.version == 7
        assert ["main", "sub"][identity.stream] == name.stream == run.recording.stream
        assert name.day_start_us + name.segment_ms * 1000 == identity.wall_start_us // 1000 * 1000
        first = segment.fragments[0]
        assert (identity.wall_start_us, identity.first_sequence) == (
            first.info.wall_start_us,
            first.info.sequence,
        )
        assert identity.start_pts_90k == min(pts for _, pts in first.video.times())
    assert len({segment.head.identity.salt for _, _, segment in run.segments}) == len(run.segments)


def test_parameters_are_the_sources(run: Run) -> None:
    media = run.recording.media
    for _, _, segment in run.segments:
        assert segment.head.parameters == {
            "video_codec": {"h264": 1, "h265": 2}[media.codec],
            "width": media.width,
            "height": media.height,
            "video_extra_len": len(media.record),
            "video_extra": media.record,
            "audio_sample_rate": media.sample_rate_hz,
            "audio_channels": 1 if media.sound else 0,
            "audio_extra_len": len(media.audio_config),
            "audio_extra": media.audio_config,
        }


def test_a_footer_says_what_the_fragments_own_boxes_say(run: Run) -> None:
    for _, data, segment in run.segments:
        footer = segment.footer
        assert footer is not None
        # Identity and parameters, byte for byte (the header box begins behind 24 bytes of ftyp).
        header_end = 24 + int.from_bytes(data[24:28], "big")
        assert footer.head_bytes == data[24 + 24 : header_end - 4]
        assert len(footer.fragments) == len(segment.fragments)
        for entry, fragment in zip(footer.fragments, segment.fragments, strict=True):
            assert entry.offset == fragment.offset
            same = set(entry._fields) & set(fragment.info._fields)
            assert len(same) == 9
            assert {f: getattr(entry, f) for f in same} == {f: getattr(fragment.info, f) for f in same}
            for packed, listed, own in (
                (entry.video, footer.video, fragment.video),
                (entry.audio, footer.audio, fragment.audio),
            ):
                track_run = reader.take(reader.TrackRun, packed)
                if own.samples:
                    assert footer.track(track_run, listed) == own
                    assert track_run.data_len == own.data_len
                else:
                    assert (track_run.sample_count, track_run.digest) == (0, bytes(32))
        assert len(footer.video) == sum(len(f.video.samples) for f in segment.fragments)
        assert len(footer.audio) == sum(len(f.audio.samples) for f in segment.fragments)


def test_an_open_segment_is_read_from_its_fragments(run: Run) -> None:
    whole, unsealed = run.segments[0], run.recording.unsealed
    assert whole.data.startswith(unsealed)
    segment = reader.read_segment(unsealed)
    assert segment.footer is None
    assert segment.fragments == whole.segment.fragments[: len(segment.fragments)]
    assert 0 < len(segment.fragments) < len(whole.segment.fragments)


def samples(run: Run, track: str) -> list[bytes]:
    found = []
    for stored, fragment in run.fragments:
        share: Track = getattr(fragment, track)
        at = share.data_offset
        for sample in share.samples:
            found.append(stored.data[at : at + sample.size])
            at += sample.size
    return found


def test_nal_units_are_the_sources_in_order(run: Run) -> None:
    assert samples(run, "video") == [picture.data for picture in run.recording.media.pictures]


def test_sound_is_the_sources_in_order(stored: dict[str, Run]) -> None:
    run = stored[SOUND_CAMERA]
    media = run.recording.media
    # Sound without pictures is not recorded: not what comes before the first picture.
    came = [frame.data for frame in media.sound if frame.time >= media.delay]
    assert 0 < len(media.sound) - len(came) < 10
    assert samples(run, "audio") == came


def test_media_times_are_the_sources(run: Run) -> None:
    media = run.recording.media
    pictures, sound = [], []
    for stored, fragment in run.fragments:
        base = Fraction(stored.segment.head.identity.base_90k, 90_000)
        times = fragment.video.times()
        assert all(decode < later for (decode, _), (later, _) in pairwise(times))
        assert fragment.prft.media_time == min(pts for _, pts in times)
        pictures += [base + Fraction(pts, 90_000) for _, pts in times]
        rate = media.sample_rate_hz or 1
        sound += [base + Fraction(at, rate) for at, _ in fragment.audio.times()]
    assert pictures == [picture.time for picture in media.pictures]
    came = [frame.time for frame in media.sound if frame.time >= media.delay]
    assert len(sound) == len(came)
    assert all(abs(a - b) < Fraction(1, 1000) for a, b in zip(sound, came, strict=True))


def test_wall_times_are_those_of_arrival(run: Run) -> None:
    zero_us = run.recording.start_us
    before: Fragment | None = None
    for n, (stored, fragment) in enumerate(run.fragments):
        info = fragment.info
        base = stored.segment.head.identity.base_90k
        first_90k = base + min(pts for _, pts in fragment.video.times())
        assert info.wall_start_us == zero_us + (first_90k * 100 + 4) // 9
        assert fragment.prft.wall_us == info.wall_start_us
        assert (fragment.prft.track, fragment.prft.version_flags) == (1, 1 << 24)
        ticks = sum(sample.duration for sample in fragment.video.samples)
        assert info.duration_us == (ticks * 100 + 4) // 9
        assert info.sequence == n
        if before is not None:
            assert info.wall_start_us > before.info.wall_start_us
        before = fragment


def test_flags_distances_and_activity_are_those_of_the_pictures(run: Run) -> None:
    distance, with_leading = 0, 0
    for _, fragment in run.fragments:
        info, pictures = fragment.info, fragment.video.samples
        starts = pictures[0].sync
        assert not any(picture.sync for picture in pictures[1:])
        distance = 0 if starts else distance + 1
        assert bool(info.flags & RANDOM_ACCESS) == starts
        assert info.random_access_distance == distance
        presented = [pts for _, pts in fragment.video.times()]
        leads = starts and min(presented) < presented[0]
        assert bool(info.flags & LEADING) == leads
        with_leading += leads
        assert info.activity_bytes == sum(picture.size for picture in pictures if not picture.sync)
        assert info.camera_clock_offset_ms == -(2**31)
    # The second group of pictures of the H.265 scene is an open one.
    assert with_leading == (run.recording.camera == OPEN_GOP_CAMERA)


def test_index_records_are_the_fragments(run: Run) -> None:
    assert len(run.indexes) == len({stored.name.day_start_us for stored in run.segments})
    for index in run.indexes:
        header = index.header
        assert (UUID(bytes=header.camera), header.epoch) == (UUID(run.recording.camera), 0)
        assert ["main", "sub"][header.stream] == run.recording.stream
        assert header.day_start_us % DAY_US == 0
        expected = [
            (
                fragment.info.wall_start_us,
                fragment.info.duration_us,
                stored.name.segment_ms,
                fragment.offset,
                fragment.info.length,
                fragment.info.flags,
                len(fragment.video.samples),
                fragment.info.random_access_distance,
                0,
                fragment.info.activity_bytes,
                fragment.info.camera_clock_offset_ms,
                fragment.info.sequence,
            )
            for stored, fragment in run.fragments
            if stored.name.day_start_us == header.day_start_us and stored.name.run.bytes == header.run
        ]
        assert [record[:-1] for record in index.records] == expected
        assert expected


def test_fragments_after_midnight_are_with_their_segment(stored: dict[str, Run]) -> None:
    first, second = stored[SOUND_CAMERA].indexes
    assert second.header.day_start_us == first.header.day_start_us + DAY_US
    assert first.records[0].wall_start_us < second.header.day_start_us < first.records[-1].wall_start_us
    assert second.records[0].sequence == first.records[-1].sequence + 1


def test_the_event_log_says_what_happened(run: Run) -> None:
    events = reader.read_events((run.folder / "events").read_bytes())
    last = run.fragments[-1][1].info
    run_id = str(run.segments[0].name.run)
    assert events == [
        {"kind": "run_started", "at_us": run.fragments[0][1].info.wall_start_us, "run": run_id, "epoch": 0},
        {
            "kind": "run_ended",
            "at_us": last.wall_start_us + last.duration_us,
            "run": run_id,
            "reason": "disconnected",
            "detail": "the file ended",
        },
    ]


def test_an_expired_event_stands_in_the_log_before_footage_goes(recorded: Recorded, tmp_path: Path) -> None:
    root = tmp_path / "store"
    shutil.copytree(recorded.root, root)
    names = [name for name in reader.segments(root) if str(name.camera) == SOUND_CAMERA]
    starts = [name.day_start_us + name.segment_ms * 1000 for name in names]
    total = sum(name.path.stat().st_size for name in reader.segments(root))
    store = _core.Store([str(root)])
    try:
        # The oldest segment is to go, and no other.
        assert store.enforce_retention(max_bytes=total - 1) == (1, 0)
    finally:
        store.close()
    assert [name.path.exists() for name in names] == [False, True]
    events = reader.read_events((root / SOUND_CAMERA / "main" / "events").read_bytes())
    expired = events.pop()
    assert {"kind": "expired", "until_us": starts[1]} == {k: expired[k] for k in ("kind", "until_us")}
    assert expired["at_us"] >= recorded.closed_us
    assert [event["kind"] for event in events] == ["run_started", "run_ended"]


def test_the_watermark_is_of_the_recording(recorded: Recorded) -> None:
    synced_us = reader.read_watermark(recorded.watermark)
    assert recorded.opened_us <= synced_us <= recorded.closed_us


def test_what_is_durable_is_all_of_it(recorded: Recorded, stored: dict[str, Run]) -> None:
    marks = reader.read_durable((recorded.root / ".durable").read_bytes())
    newest = {run.segments[-1].name.run: run.segments[-1].segment for run in stored.values()}
    assert marks == {
        run: (segment.head.identity.first_sequence, segment.fragments[-1].end)
        for run, segment in newest.items()
    }


def test_the_boot_id_is_the_machines(recorded: Recorded) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    assert (recorded.root / ".boot").read_bytes() == boot_id


def decode(data: bytes) -> list[Fraction]:
    """Times of the pictures that a player shows."""
    with av.open(io.BytesIO(data), "r") as container:
        base = container.streams.video[0].time_base or Fraction(1)
        return [Fraction(frame.pts or 0) * base for frame in container.decode(video=0)]


def test_a_segment_plays_as_it_is(run: Run) -> None:
    for stored in run.segments:
        fragments = stored.segment.fragments
        expected = sorted(Fraction(pts, 90_000) for f in fragments for _, pts in f.video.times())
        assert expected[0] == Fraction(stored.segment.head.identity.start_pts_90k, 90_000)
        assert decode(stored.data) == expected
        with av.open(io.BytesIO(stored.data), "r") as container:
            assert [stream.type for stream in container.streams] == (
                ["video", "audio"] if run.recording.media.sound else ["video"]
            )


def test_players_are_given_the_sound_in_its_place(stored: dict[str, Run]) -> None:
    for _, data, segment in stored[SOUND_CAMERA].segments:
        expected = []
        for fragment in segment.fragments:
            at = fragment.audio.data_offset
            for sample, (_, pts) in zip(fragment.audio.samples, fragment.audio.times(), strict=True):
                expected.append((pts, data[at : at + sample.size]))
                at += sample.size
        with av.open(io.BytesIO(data), "r") as container:
            packets = [packet for packet in container.demux(audio=0) if packet.size]
            assert [(packet.pts, bytes(packet)) for packet in packets] == expected


def test_an_initialization_segment_with_any_fragments_plays(run: Run) -> None:
    for stored in run.segments:
        init = stored.data[: stored.segment.head.length]
        fragments = stored.segment.fragments
        for n, first in enumerate(fragments):
            if not first.info.flags & RANDOM_ACCESS:
                continue
            sequence = fragments[n : n + 2]
            presented = [pts for _, pts in first.video.times()]
            leading = sum(pts < presented[0] for pts in presented)
            pictures = sum(len(fragment.video.samples) for fragment in sequence)
            shown = decode(init + stored.data[first.offset : sequence[-1].end])
            # Leading pictures refer to the group before, which is not there.
            assert len(shown) == pictures - leading


# --- a reader that finds nothing wrong would prove nothing ----------------------------------------------


@pytest.mark.parametrize("where", ["header", "info", "moof", "mdat", "footer"])
def test_damage_is_found(stored: dict[str, Run], where: str) -> None:
    _, data, segment = stored[SOUND_CAMERA].segments[1]
    fragment = segment.fragments[1]
    assert segment.footer is not None
    at = {
        "header": 60,
        "info": fragment.offset + 50,
        "moof": fragment.offset + 128 + 32 + 60,
        "mdat": fragment.end - 1,
        "footer": segment.footer.offset + 200,
    }[where]
    damaged = bytearray(data)
    damaged[at] ^= 4
    with pytest.raises(reader.FormatError):
        reader.read_segment(bytes(damaged))


@pytest.mark.parametrize("track", ["video", "audio"])
def test_a_digest_finds_what_a_checksum_was_made_to_hide(stored: dict[str, Run], track: str) -> None:
    _, data, segment = stored[SOUND_CAMERA].segments[1]
    fragment = segment.fragments[0]
    altered = bytearray(data[: fragment.end])
    altered[getattr(fragment, track).data_offset + 20] ^= 1
    crc = reader.crc32c(bytes(altered[fragment.offset + 28 :]))
    struct.pack_into(">I", altered, fragment.offset + 24, crc)
    with pytest.raises(reader.FormatError, match="a digest"):
        reader.read_segment(bytes(altered))


def test_a_torn_event_is_left_out_and_a_damaged_one_is_said() -> None:
    def line(text: str) -> bytes:
        return f"{reader.crc32c(text.encode()):08x} {text}\n".encode()

    log = line('{"kind":"a"}') + line('{"kind":"b"}')
    assert reader.read_events(log + log[:-4]) == [{"kind": "a"}, {"kind": "b"}, {"kind": "a"}]
    with pytest.raises(reader.FormatError, match="line 1 is damaged"):
        reader.read_events(log.replace(b'"a"', b'"c"'))
