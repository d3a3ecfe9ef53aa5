"""Hosts in network namespaces of their own, cables between them that can be cut, and slow lines.

A :class:`Lab` has switches and hosts; a cable joins a host to a switch. Nothing of it is
in the machine's own network, so addresses need not be free there, and labs of several
processes do not meet. It needs root, and ``ip`` and ``tc`` (Debian: iproute2).
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.processes import ChildProcess

__all__ = ["Cable", "Host", "Lab", "lab"]

_PREFIX = "nvr-test"
_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_CHUNK = 1 << 16


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Cable:
    """From a host to a switch. Cut, both ends lose carrier, and addresses and routes stay."""

    def __init__(self, host: "Host", switch: str, port: str, address: str) -> None:
        self.host = host
        self.switch = switch
        self.address = address
        """The host's at this end, without prefix length."""
        self._port = port

    def cut(self) -> None:
        """Nothing passes any more; those who talk are not told."""
        self.host.lab.ip("link", "set", self._port, "down")

    def heal(self) -> None:
        self.host.lab.ip("link", "set", self._port, "up")

    def slow(self, up: str | None, down: str | None = None) -> None:
        """Rates such as ``5mbit`` from the host and to it; None: as fast as it goes.

        A queue of a tenth of a second, as in a home's router; what is more is dropped.
        """
        for namespace, device, rate in (
            (self.host.namespace, self.switch, up),
            (self.host.lab.hub, self._port, down),
        ):
            tc = ("tc", "-n", namespace, "qdisc")
            if rate is None:
                # There is none where the line was not slow: that is as wanted.
                subprocess.run([*tc, "del", "dev", device, "root"], capture_output=True, check=False)
            else:
                tbf = ("root", "tbf", "rate", rate, "burst", "16kb", "latency", "100ms")
                _run(*tc, "replace", "dev", device, *tbf)


class Host:
    """A namespace with its own interfaces, one for each switch, named like that."""

    def __init__(self, lab: "Lab", name: str, namespace: str) -> None:
        self.lab = lab
        self.name = name
        self.namespace = namespace
        self.cables: dict[str, Cable] = {}
        """By the switch's name."""

    def plug(self, switch: str, address: str) -> Cable:
        """A cable to a switch. ``address``: ``10.1.0.2/24``."""
        port = f"p{self.lab.next_number()}"
        self.lab.ip("link", "add", port, "type", "veth", "peer", "name", switch, "netns", self.namespace)
        self.lab.ip("link", "set", port, "master", switch, "up")
        self.ip("addr", "add", address, "dev", switch)
        self.ip("link", "set", switch, "up")
        cable = Cable(self, switch, port, address.partition("/")[0])
        self.cables[switch] = cable
        return cable

    def ip(self, *arguments: str) -> str:
        """``ip …`` in this namespace; what it prints."""
        return _run("ip", "-n", self.namespace, *arguments)

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> ChildProcess:
        """A process of this Python on the host; the lab ends it if nobody else has."""
        prefix = ("ip", "netns", "exec", self.namespace)
        process = ChildProcess(arguments, environment=environment, prefix=prefix)
        self.lab.on_close(process.stop)
        return process

    def socket(self) -> socket.socket:
        """A TCP socket on the host. A socket stays in its namespace, whoever uses it."""

        def make() -> socket.socket:
            with (_FOLDER / self.namespace).open() as handle:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"setns to {self.namespace}")
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

        # Namespaces are threads': this one has no other use.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(make).result()

    def door(self, target: str) -> str:
        """An address on this machine's loopback that leads to ``target`` as the host sees it.

        So the test reaches what runs on the host, also where all of its cables are cut.
        """
        door = _Door(self, target)
        self.lab.on_close(door.close)
        return door.address


class _Door:
    """Accepts connections outside and makes each of them inside."""

    def __init__(self, host: Host, target: str) -> None:
        self._host = host
        name, _, port = target.rpartition(":")
        self._target = (name, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                outer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(outer,), daemon=True).start()

    def _join(self, outer: socket.socket) -> None:
        with outer, self._host.socket() as inner:
            try:
                inner.connect(self._target)
            except OSError:
                return
            back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
            back.start()
            _pump(outer, inner)
            back.join()

    def close(self) -> None:
        # A close alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    except OSError:
        pass
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class Lab:
    """Switches and hosts of one test. See :func:`lab`."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise PermissionError(
                "network namespaces need root: run this test as root, in a container if you like"
            )
        self.hosts: dict[str, Host] = {}
        self._closing = ExitStack()
        self._number = 0
        _sweep()
        self.hub = self._namespace("hub")

    def __getitem__(self, host: str) -> Host:
        return self.hosts[host]

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def ip(self, *arguments: str) -> str:
        """``ip …`` where the switches are."""
        return _run("ip", "-n", self.hub, *arguments)

    def switch(self, name: str) -> str:
        """A switch; the name has at most 15 characters."""
        self.ip("link", "add", name, "type", "bridge")
        self.ip("link", "set", name, "up")
        return name

    def host(self, name: str, **addresses: str) -> Host:
        """A host with a cable to each switch: ``host("alpha", lan="10.1.0.2/24")``."""
        host = self.hosts[name] = Host(self, name, self._namespace(name))
        host.ip("link", "set", "lo", "up")
        for switch, address in addresses.items():
            host.plug(switch, address)
        return host

    def on_close(self, what: object) -> None:
        """Called when the lab is closed, last first."""
        assert callable(what)
        self._closing.callback(what)

    def _namespace(self, name: str) -> str:
        # Two labs of one process may have hosts of one name.
        full = f"{_PREFIX}-{os.getpid()}-{id(self):x}-{name}"
        _run("ip", "netns", "add", full)
        self._closing.callback(_remove, full)
        return full

    def close(self) -> None:
        """Ends what still runs on the hosts, and takes all of it away."""
        self._closing.close()


def _remove(namespace: str) -> None:
    for pid in _run("ip", "netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _run("ip", "netns", "del", namespace)


def _sweep() -> None:
    """Takes away what test processes left that were killed."""
    for path in _FOLDER.glob(f"{_PREFIX}-*"):
        owner = path.name.removeprefix(f"{_PREFIX}-").partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            # Another process may sweep at the same time.
            with contextlib.suppress(RuntimeError):
                _remove(path.name)


@contextmanager
def lab(*switches: str) -> Iterator[Lab]:
    """A lab with these switches, taken away at the end, also of a test that failed."""
    made = Lab()
    try:
        for name in switches:
            made.switch(name)
        yield made
    finally:
        made.close()
