"""Segments with ONVIF metadata: what the document says of them, and what players read of them."""

import subprocess
from pathlib import Path

import av
import pytest

from nvr import _core
from nvr.simulate.scenes import Scene, generate
from tests.e2e.media import assert_decodes
from tests.format import reader
from tests.format.conftest import MIDNIGHT_US, SECOND
from tests.support.recording import begin, read_media

CAMERA = "0193143f-0000-7000-8000-000000000003"
START_US = MIDNIGHT_US + 7200 * SECOND


def document(number: int) -> bytes:
    """Of any length."""
    return f'<tt:MetadataStream n="{number}">{"x" * (number * 37 % 500)}</tt:MetadataStream>'.encode()


SENT = {START_US + 700_000 + n * 770_000: document(n) for n in range(12) if n not in range(5, 10)}
"""By arrival; there is a fragment without any."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("metadata")
    scene = Scene(seed=9, width=192, height=108, fps=10, duration_s=10, bit_rate=100_000, audio=True)
    media = read_media(generate(scene, folder), sound=True)
    root = folder / "store"
    store = _core.Store([str(root)])
    writer = begin(store.writer(CAMERA, "main"), media, metadata=True)
    sound = {id(frame) for frame in media.sound}
    documents = iter(SENT.items())
    next_us, data = next(documents)
    for at, sample in media.arrivals:
        arrival_us = START_US + int(at * SECOND)
        while data and next_us <= arrival_us:
            writer.metadata(data, next_us)
            next_us, data = next(documents, (0, b""))
        if id(sample) in sound:
            writer.audio(sample.data, round(sample.time * media.sample_rate_hz), 1024, arrival_us)
        else:
            writer.video(sample.data, int(sample.time * 90_000), arrival_us)
    writer.flush()
    (unsealed,) = root.glob(f"{CAMERA}/main/*/*.mp4")
    folder.joinpath("unsealed.mp4").write_bytes(unsealed.read_bytes())
    writer.end(START_US + 10 * SECOND)
    store.close()
    return root


def the_segment(root: Path) -> tuple[Path, bytes, reader.Segment]:
    (path,) = root.glob(f"{CAMERA}/main/*/*.mp4")
    data = path.read_bytes()
    return path, data, reader.read_segment(data)


def documents_of(path: Path) -> list[tuple[float, bytes]]:
    """Media time in seconds, and document, as libav reads them."""
    with av.open(str(path)) as container:
        (stream,) = container.streams.data
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None and packet.time_base
        ]


def test_a_segment_is_as_the_document_says(root: Path) -> None:
    _, data, segment = the_segment(root)
    assert segment.head.identity.version == 3
    assert (segment.head.parameters["audio_codec"], segment.head.parameters["metadata_coding"]) == (1, 1)
    footer = segment.footer
    assert footer is not None
    found = []
    for fragment, run in zip(segment.fragments, footer.metadata_runs, strict=True):
        track = fragment.metadata
        if track.samples:
            assert footer.track(run, footer.metadata) == track
        else:
            assert run == reader.TrackRun(0, 0, 0, 0, 0, bytes(32))
        first = min(pts for _, pts in fragment.video.times())
        at = track.data_offset
        for sample, (decode, _) in zip(track.samples, track.times(), strict=True):
            at_us = fragment.info.wall_start_us + (decode - first) * 100 // 9
            found.append((at_us, data[at : at + sample.size]))
            at += sample.size
    assert [document for _, document in found] == list(SENT.values())
    for (at_us, _), sent_us in zip(found, SENT, strict=True):
        assert at_us == pytest.approx(sent_us, abs=20)
    # Not every fragment has some.
    assert not all(fragment.metadata.samples for fragment in segment.fragments)


def test_a_segment_without_footer_says_the_same(root: Path) -> None:
    _, _, whole = the_segment(root)
    unsealed = reader.read_segment((root.parent / "unsealed.mp4").read_bytes())
    assert unsealed.footer is None
    assert unsealed.fragments == whole.fragments[: len(unsealed.fragments)]
    assert any(fragment.metadata.samples for fragment in unsealed.fragments)


def test_recovery_makes_the_footer_again(root: Path, tmp_path: Path) -> None:
    path, data, segment = the_segment(root)
    assert segment.footer is not None
    copy = tmp_path / "store" / path.relative_to(root)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(data[: segment.footer.offset])
    _core.Store([str(tmp_path / "store")]).close()
    assert copy.read_bytes() == data


def test_players_read_it(root: Path) -> None:
    path, _, _ = the_segment(root)
    assert_decodes(path)
    assert [document for _, document in documents_of(path)] == list(SENT.values())
    # As docs/cameras.md has it.
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:d", "-c", "copy", "-f", "data", "-"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert done.stdout == b"".join(SENT.values())


def test_a_clip_carries_what_falls_into_it(root: Path, tmp_path: Path) -> None:
    store = _core.Store([str(root)], read_only=True)
    try:
        plan = store.clip(CAMERA, "main", START_US + 3 * SECOND, START_US + 7 * SECOND)
    finally:
        store.close()
    (part,) = plan.parts
    clip = tmp_path / "clip.mp4"
    part.save(clip)
    assert_decodes(clip)
    found = {at_s: document for at_s, document in documents_of(clip) if 0 <= at_s < 4}
    inside = {
        (at_us - START_US) / SECOND - 3: data
        for at_us, data in SENT.items()
        if START_US + 3 * SECOND <= at_us < START_US + 7 * SECOND
    }
    assert list(found.values()) == list(inside.values())
    assert list(found) == pytest.approx(list(inside), abs=0.001)
