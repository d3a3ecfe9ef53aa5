"""``[uplink]`` of a child, and children with ``uplink`` of a gateway."""

from datetime import time

import pytest

from nvr.errors import ConfigError
from nvr.gateway.config import parse_settings as parse_gateway
from nvr.recorder.config import parse_settings as parse_recorder

TLS = '[tls]\ncert = "/a"\nkey = "/b"\n'
RECORDER = f'[node]\nname = "house"\nstores = ["/var/lib/nvr"]\n{TLS}'
GATEWAY = '[node]\nname = "ward"\ndata = "/var/lib/nvr"\n'


def test_caps_by_hour() -> None:
    settings = parse_recorder(
        RECORDER
        + '[uplink]\nparent = "ward.example.org:7610"\ncap = "2.5Mbit"\ntime_zone = "Asia/Ho_Chi_Minh"\n'
        + '[[uplink.hours]]\nfrom = "23:00"\nto = "06:00"\ncap = "none"\n'
        + '[[uplink.hours]]\nfrom = "12:00"\nto = "13:00"\ncap = "500kbit"\n'
    )
    assert settings.uplink is not None
    schedule = settings.uplink.schedule()
    at = {hour: schedule.at(time(hour)) for hour in (0, 7, 12, 23)}
    assert at == {0: None, 7: 2_500_000, 12: 500_000, 23: None}
    assert settings.uplink.time_zone.key == "Asia/Ho_Chi_Minh"
    assert settings.uplink.keepalive == 15_000_000


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (RECORDER + "[uplink]\n", "uplink.parent: missing"),
        (RECORDER + '[uplink]\nparent = "h:1"\ncap = "fast"\n', "uplink.cap: not a rate"),
        (RECORDER + '[uplink]\nparent = "h:1"\nkeepalive = "10ms"\n', "uplink.keepalive: must be 1s to 10m"),
        (RECORDER + '[uplink]\nparent = "h:1"\ntime_zone = "Mars"\n', "uplink.time_zone: not a time zone"),
        (
            RECORDER
            + '[uplink]\nparent = "h:1"\n[[uplink.hours]]\nfrom = "24:00"\nto = "1:00"\ncap = "none"\n',
            "uplink.hours[1].from: a time of day",
        ),
        (RECORDER + '[uplink]\nparent = "h:1"\ntls = false\n', "uplink.parent: another machine"),
        (RECORDER.replace(TLS, "") + '[uplink]\nparent = "192.0.2.1:1"\n', "uplink.parent: another machine"),
        (
            RECORDER.replace(TLS, "") + '[uplink]\nparent = "127.0.0.1:1"\ntls = true\n',
            "uplink.tls: the node above asks for a certificate",
        ),
    ],
)
def test_faults_of_a_child(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_recorder(text)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("child", "fault"),
    [
        ("uplink = true\n", "child[1].node: missing"),
        ('uplink = true\nnode = "a b"\n', "child[1].node"),
        ('uplink = true\nnode = "a"\naddress = "h:1"\n', "child[1].address: not with uplink"),
        ('uplink = true\nnode = "a"\ntls = true\n', "child[1].tls: not with uplink"),
        ("tls = true\n", "child[1].address: missing; a child has an address"),
        ('address = "h:1"\nnode = "a"\n', "child[1].node: only with uplink"),
        (
            'uplink = true\nnode = "a"\n[[child]]\nuplink = true\nnode = "a"\n',
            "child[2].node: the same as child[1].node",
        ),
    ],
)
def test_faults_of_a_parent(child: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_gateway(GATEWAY + "[[child]]\n" + child)
    assert fault in str(caught.value)


def test_a_plain_uplink_is_for_this_machine() -> None:
    settings = parse_recorder(RECORDER.replace(TLS, "") + '[uplink]\nparent = "127.0.0.1:7600"\n')
    assert settings.uplink is not None
    settings_above = parse_gateway(GATEWAY + '[[child]]\nuplink = true\nnode = "house"\n')
    assert settings_above.child[0].node == "house"
