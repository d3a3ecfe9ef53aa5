"""A replay from an instant shows that instant, at its pace, and says so."""

import time
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nvr.rtsp.address import format_clock
from tests.acceptance.recorded import Recorded
from tests.acceptance.world import SECOND, RecordedCamera, Run
from tests.rtsp.running import Out
from tests.rtsp.viewing import TICKS, Report, after, decode, rtp_info, whole_stream
from tests.simulate.rtsp import AccessUnit, Client, Response

CODECS = {"market-gate": "h264", "yard": "h265"}


def clock(start_us: int, end_us: int) -> str:
    return f"clock={format_clock(start_us)}-{format_clock(end_us)}"


def media_ms(run: Run, at_us: int) -> int:
    """The media time in the picture of a run that is shown at an instant."""
    picture = run.frames_us[bisect_right(run.frames_us, at_us) - 1]
    return round((picture - run.start_us) / 1000)


def play(
    out: Out, camera: str, start_us: int, end_us: int, headers: dict[str, str] | None = None
) -> tuple[Response, list[AccessUnit], list[Report]]:
    """All that comes of a range."""
    with Client(out.port) as client:
        url = out.url(camera)
        response = client.play(url, headers={"Range": clock(start_us, end_us), **(headers or {})})
        units, reports = whole_stream(client, CODECS[camera])
    return response, units, reports


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=6, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(data=st.data())
def test_a_replay_shows_its_instants(name: str, out: Out, recorded: Recorded, data: st.DataObject) -> None:
    camera = next(camera for camera in recorded.world.cameras if camera.name == name)
    run = data.draw(st.sampled_from(camera.runs))
    start_us = data.draw(st.integers(run.start_us, run.end_us - SECOND))
    end_us = min(run.end_us, start_us + data.draw(st.integers(1, SECOND)))
    # Faster than it was: what is shown when does not depend on the pace.
    response, units, _ = play(out, name, start_us, end_us, {"Rate-Control": "no"})
    assert response.headers["range"] == clock(start_us, end_us)
    _, zero = rtp_info(response)[0]
    shown = decode(units, CODECS[name], zero)
    wanted = [at_us for at_us in run.frames_us if start_us < at_us < end_us]
    for at_us in (start_us, *wanted, end_us - 1):
        # A tick is 11 µs: which of two pictures an instant shows can be said no nearer than that.
        if media_ms(run, at_us) != media_ms(run, at_us + 12):
            continue
        ticks = (at_us - start_us) * TICKS // SECOND + 1
        found = [time_ms for at, time_ms in shown if at <= ticks]
        assert found, f"nothing is shown at {at_us - start_us} µs"
        assert found[-1] == media_ms(run, at_us), at_us - start_us


@pytest.mark.parametrize("name", CODECS)
def test_reports_tell_the_wall_time_of_pictures(name: str, out: Out, recorded: Recorded) -> None:
    camera = next(camera for camera in recorded.world.cameras if camera.name == name)
    run = camera.runs[0]
    start_us = run.start_us + 3 * SECOND + 12_345
    response, _, reports = play(out, name, start_us, start_us + SECOND, {"Rate-Control": "no"})
    _, zero = rtp_info(response)[0]
    assert len(reports) >= 2
    for report in reports:
        position_us = after(report.timestamp, zero) * SECOND / TICKS
        assert report.wall_us == pytest.approx(start_us + position_us, abs=20)


def test_pictures_come_at_their_pace(out: Out, recorded: Recorded) -> None:
    camera = recorded.world.gate
    start_us = camera.start_us + 2 * SECOND
    _, units, _ = play(out, "market-gate", start_us, start_us + 2 * SECOND)
    passed_us = units[-1].at_us - units[0].at_us
    shown_us = after(units[-1].timestamp, units[0].timestamp) * SECOND // TICKS
    # Never faster than it was; how much slower is the machine's affair.
    assert shown_us >= 1.8 * SECOND
    assert passed_us >= shown_us - SECOND // 10


def test_a_gap_is_jumped_over_and_the_clock_follows(out: Out, recorded: Recorded) -> None:
    camera = recorded.world.gate
    first, second = camera.runs
    start_us, end_us = first.end_us - SECOND, second.start_us + SECOND
    response, units, reports = play(out, "market-gate", start_us, end_us, {"Rate-Control": "no"})
    _, zero = rtp_info(response)[0]
    shown = decode(units, "h264", zero)
    times = [ticks * SECOND // TICKS for ticks, _ in shown]
    steps = [b - a for a, b in pairwise(times)]
    assert max(steps) < SECOND, "RTP time goes on"
    played = [time_ms for ticks, time_ms in shown if ticks >= -1]
    wanted = [
        media_ms(run, at_us) for run in camera.runs for at_us in run.frames_us if start_us <= at_us < end_us
    ]
    assert played[-len(wanted) :] == wanted
    walls = [report.wall_us for report in reports]
    assert any(second.start_us - 1000 <= wall_us < end_us for wall_us in walls)


def test_a_range_that_begins_in_a_gap_begins_after_it(out: Out, recorded: Recorded) -> None:
    first, second = recorded.world.gate.runs
    start_us, end_us = first.end_us + SECOND, second.start_us + SECOND
    response, units, _ = play(out, "market-gate", start_us, end_us, {"Rate-Control": "no"})
    assert response.headers["range"] == clock(second.start_us, end_us)
    _, zero = rtp_info(response)[0]
    assert after(units[0].timestamp, zero) == 0


@pytest.mark.parametrize(
    ("range_of", "status"),
    [
        (lambda camera: clock(camera.end_us + SECOND, camera.end_us + 2 * SECOND), 404),
        (lambda camera: "clock=20261109T250000Z-", 457),
        (lambda camera: "clock=20261109T130000Z-20261109T120000Z", 457),
        (lambda camera: "smpte=10:07:00-", 457),
    ],
)
def test_a_range_that_cannot_be_played_is_refused(
    range_of: Callable[[RecordedCamera], str], status: int, out: Out, recorded: Recorded
) -> None:
    with Client(out.port) as client:
        url = described(client, out, recorded)
        client.request("SETUP", f"{url}/trackID=0", {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
        refused = client.request("PLAY", url, {"Range": range_of(recorded.world.gate)})
        assert refused.status == status


def described(client: Client, out: Out, recorded: Recorded) -> str:
    """The address that a description of the gate's whole footage gives."""
    gate = recorded.world.gate
    url = out.url("market-gate", f"main?start={iso(gate.start_us)}&end={iso(gate.end_us)}")
    response = client.request("DESCRIBE", url)
    assert response.status == 200
    assert f"a=range:npt=0-{(gate.end_us - gate.start_us) / SECOND:.6f}" in response.body.decode()
    return response.headers["content-base"].rstrip("/")


def iso(at_us: int) -> str:
    """With the offset of Việt Nam, as people write it in an address."""
    local = time.gmtime(at_us // SECOND + 7 * 3600)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{at_us % SECOND:06}+07:00"


def test_npt_counts_from_the_described_range(out: Out, recorded: Recorded) -> None:
    run = recorded.world.gate.runs[0]
    with Client(out.port) as client:
        url = described(client, out, recorded)
        response = client.play(url, headers={"Range": "npt=4.25-4.5", "Rate-Control": "no"})
        assert response.headers["range"] == "npt=4.250000-4.500000"
        units, _ = whole_stream(client, "h264")
    _, zero = rtp_info(response)[0]
    found = [time_ms for ticks, time_ms in decode(units, "h264", zero) if ticks <= 0]
    assert found[-1] == media_ms(run, run.start_us + 4_250_000)


def test_keyframes_alone_come_many_times_as_fast(out: Out, recorded: Recorded) -> None:
    run = recorded.world.gate.runs[0]
    start_us, end_us = run.start_us, run.start_us + 16 * SECOND
    response, units, _ = play(out, "market-gate", start_us, end_us, {"Scale": "16"})
    assert response.headers["scale"] == "16.0"
    _, zero = rtp_info(response)[0]
    for ticks, time_ms in decode(units, "h264", zero):
        assert time_ms == pytest.approx(ticks * 1000 / TICKS * 16, abs=16)
    assert len(units) >= 8


@pytest.mark.parametrize("headers", [{"Scale": "0.5"}, {"Scale": "65"}, {"Scale": "-1"}, {"Speed": "2.0"}])
def test_other_paces_are_refused(headers: dict[str, str], out: Out, recorded: Recorded) -> None:
    with Client(out.port) as client:
        url = described(client, out, recorded)
        client.request("SETUP", f"{url}/trackID=0", {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
        assert client.request("PLAY", url, headers).status == 456


def test_after_a_pause_it_goes_on_where_it_was(out: Out, recorded: Recorded) -> None:
    run = recorded.world.gate.runs[0]
    with Client(out.port) as client:
        url = described(client, out, recorded)
        client.play(url)
        units = client.access_units("h264")
        before = [next(units) for _ in range(5)]
        assert client.request("PAUSE", url).status == 200
        response = client.request("PLAY", url)
        assert response.status == 200
        _, zero = rtp_info(response)[0]
        rest = [unit for unit, _ in zip(client.access_units("h264"), range(30), strict=False)]
    assert after(zero, before[-1].timestamp) > 0
    first_us = run.start_us + int(float(response.headers["range"].split("=")[1].split("-")[0]) * SECOND)
    found = [time_ms for ticks, time_ms in decode(rest, "h264", zero) if ticks <= 0]
    assert found[-1] == media_ms(run, first_us)
    assert first_us > run.start_us


def test_another_range_is_played_at_once(out: Out, recorded: Recorded) -> None:
    run = recorded.world.gate.runs[1]
    with Client(out.port) as client:
        url = described(client, out, recorded)
        client.play(url)
        start_us = run.start_us + 5 * SECOND
        headers = {"Range": clock(start_us, start_us + SECOND), "Rate-Control": "no"}
        response = client.request("PLAY", url, headers)
        assert response.status == 200
        units, _ = whole_stream(client, "h264")
    _, zero = rtp_info(response)[0]
    found = [time_ms for ticks, time_ms in decode(units, "h264", zero) if ticks <= 0]
    assert found[-1] == media_ms(run, start_us)
