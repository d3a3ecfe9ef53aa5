"""Network namespaces for tests: who reaches whom, cuts, slow lines, and that nothing is left of them."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.namespaces import Host, Lab, lab
from tests.support.skips import needs_program

pytestmark = needs_program("ip", "tc")
PORT = 7000
SPEAKS = ("-m", "tests.support.speak")


@pytest.fixture
def pair() -> Iterator[Lab]:
    with lab("lan", "cams") as made:
        made.host("alpha", lan="10.1.0.1/24")
        made.host("beta", lan="10.1.0.2/24", cams="10.2.0.2/24")
        yield made


def said(host: Host, address: str, *, timeout_s: float = 20) -> bytes:
    """What is heard at an address, all of it; empty: nobody is reached."""
    with host.socket() as connection:
        connection.settimeout(timeout_s)
        data = b""
        try:
            connection.connect((address, PORT))
            while more := connection.recv(1 << 16):
                data += more
        except OSError:
            return b""
        return data


def listening(host: Host, *arguments: str) -> None:
    host.start(*SPEAKS, *arguments).wait_line(lambda line: line == "ready")


def test_hosts_of_a_switch_reach_each_other_and_nobody_else_does(pair: Lab) -> None:
    listening(pair["beta"])
    assert said(pair["alpha"], "10.1.0.2") == b"xxxxx"
    # alpha has no cable to the other switch.
    assert said(pair["alpha"], "10.2.0.2") == b""


def test_a_cut_cable_carries_nothing_until_it_is_healed(pair: Lab) -> None:
    listening(pair["beta"])
    cable = pair["beta"].cables["lan"]
    cable.cut()
    assert said(pair["alpha"], "10.1.0.2", timeout_s=0.5) == b""
    assert "NO-CARRIER" in pair["beta"].ip("link", "show", "lan")
    # Its own addresses are its own still.
    assert said(pair["beta"], "10.1.0.2") == b"xxxxx"
    cable.heal()
    assert said(pair["alpha"], "10.1.0.2") == b"xxxxx"


def test_a_connection_outlives_a_short_cut(pair: Lab) -> None:
    """Those who talk are not told of a cut: what was lost is sent again."""
    with pair["beta"].socket() as listener, pair["alpha"].socket() as caller:
        listener.bind(("10.1.0.2", PORT))
        listener.listen()
        caller.connect(("10.1.0.2", PORT))
        callee, _ = listener.accept()
        with callee:
            pair["beta"].cables["lan"].cut()
            caller.sendall(b"late")
            callee.settimeout(0.3)
            with pytest.raises(TimeoutError):
                callee.recv(4)
            pair["beta"].cables["lan"].heal()
            callee.settimeout(60)
            assert callee.recv(4) == b"late"


def test_a_slow_line_is_slow_in_the_direction_that_was_asked_for(pair: Lab) -> None:
    listening(pair["beta"], "300000")
    cable = pair["beta"].cables["lan"]
    cable.slow(up="1mbit")
    began = time.monotonic()
    assert len(said(pair["alpha"], "10.1.0.2")) == 300_000
    # 2.4 Mbit through 1 Mbit/s: a floor, which no other work on the machine lowers.
    assert time.monotonic() - began > 1.5
    listening(pair["alpha"], "300000")
    shown = pair["beta"].ip("-s", "link", "show", "lan")
    assert "tbf" in shown
    assert len(said(pair["beta"], "10.1.0.1")) == 300_000
    cable.slow(up=None, down="2mbit")
    assert "tbf" not in pair["beta"].ip("link", "show", "lan")
    assert "tbf" in pair.ip("link", "show", "type", "veth")
    cable.slow(up=None)
    assert "tbf" not in pair.ip("link", "show", "type", "veth")


def test_a_door_leads_in_also_where_all_cables_are_cut(pair: Lab) -> None:
    listening(pair["beta"])
    address, _, port = pair["beta"].door(f"127.0.0.1:{PORT}").rpartition(":")
    pair["beta"].cables["lan"].cut()
    for _ in range(2):
        with socket.create_connection((address, int(port)), timeout=20) as connection:
            assert connection.recv(5) == b"xxxxx"


def test_nothing_is_left_of_a_lab_that_failed() -> None:
    class DeliberateError(Exception): ...

    # It is all of this that fails.
    with pytest.raises(DeliberateError), lab("lan") as made:  # noqa: PT012
        host = made.host("alpha", lan="10.1.0.1/24")
        process = host.start(*SPEAKS)
        process.wait_line(lambda line: line == "ready")
        other = subprocess.Popen(["ip", "netns", "exec", host.namespace, "sleep", "1000"])
        raise DeliberateError
    assert process.process.returncode is not None
    assert other.wait(20) < 0
    assert not list(Path("/run/netns").glob(f"nvr-test-{os.getpid()}-*-alpha"))


def test_what_a_killed_test_left_is_swept_by_the_next() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = f"nvr-test-{gone.pid}-0-hub"
    subprocess.run(["ip", "netns", "add", left], check=True)
    with lab():
        assert not (Path("/run/netns") / left).exists()


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionError, match="need root"):
        Lab()
