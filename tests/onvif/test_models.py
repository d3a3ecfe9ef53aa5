"""Devices in the shape of real makes, over real HTTP: what is learned of each, its mistakes included."""

import re
from datetime import timedelta

import pytest

from nvr.onvif.device import ask_device
from nvr.onvif.types import Answer, Device, Login, Trouble
from tests.onvif.models import MODELS, PASSWORD, USER, Model, serving

LOGIN = Login(USER, PASSWORD)


async def asked(model: Model, login: Login | None = LOGIN) -> Device:
    with serving(model) as port:
        return await ask_device(Answer("127.0.0.1", port, "/onvif/device_service"), login)


async def test_hikvision() -> None:
    model = MODELS["hikvision"]()
    device = await asked(model)
    assert (device.trouble, device.model, device.firmware) == (
        Trouble.NONE,
        "DS-2CD2143G2-I",
        "V5.7.3 build 220315",
    )
    (channel,) = device.channels
    assert channel.main is not None
    assert channel.sub is not None
    assert (channel.main.codec, channel.main.width, channel.main.height) == ("H265", 2688, 1520)
    assert (channel.main.fps, channel.main.bit_rate_kbit) == (20.0, 3072)
    # At the address that was asked, whatever it takes for its own.
    assert channel.main.stream_url == (
        "rtsp://127.0.0.1:554/Streaming/Channels/Profile_1?transportmode=unicast&profile=Profile_1"
    )
    assert (channel.sub.codec, channel.sub.width) == ("H264", 640)
    assert [other.codec for other in channel.others] == ["JPEG"]
    assert channel.snapshot_url == "http://127.0.0.1/onvif-http/snapshot?Profile_1"
    assert "it takes 192.168.1.64 for its own address" in device.notes
    # The clock is read first, and the login made to fit it.
    assert device.clock_offset_s == pytest.approx(3600, abs=10)
    assert model.asked[0] == "/onvif/device_service tds:GetSystemDateAndTime"
    assert "/onvif/Media2 tr2:GetProfiles" in model.asked


async def test_a_recorder_with_channels() -> None:
    device = await asked(MODELS["dahua"]())
    sizes = [
        (channel.number, channel.main and channel.main.width, channel.sub and channel.sub.width)
        for channel in device.channels
    ]
    assert sizes == [(1, 1920, 704), (2, 1280, 352)]
    main = device.channels[1].main
    assert main is not None
    assert main.stream_url.endswith("proto=MediaProfile00002")


async def test_http_digest() -> None:
    model = MODELS["axis"]()
    device = await asked(model)
    (channel,) = device.channels
    assert channel.main is not None
    assert channel.main.stream_url == (
        "rtsp://127.0.0.1/onvif-media/media.amp?profile=profile_1_h264&sessiontimeout=60&streamtype=unicast"
    )
    assert channel.sub is None
    assert device.notes == []
    assert any(seen.startswith("Digest ") for seen in model.logins_seen)
    assert not any(seen.startswith("Basic ") for seen in model.logins_seen)


async def test_a_cheap_one() -> None:
    model = MODELS["xm"]()
    device = await asked(model, None)
    assert device.model == "XM530_R80X30-PQ_8M"
    (channel,) = device.channels
    assert channel.main is not None
    assert channel.sub is not None
    # Without sizes its order counts.
    assert channel.main.stream_url.endswith("stream=000.sdp?real_stream")
    assert channel.sub.stream_url.endswith("stream=001.sdp?real_stream")
    assert (device.clock_offset_s, channel.main.width) == (None, 0)
    assert "it tells no UTC time: its clock is not checked" in device.notes
    assert "/onvif/Media trt:GetProfiles" in model.asked


@pytest.mark.parametrize("name", ["hikvision", "axis"])
async def test_a_login_that_is_missing_or_wrong_is_told(name: str) -> None:
    device = await asked(MODELS[name](), None)
    assert (device.trouble, device.channels) == (Trouble.LOGIN_NEEDED, ())
    # The clock is told to everybody.
    assert device.clock_offset_s is not None
    device = await asked(MODELS[name](), Login(USER, "wrong"))
    assert device.trouble is Trouble.LOGIN_REFUSED


@pytest.mark.parametrize("name", MODELS)
async def test_the_password_is_never_sent(name: str) -> None:
    model = MODELS[name]()
    await asked(model)
    assert model.logins_seen
    for seen in model.logins_seen:
        assert PASSWORD not in seen
        assert "pass:w" not in seen
    if model.login == "digest":
        return  # a question is put twice there, as it is
    # No nonce twice: a device refuses it.
    nonces = re.findall(r"Nonce [^>]*>([^<]*)<", "".join(model.logins_seen))
    assert len(nonces) == len(set(nonces))


@pytest.mark.parametrize("seconds", [-86400 * 365, -90, 90, 86400 * 365])
async def test_a_clock_that_is_far_off_keeps_nobody_out(seconds: int) -> None:
    model = MODELS["hikvision"]()
    model.clock = timedelta(seconds=seconds)
    device = await asked(model)
    assert device.trouble is Trouble.NONE
    assert device.clock_offset_s == pytest.approx(seconds, abs=10)


def test_repr_shows_no_password() -> None:
    assert PASSWORD not in repr(LOGIN)
