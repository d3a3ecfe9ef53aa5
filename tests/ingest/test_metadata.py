"""ONVIF metadata of a camera, recorded when its address asks for it."""

from collections.abc import Callable
from pathlib import Path

import av

from nvr._core import Store
from tests.e2e.media import assert_decodes, frame_digests
from tests.ingest.conftest import Recorder
from tests.ingest.test_changes import clip
from tests.peers.gstreamer import Camera
from tests.peers.metadata_camera import metadata_camera


def scene(number: int) -> bytes:
    """A document as cameras send them; every fifth is larger than a packet."""
    objects = "".join(f'<tt:Object ObjectId="{n}"/>' for n in range(number % 5 * 20))
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"><tt:VideoAnalytics>'
        f'<tt:Frame UtcTime="2026-11-23T07:05:{number % 60:02}Z">{objects}</tt:Frame>'
        "</tt:VideoAnalytics></tt:MetadataStream>"
    )
    return text.encode()


def documents_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        (stream,) = container.streams.data
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def test_metadata_beside_pictures_and_sound(
    gst_camera: Callable[..., Camera], recorder: Recorder, scenes: dict[str, Path], tmp_path: Path
) -> None:
    camera = gst_camera(file=scenes["h264"], audio=True)
    with metadata_camera(camera.port, scene) as before:
        recorder.record(f"rtsp://127.0.0.1:{before.port}{camera.path}#metadata")
        status = recorder.wait_until("the whole file", lambda s: s.frames >= 50)
        assert (status.audio_codec, status.detail) == ("mp4a.40.2", "")
        recorder.stop()
    assert len(before.sent) >= 15
    (part,) = clip(recorder, tmp_path)[:1]
    for path in (recorder.segments()[0], part):
        assert_decodes(path)
        found = documents_of(path)
        # Before the first picture there is nothing to put it to; it ends with the last one.
        assert len(found) >= 12
        start = before.sent.index(found[0])
        assert found == before.sent[start : start + len(found)]
        with av.open(str(path)) as container:
            assert len(container.streams.audio) == 1
    # The pictures are the same as without.
    expected = frame_digests(scenes["h264"])
    found_pictures = frame_digests(recorder.segments()[0])
    assert found_pictures == expected[: len(found_pictures)]
    # With all digests, those of the metadata too.
    report = Store.check([str(recorder.root)], digests=True)
    assert (report.problems, report.fragments > 0) == ([], True)


def test_without_asking_there_is_none(
    gst_camera: Callable[..., Camera], recorder: Recorder, scenes: dict[str, Path]
) -> None:
    camera = gst_camera(file=scenes["h264"])
    with metadata_camera(camera.port, scene) as before:
        recorder.record(f"rtsp://127.0.0.1:{before.port}{camera.path}")
        recorder.wait_until("pictures", lambda s: s.frames >= 10)
        recorder.stop()
    assert before.sent == []
    with av.open(str(recorder.segments()[0])) as container:
        assert [stream.type for stream in container.streams] == ["video"]
