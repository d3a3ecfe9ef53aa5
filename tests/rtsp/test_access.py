"""Who may watch, what is kept on record of it, and how many at once."""

import base64
import logging
from collections.abc import Iterator

import pytest

from nvr.errors import StoreError
from nvr.footage.source import FootageSource
from nvr.rtsp.address import format_clock
from nvr.security.identity import Caller
from tests.acceptance.recorded import GATE, Recorded
from tests.acceptance.world import SECOND
from tests.rtsp.running import Background, Out, rtsp_out
from tests.rtsp.viewing import whole_stream
from tests.simulate.rtsp import Client, digest_header

USER, PASSWORD = "control-room", "Mật khẩu-4711"


@pytest.fixture
def guarded(loop: Background, footage: FootageSource) -> Out:
    return loop.enter(rtsp_out(footage, users={USER: PASSWORD, "other": "x"}))


@pytest.fixture
def open_out(loop: Background, footage: FootageSource) -> Out:
    return loop.enter(rtsp_out(footage))


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog
    assert PASSWORD not in caplog.text


def replayed(recorded: Recorded, duration_us: int = SECOND) -> str:
    start_us = recorded.world.gate.start_us + 3 * SECOND
    return f"main/clock={format_clock(start_us)}-{format_clock(start_us + duration_us)}"


def test_a_login_is_asked_for_and_taken(
    guarded: Out, recorded: Recorded, log: pytest.LogCaptureFixture
) -> None:
    url = guarded.url("market-gate", replayed(recorded))
    with Client(guarded.port) as client:
        refused = client.request("DESCRIBE", url)
        assert refused.status == 401
        challenge = refused.headers["www-authenticate"]
        wrong = {"Authorization": digest_header(challenge, USER, "wrong", "DESCRIBE", url)}
        assert client.request("DESCRIBE", url, wrong).status == 401
        right = {"Authorization": digest_header(challenge, USER, PASSWORD, "DESCRIBE", url)}
        assert client.request("DESCRIBE", url, right).status == 200
        # Somebody who is let in stays the same for the whole session.
        track = f"{url}/trackID=0"
        transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
        setup = {"Authorization": digest_header(challenge, USER, PASSWORD, "SETUP", track)}
        assert client.request("SETUP", track, {**transport, **setup}).status == 200
        assert client.request("PLAY", url).status == 401
        other = {"Authorization": digest_header(challenge, "other", "x", "PLAY", url)}
        assert client.request("PLAY", url, other).status == 403
        mine = {"Authorization": digest_header(challenge, USER, PASSWORD, "PLAY", url)}
        assert client.request("PLAY", url, {**mine, "Rate-Control": "no"}).status == 200
        whole_stream(client, "h264")
    assert guarded.wait_outcomes(1) == ["OK"]
    _, entry, _ = guarded.audit.lines[0]
    assert entry.caller is not None
    assert (entry.caller.kind, entry.caller.name) == ("account", USER)


def test_a_plain_password_is_taken_on_this_machine(
    guarded: Out, recorded: Recorded, log: pytest.LogCaptureFixture
) -> None:
    url = guarded.url("market-gate", replayed(recorded))
    token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with Client(guarded.port) as client:
        assert client.request("DESCRIBE", url, {"Authorization": f"Basic {token}"}).status == 200


def test_every_play_is_on_record(open_out: Out, recorded: Recorded) -> None:
    url = open_out.url("market-gate", replayed(recorded))
    with Client(open_out.port) as client:
        client.play(url, headers={"Rate-Control": "no"})
        whole_stream(client, "h264")
        assert open_out.wait_outcomes(1) == ["OK"]
        assert client.request("PLAY", url).status == 200
        assert client.request("TEARDOWN", url).status == 200
    assert open_out.wait_outcomes(2) == ["OK", "CANCELLED"]
    (kind, entry, durable), (_, closed, _), *_ = open_out.audit.lines
    assert (kind, durable) == ("opened", "durable")
    assert closed == entry
    assert entry.method == "rtsp/PLAY"
    assert entry.cameras == (GATE,)
    assert entry.stream == "main"
    start_us = recorded.world.gate.start_us + 3 * SECOND
    assert (entry.start_us, entry.end_us) == (start_us, start_us + SECOND)
    assert entry.caller == Caller("local", "", entry.peer)
    assert entry.peer.startswith("ipv4:127.0.0.1:")
    assert open_out.audit.sent_bytes[0] > 1000


def test_what_cannot_be_put_on_record_is_not_shown(open_out: Out, recorded: Recorded) -> None:
    open_out.audit.fail = StoreError("the disk is full", 28)
    url = open_out.url("market-gate", replayed(recorded))
    with Client(open_out.port) as client:
        client.request("SETUP", f"{url}/trackID=0", {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
        assert client.request("PLAY", url).status == 500
        assert client.request("OPTIONS", url).status == 200


def test_what_was_refused_is_on_record(open_out: Out, recorded: Recorded) -> None:
    url = open_out.url("market-gate", replayed(recorded))
    with Client(open_out.port) as client:
        client.request("SETUP", f"{url}/trackID=0", {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
        late = format_clock(recorded.world.gate.end_us + SECOND)
        assert client.request("PLAY", url, {"Range": f"clock={late}-"}).status in (404, 457)
        assert client.request("PLAY", url, {"Scale": "3.5"}).status == 456
        assert client.request("PLAY", url, {"Rate-Control": "no"}).status == 200
        whole_stream(client, "h264")
    assert open_out.wait_outcomes(2)[-1] == "OK"
    assert "INVALID_FIELD" in open_out.audit.outcomes()


def test_a_client_that_goes_away_is_on_record(open_out: Out, recorded: Recorded) -> None:
    with Client(open_out.port) as client:
        client.play(open_out.url("market-gate", replayed(recorded, 10 * SECOND)))
        next(client.access_units("h264"))
    assert open_out.wait_outcomes(1) == ["CANCELLED"]


def test_stopping_closes_the_record(loop: Background, footage: FootageSource, recorded: Recorded) -> None:
    out = loop.enter(rtsp_out(footage))
    with Client(out.port) as client:
        client.play(out.url("market-gate", replayed(recorded, 10 * SECOND)))
        loop.run(out.rtsp.stop())
        assert out.audit.outcomes() == ["CANCELLED"]
        with pytest.raises((EOFError, ConnectionError)):
            whole_stream(client, "h264")


def test_one_session_too_many_is_refused(
    loop: Background, footage: FootageSource, recorded: Recorded, log: pytest.LogCaptureFixture
) -> None:
    out = loop.enter(rtsp_out(footage, max_sessions=1))
    url = out.url("market-gate", replayed(recorded))
    transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}
    with Client(out.port) as first, Client(out.port) as second:
        assert first.request("SETUP", f"{url}/trackID=0", transport).status == 200
        assert second.request("SETUP", f"{url}/trackID=0", transport).status == 453
        assert first.request("TEARDOWN", url).status == 200
        assert second.request("SETUP", f"{url}/trackID=0", transport).status == 200
    assert "max_sessions = 1" in log.text


def test_one_connection_too_many_is_refused(
    loop: Background, footage: FootageSource, log: pytest.LogCaptureFixture
) -> None:
    out = loop.enter(rtsp_out(footage, max_connections=1))
    with Client(out.port) as first, Client(out.port) as second:
        assert first.request("OPTIONS", out.url("market-gate")).status == 200
        assert second.response().status == 503
    assert "max_connections = 1" in log.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("nobody/main", 404), ("market-gate/third", 404), ("market-gate/main?start=yesterday", 400)],
)
def test_what_is_not_there_is_refused(path: str, status: int, open_out: Out) -> None:
    with Client(open_out.port) as client:
        assert client.request("DESCRIBE", f"rtsp://{open_out.rtsp.address}/{path}").status == status
