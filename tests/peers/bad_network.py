"""A network between a recorder and a camera over UDP: packets overtake each other, come twice, are lost.

It stands between the two as a proxy of RTSP that puts its own ports in the place of both sides'.
"""

import random
import re
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

_HOST = "127.0.0.1"
_PORTS = re.compile(rb"(client_port|server_port)=(\d+)-(\d+)")


@dataclass
class Network:
    """What it does to RTP; RTCP and RTSP pass as they are. Counts what it did."""

    port: int
    """Where RTSP is passed on to the camera."""
    group: int
    """So many packets that follow one another come in any order; 1: in their own."""
    doubled: float
    """Part of the packets that come twice."""
    lose: frozenset[int]
    """Which packets are lost, counted from the first of the session that the camera sends."""
    seen: int = 0
    overtaken: int = 0
    lost: int = 0
    twice: int = 0
    _random: random.Random = field(default_factory=lambda: random.Random(5))


@contextmanager
def between(
    camera_port: int, *, group: int = 1, doubled: float = 0.0, lose: frozenset[int] = frozenset()
) -> Iterator[Network]:
    """A network before the camera on this port, for one session."""
    listener = socket.create_server((_HOST, 0))
    network = Network(listener.getsockname()[1], group, doubled, lose)
    stop = threading.Event()
    thread = threading.Thread(target=_pass_on, args=(network, listener, camera_port, stop))
    thread.start()
    try:
        yield network
    finally:
        stop.set()
        thread.join()
        listener.close()


def _udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    made.bind((_HOST, 0))
    made.setblocking(False)
    return made


def _pair() -> tuple[socket.socket, socket.socket]:
    """On an even port and the next."""
    while True:
        first = _udp()
        port = first.getsockname()[1]
        second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with suppress(OSError):
            if port % 2 == 0:
                second.bind((_HOST, port + 1))
                second.setblocking(False)
                return first, second
        first.close()
        second.close()


def _pass_on(network: Network, listener: socket.socket, camera_port: int, stop: threading.Event) -> None:
    listener.settimeout(0.1)
    recorder = None
    while recorder is None and not stop.is_set():
        with suppress(TimeoutError):
            recorder, _ = listener.accept()
    if recorder is None:
        return
    with recorder, socket.create_connection((_HOST, camera_port)) as camera:
        _Session(network, recorder, camera).run(stop)


class _Session:
    def __init__(self, network: Network, recorder: socket.socket, camera: socket.socket) -> None:
        self.network = network
        self.selector = selectors.DefaultSelector()
        self.selector.register(recorder, selectors.EVENT_READ, lambda: self._talk(recorder, camera))
        self.selector.register(camera, selectors.EVENT_READ, lambda: self._talk(camera, recorder))
        self.sockets: list[socket.socket] = []
        # Of the track that is being set up: the recorder's ports, and our sockets to both sides.
        self.recorder_ports = (0, 0)
        self.to_camera, self.to_recorder = (self.sockets, self.sockets)

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set() and len(self.selector.get_map()) > 0:
            for key, _ in self.selector.select(0.05):
                key.data()
        for each in self.sockets:
            each.close()
        self.selector.close()

    def _talk(self, source: socket.socket, to: socket.socket) -> None:
        """Messages are short and come whole: one at a time on this machine."""
        try:
            text = source.recv(1 << 16)
        except ConnectionError:
            text = b""
        if not text:
            self.selector.unregister(source)
            with suppress(OSError):
                to.shutdown(socket.SHUT_WR)
            return
        with suppress(ConnectionError):
            to.sendall(_PORTS.sub(self._ports, text))

    def _ports(self, match: re.Match[bytes]) -> bytes:
        asked = (int(match[2]), int(match[3]))
        if match[1] == b"client_port" and asked != self.recorder_ports and not self._is_ours(asked):
            self.recorder_ports = asked
            self.to_camera, self.to_recorder = list(_pair()), list(_pair())
            self.sockets += [*self.to_camera, *self.to_recorder]
            ours = self.to_camera
        elif match[1] == b"client_port":
            return b"client_port=%d-%d" % self.recorder_ports
        else:
            ours = self.to_recorder
            for n in (0, 1):
                self._join(self.to_camera[n], asked[n], self.to_recorder[n], self.recorder_ports[n], n == 0)
        return b"%s=%d-%d" % (match[1], ours[0].getsockname()[1], ours[1].getsockname()[1])

    def _is_ours(self, ports: tuple[int, int]) -> bool:
        return any(each.getsockname()[1] == ports[0] for each in self.sockets)

    def _join(
        self, left: socket.socket, left_port: int, right: socket.socket, right_port: int, rtp: bool
    ) -> None:
        self.selector.register(left, selectors.EVENT_READ, lambda: self._take(left, right, right_port, rtp))
        self.selector.register(right, selectors.EVENT_READ, lambda: self._take(right, left, left_port, False))

    def _take(self, source: socket.socket, out: socket.socket, port: int, rtp: bool) -> None:
        packets = []
        with suppress(OSError):
            while True:
                packets.append(source.recv(1 << 16))
        if rtp:
            packets = self._disturbed(packets)
        for packet in packets:
            with suppress(OSError):
                out.sendto(packet, (_HOST, port))

    def _disturbed(self, packets: list[bytes]) -> list[bytes]:
        """Without waiting: however busy the machine is, what is late comes soon after."""
        network, chance = self.network, self.network._random
        arriving: list[bytes] = []
        for start in range(0, len(packets), network.group):
            numbers = list(range(start, min(start + network.group, len(packets))))
            numbers += [number for number in numbers if chance.random() < network.doubled]
            if network.group > 1:
                chance.shuffle(numbers)
            network.overtaken += sum(after < before for before, after in pairwise(numbers))
            network.twice += len(numbers) - len(set(numbers))
            arriving += [packets[number] for number in numbers if network.seen + number not in network.lose]
        network.lost += len(network.lose & set(range(network.seen, network.seen + len(packets))))
        network.seen += len(packets)
        return arriving
