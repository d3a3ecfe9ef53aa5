"""Finding devices by probes, by multicast and alone, and by address."""

import asyncio
from contextlib import ExitStack

import pytest

from nvr.errors import InvalidArgument
from nvr.onvif.probe import discover
from nvr.onvif.scan import Target, find_devices, parse_targets
from nvr.onvif.types import Device, Login, Trouble
from tests.onvif.conftest import PASSWORD, USER, Ipycam
from tests.onvif.models import MODELS, answering_probes, probe_match, serving

LOOPBACK = "127.0.0.1"


def summary(device: Device) -> tuple[str, int, str]:
    return device.answer.host, device.answer.port, device.model


async def test_an_independent_camera_answers_a_multicast(ipycam: Ipycam) -> None:
    devices = await find_devices([], [LOOPBACK], Login(USER, PASSWORD), wait_s=2)
    (device,) = [each for each in devices if each.answer.port == ipycam.port]
    assert (device.trouble, device.manufacturer, device.model, device.serial) == (
        Trouble.NONE,
        "ipycam",
        "Virtual",
        "SN-1",
    )
    assert device.answer.name == "Cổng-chợ"
    assert device.answer.endpoint.startswith("urn:uuid:")
    assert device.clock_offset_s == pytest.approx(0, abs=10)
    (channel,) = device.channels
    assert channel.main is not None
    assert channel.sub is not None
    assert (channel.main.codec, channel.main.width, channel.sub.width) == ("H264", 1920, 640)
    rtsp = f"rtsp://{LOOPBACK}:{ipycam.cameras.port}/gate"
    assert (channel.main.stream_url, channel.sub.stream_url) == (f"{rtsp}/main", f"{rtsp}/sub")
    assert channel.snapshot_url == f"http://{LOOPBACK}:{ipycam.port}/snapshot.jpg"


async def test_an_independent_camera_refuses_a_wrong_password(ipycam: Ipycam) -> None:
    target = Target(LOOPBACK, ipycam.port)
    (device,) = await find_devices([target], [], Login(USER, "wrong"), wait_s=0.2)
    assert device.trouble is Trouble.LOGIN_REFUSED
    (device,) = await find_devices([target], [], None, wait_s=0.2)
    assert device.trouble is Trouble.LOGIN_NEEDED


async def test_many_answer_and_each_is_asked_once() -> None:
    with ExitStack() as stack:
        ports = {name: stack.enter_context(serving(model())) for name, model in MODELS.items()}
        answers = [
            probe_match(f"http://192.168.1.64:{port}/onvif/device_service", endpoint=f"urn:uuid:{name}")
            for name, port in ports.items()
        ]
        port = stack.enter_context(answering_probes([*answers, *answers, "no XML", "<x/>"]))
        progress: list[tuple[int, int]] = []
        devices = await find_devices(
            [],
            [LOOPBACK],
            None,
            wait_s=0.6,
            probe_port=port,
            on_device=lambda done, of: progress.append((done, of)),
        )
    assert sorted(device.answer.endpoint for device in devices) == sorted(f"urn:uuid:{n}" for n in MODELS)
    assert [device.model for device in devices if not device.trouble] == ["XM530_R80X30-PQ_8M"]
    assert progress == [(n, len(MODELS)) for n in range(1, len(MODELS) + 1)]


async def test_one_host_is_asked_alone() -> None:
    """What does not hear a multicast, because a router is between, still answers."""
    with answering_probes([probe_match("http://127.0.0.1:81/x")]) as port:
        (answer,) = await discover((), [LOOPBACK], wait_s=0.4, port=port)
    assert answer.url == "http://127.0.0.1:81/x"


async def test_an_address_that_answers_no_probe_is_asked_itself() -> None:
    with serving(MODELS["xm"]()) as port, answering_probes([]) as probe_port:
        (device,) = await find_devices([Target(LOOPBACK, port)], [], None, wait_s=0.2, probe_port=probe_port)
        assert summary(device) == (LOOPBACK, port, "XM530_R80X30-PQ_8M")


async def test_a_named_address_where_nobody_is_is_told() -> None:
    closed = await asyncio.start_server(lambda reader, writer: None, LOOPBACK, 0)
    port = closed.sockets[0].getsockname()[1]
    closed.close()
    await closed.wait_closed()
    (device,) = await find_devices([Target(LOOPBACK, port)], [], None, wait_s=0.1)
    assert device.trouble is Trouble.UNREACHABLE


def test_targets() -> None:
    assert parse_targets(
        ["10.0.0.7", "10.0.0.7:81", "cam.local", "[fe80::1]:8080", "fe80::2", "10.0.0.7"]
    ) == [
        Target("10.0.0.7"),
        Target("10.0.0.7", 81),
        Target("cam.local"),
        Target("fe80::1", 8080),
        Target("fe80::2"),
    ]
    assert parse_targets(["10.0.0.4/30"]) == [Target("10.0.0.5"), Target("10.0.0.6")]
    assert len(parse_targets(["10.0.0.0/21"])) == 2046


@pytest.mark.parametrize("text", ["10.0.0.0/8", "::/0", "10.0.0.7/x", "a:b", "a:0", "a:99999", "", ":80"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_targets([text])
