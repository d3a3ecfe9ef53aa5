"""RTSP as the RFC has it, also for those who do not keep to it."""

import contextlib
import socket
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nvr.errors import Closed, InvalidArgument
from nvr.simulate.server import SimulatedCameras

from .rtsp import Client, Rtp

TCP = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}


def test_description_names_codecs_and_tracks(cameras: SimulatedCameras) -> None:
    with Client(cameras.port) as client:
        assert "DESCRIBE" in client.request("OPTIONS", "*").headers["public"]
        answer = client.request("DESCRIBE", cameras.url("h264"), {"Accept": "application/sdp"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/sdp"
    assert answer.headers["content-base"] == cameras.url("h264") + "/"
    text = answer.body.decode()
    assert "a=rtpmap:96 H264/90000" in text
    assert "sprop-parameter-sets=" in text
    assert "a=rtpmap:97 mpeg4-generic/16000/1" in text
    assert "a=control:trackID=1" in text


def test_a_session_from_setup_to_teardown(cameras: SimulatedCameras) -> None:
    url = cameras.url("h264-b-frames")
    with Client(cameras.port) as client:
        client.play(url)
        for method in ("GET_PARAMETER", "OPTIONS", "PLAY", "SET_PARAMETER"):
            assert client.request(method, url).status == 200
        sequences = [packet.sequence for packet, _ in islice(client.rtp(), 50)]
        assert all(b == (a + 1) & 0xFFFF for a, b in pairwise(sequences))
        assert client.request("TEARDOWN", url).status == 200
        # Nothing comes after the answer but answers.
        client.session = ""
        assert client.request("OPTIONS", url).status == 200
        assert client.request("TEARDOWN", url).status == 454


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("DESCRIBE", "/nothing/here", {}, 404),
        ("SETUP", "/nothing/trackID=0", TCP, 404),
        ("SETUP", "/h264/main/trackID=7", TCP, 404),
        ("SETUP", "/h264-b-frames/main/trackID=1", TCP, 404),
        ("SETUP", "/h264/main/trackID=0", {}, 400),
        ("SETUP", "/h264/main/trackID=0", {"Transport": "RTP/AVP;multicast"}, 461),
        ("SETUP", "/h264/main/trackID=0", {"Transport": "RTP/SAVP/TCP;unicast;interleaved=0-1"}, 461),
        ("SETUP", "/h264/main/trackID=0", {"Transport": "RTP/AVP;unicast"}, 461),
        ("DESCRIBE", "/h264/main", {"Accept": "text/html"}, 406),
        ("DESCRIBE", "/h264/main", {"Require": "play.scale"}, 551),
        ("PLAY", "/h264/main", {}, 455),
        ("PLAY", "/h264/main", {"Session": "other"}, 454),
        ("TEARDOWN", "/h264/main", {}, 454),
        ("PAUSE", "/h264/main", {}, 405),
        ("RECORD", "/h264/main", {}, 405),
        ("DANCE", "/h264/main", {}, 501),
    ],
)
def test_what_cannot_be_done_has_its_status(
    cameras: SimulatedCameras, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    with Client(cameras.port) as client:
        assert client.request(method, f"rtsp://127.0.0.1:{cameras.port}{path}", headers).status == status
        assert client.request("OPTIONS", "*").status == 200, "the connection goes on"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", 505),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: x\r\n\r\n", 400),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: " + b"a" * 100_000, 413),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999\r\n\r\n" + b"a" * 100_000, 413),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_answered_and_ends_the_connection(
    cameras: SimulatedCameras, data: bytes, status: int
) -> None:
    with Client(cameras.port) as client:
        # The server may close before it took everything.
        with contextlib.suppress(ConnectionError):
            client.send(data)
        try:
            assert client.response().status == status
        except ConnectionResetError:
            assert status == 413, "only unread input may cost the client the answer"
            return
        with pytest.raises((EOFError, ConnectionError)):
            client.response()


def test_receiver_reports_of_any_size_are_passed_over(cameras: SimulatedCameras) -> None:
    with Client(cameras.port) as client:
        client.play(cameras.url("h264"))
        client.send(b"$\x01\xff\xff" + b"\0" * 65535 + b"$\x01\0\0")
        assert client.request("OPTIONS", "*").status == 200


FRAGMENTS = st.sampled_from(
    [b"\r\n", b"\r\n\r\n", b"$\0\xff", b"RTSP/1.0", b"DESCRIBE ", b"SETUP ", b"PLAY ", b"rtsp://h/h264/main",
     b"/trackID=0", b"CSeq: 1", b"CSeq: 99999999999", b"Transport: RTP/AVP/TCP;interleaved=255-0",
     b"Transport: RTP/AVP;unicast;client_port=0-0", b"Session: x", b"Content-Length: 5", b":", b" ",
     b"%00", b"\xff"]
)  # fmt: skip


def test_nothing_sent_disturbs_other_viewers(cameras: SimulatedCameras) -> None:
    """Random bytes and shuffled pieces of requests, while somebody looks on."""
    with Client(cameras.port) as viewer:
        viewer.play(cameras.url("h264"))
        packets = viewer.rtp()
        before, _ = next(packets)

        @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.one_of(FRAGMENTS, st.binary(max_size=200)), max_size=20).map(b"".join))
        @example(b"$" * 70_000)
        @example(b"\r\n" * 40_000)
        def attack(data: bytes) -> None:
            with socket.create_connection(("127.0.0.1", cameras.port), timeout=30) as attacker:
                # The server may have hung up already (then the socket is "not connected").
                with contextlib.suppress(OSError):
                    attacker.sendall(data)
                    attacker.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while attacker.recv(65536):
                        pass

        attack()
        sequence = before.sequence
        for packet, _ in islice(packets, 200):
            sequence = (sequence + 1) & 0xFFFF
            assert packet.sequence == sequence, "no packet is missing"
    with Client(cameras.port) as client:
        assert client.request("DESCRIBE", cameras.url("h264")).status == 200


def test_fifty_viewers_at_once(cameras: SimulatedCameras) -> None:
    names = ["h264", "h264-b-frames", "h265-open-gop"]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(cameras.port)) for _ in range(50)]
        for number, client in enumerate(clients):
            client.play(cameras.url(names[number % 3]))
        assert cameras.stats()["sessions"] >= 50
        for number, client in enumerate(clients):
            codec = "h265" if number % 3 == 2 else "h264"
            assert len(list(islice(client.access_units(codec), 20))) == 20


def test_udp_packets_come_from_the_ports_that_were_named(cameras: SimulatedCameras) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtcp,
        Client(cameras.port) as client,
    ):
        for each in (rtp, rtcp):
            each.bind(("127.0.0.1", 0))
            each.settimeout(30)
        ports = f"{rtp.getsockname()[1]}-{rtcp.getsockname()[1]}"
        url = cameras.url("h264")
        # Where the packets go is not for the client to say (RFC 2326, 16).
        asked = {"Transport": f"RTP/AVP;unicast;destination=192.0.2.1;client_port={ports}"}
        transport = client.request("SETUP", f"{url}/trackID=0", asked).headers["transport"]
        fields = dict(part.split("=") for part in transport.split(";") if "=" in part)
        assert fields["client_port"] == ports
        assert client.request("PLAY", url).status == 200
        data, sender = rtp.recvfrom(2048)
        assert Rtp.parse(data).ssrc == int(fields["ssrc"], 16)
        report, reporter = rtcp.recvfrom(2048)
        assert report[1] == 200
        assert f"{sender[1]}-{reporter[1]}" == fields["server_port"]


def test_a_camera_that_is_removed_disconnects_its_viewers(files: dict[str, Path]) -> None:
    with SimulatedCameras() as server:
        server.add("gate", files["h264"])
        with pytest.raises(InvalidArgument, match="gate"):
            server.add("gate", files["h264"])
        with Client(server.port) as client:
            client.play(server.url("gate"))
            next(client.rtp())
            server.remove("gate")
            with pytest.raises((EOFError, ConnectionError)):
                list(client.rtp())
        with Client(server.port) as client:
            assert client.request("DESCRIBE", f"rtsp://127.0.0.1:{server.port}/gate/main").status == 404
        with pytest.raises(InvalidArgument, match="no camera"):
            server.remove("gate")
    with pytest.raises(Closed):
        server.add("gate", files["h264"])


def test_a_port_that_is_taken_is_an_os_error(cameras: SimulatedCameras) -> None:
    with pytest.raises(OSError, match=str(cameras.port)) as caught:
        SimulatedCameras(f"127.0.0.1:{cameras.port}")
    assert caught.value.errno is not None


@pytest.mark.parametrize("name", ["", "a b", "../x\n", "é", "/x", "a" * 300])
def test_names_unfit_for_an_address_are_refused(
    name: str, cameras: SimulatedCameras, files: dict[str, Path]
) -> None:
    with pytest.raises(InvalidArgument, match="path"):
        cameras.add(name, files["h264"])
