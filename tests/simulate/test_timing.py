"""When packets are sent, and what wall time the timestamps stand for."""

from itertools import islice, pairwise
from pathlib import Path

import av
import pytest

from nvr import nal
from nvr.simulate import timecode
from nvr.simulate.server import SimulatedCameras

from .conftest import SCENES, rgb
from .rtsp import Client, Packet, Rtp

_NTP_TO_UNIX_S = 2_208_988_800
_CLOCKS_APART_US = 20_000
"""The server's clock is set once from the machine's, which may be slewed or stepped a little since."""


def reports(packet: Packet) -> tuple[int, int]:
    """Wall time (µs) and RTP timestamp of a sender report."""
    data = packet.data
    assert data[:2] == b"\x80\xc8"
    seconds, fraction = int.from_bytes(data[8:12], "big"), int.from_bytes(data[12:16], "big")
    return (seconds - _NTP_TO_UNIX_S) * 1_000_000 + (fraction * 1_000_000 >> 32), int.from_bytes(
        data[16:20], "big"
    )


def difference(timestamp: int, since: int) -> int:
    """Signed distance of two RTP timestamps."""
    return (timestamp - since + (1 << 31)) % (1 << 32) - (1 << 31)


@pytest.mark.parametrize("name", SCENES)
def test_the_picture_shows_the_time_that_its_timestamp_stands_for(
    name: str, cameras: SimulatedCameras
) -> None:
    """Sender report → wall time of each picture → media time = what is drawn into it."""
    scene = SCENES[name]
    camera = next(camera for camera in cameras.cameras if camera.name == name)
    decoder = av.CodecContext.create("h264" if scene.codec == "h264" else "hevc", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    with Client(cameras.port) as client:
        client.play(camera.main_url)
        first = client.packet()
        assert first.channel == 1, "a sender report comes before the first picture"
        report_us, report_timestamp = reports(first)
        assert abs(first.at_us - report_us) < 10_000_000
        frames = []
        shown = {}
        for unit in islice(client.access_units(scene.codec), 70):
            ticks = difference(unit.timestamp, report_timestamp)
            packet = av.Packet(b"".join(b"\0\0\0\1" + nal for nal in unit.nals))
            packet.pts = ticks
            shown[ticks] = unit
            frames += decoder.decode(packet)
        frames += decoder.decode(None)
    assert len(frames) > 60
    for frame in frames:
        assert frame.pts is not None
        wall_us = report_us + frame.pts * 100 // 9
        media_ms = (wall_us - camera.zero_us) / 1000 % (scene.duration_s * 1000)
        read = timecode.read(rgb(frame))
        assert read is not None
        # Rounding of the drawn time and of the report: under half a picture (33 ms).
        assert abs((media_ms - read + 2000) % (scene.duration_s * 1000) - 2000) <= 2, frame.pts


@pytest.mark.parametrize("name", ["h264-b-frames", "h265-open-gop"])
def test_a_b_frame_follows_its_anchor_and_nothing_is_early(
    name: str, cameras: SimulatedCameras, files: dict[str, Path]
) -> None:
    camera = next(camera for camera in cameras.cameras if camera.name == name)
    with Client(cameras.port) as client:
        client.play(camera.main_url)
        report_us, report_timestamp = reports(client.packet())
        latest_us = 0
        order = []
        for unit in islice(client.access_units(SCENES[name].codec), 70):
            ticks = difference(unit.timestamp, report_timestamp)
            latest_us = max(latest_us, report_us + ticks * 100 // 9)
            # A camera cannot send a picture before it, and all that it refers to, was seen.
            assert unit.at_us >= latest_us - _CLOCKS_APART_US
            order.append(ticks)
    # Decoding order, as in the file: positions in time of the pictures of one GOP.
    with av.open(str(files[name])) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        pts = [round(p.pts * stream.time_base * 15) for p in container.demux(stream) if p.pts is not None]
    got = [round((ticks - order[0]) / 6000) for ticks in order]
    starts = [
        start
        for start in range(60)
        if [pts[(start + i) % 60] + (start + i) // 60 * 60 - pts[start] for i in range(70)] == got
    ]
    assert starts
    assert any(later < sooner for sooner, later in pairwise(got)), "there are B-frames"


def test_a_viewer_starts_at_a_random_access_point_with_parameter_sets(cameras: SimulatedCameras) -> None:
    for name, kinds in (("h264", [7, 8]), ("h265-open-gop", [32, 33, 34])):
        codec = SCENES[name].codec
        with Client(cameras.port) as client:
            client.play(cameras.url(name))
            unit = next(client.access_units(codec))
        found = [n[0] & 0x1F if codec == "h264" else n[0] >> 1 & 0x3F for n in unit.nals]
        sets = [kind for kind in found if kind in kinds]
        assert sets == kinds
        assert found.index(kinds[-1]) < next(
            index for index, each in enumerate(unit.nals) if nal.is_random_access(codec, each)
        )


def test_rtp_info_names_the_first_packets(cameras: SimulatedCameras) -> None:
    with Client(cameras.port) as client:
        info = client.play(cameras.url("h264"), audio=True).headers["rtp-info"]
        promised = [dict(item.split("=", 1) for item in each.split(";")) for each in info.split(",")]
        first: dict[int, Rtp] = {}
        while not {0, 2} <= first.keys():
            packet = client.packet()
            if packet.channel in (0, 2):
                first.setdefault(packet.channel, Rtp.parse(packet.data))
    for track, channel in enumerate((0, 2)):
        assert promised[track]["url"] == f"{cameras.url('h264')}/trackID={track}"
        assert int(promised[track]["seq"]) == first[channel].sequence
        assert int(promised[track]["rtptime"]) == first[channel].timestamp


def test_all_viewers_see_the_same_moment(cameras: SimulatedCameras) -> None:
    """Two viewers' timestamps differ by their random offsets only."""
    url = cameras.url("h264")
    with Client(cameras.port) as one, Client(cameras.port) as two:
        moments = []
        for client in (one, two):
            client.play(url)
            report_us, timestamp = reports(client.packet())
            unit = next(client.access_units("h264"))
            moments.append((report_us + difference(unit.timestamp, timestamp) * 100 // 9, unit.timestamp))
    (first_us, first), (second_us, second) = moments
    # Both at a random-access point of the one timeline: whole GOPs (1 s) apart.
    apart_us = abs(second_us - first_us) % 1_000_000
    assert min(apart_us, 1_000_000 - apart_us) < 1000
    assert first != second
