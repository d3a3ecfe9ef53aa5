"""All devices of a network: those that answer probes, and those that are at addresses that were named."""

import asyncio
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nvr.errors import InvalidArgument, NodeUnavailable
from nvr.onvif.device import ask_device
from nvr.onvif.probe import PORT, discover
from nvr.onvif.types import Answer, Device, Login, Trouble

__all__ = ["Target", "find_devices", "interfaces", "parse_targets"]

_PATH = "/onvif/device_service"
_PORTS = (80, 8000, 8080, 8899, 5000)
"""Where makes have their device service: most, Hikvision's recorders, Axis and others behind a
router, XM, TVT."""
_MOST_HOSTS = 4096
_KNOCK_AT_ONCE = 256
_KNOCK_S = 1.5
_ASK_AT_ONCE = 32
_SIOCGIFADDR = 0x8915


@dataclass(frozen=True, slots=True)
class Target:
    """An address that was named; port 0: the usual ones."""

    host: str
    port: int = 0


def parse_targets(texts: Sequence[str]) -> list[Target]:
    """``10.0.0.7``, ``10.0.0.7:8080``, ``[fe80::1%eth0]``, ``camera.local`` or ``10.0.0.0/24``, each once.

    Raises :exc:`InvalidArgument` for what is none, and for more than 4,096 addresses together.
    """
    targets: dict[Target, None] = {}
    for text in texts:
        for target in _targets_of(text.strip()):
            targets[target] = None
            if len(targets) > _MOST_HOSTS:
                raise InvalidArgument(f"more than {_MOST_HOSTS} addresses: name a smaller network")
    return list(targets)


def _targets_of(text: str) -> Iterator[Target]:
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise InvalidArgument(f"{text[:80]!r} is no network such as 10.0.0.0/24") from None
        if network.num_addresses > _MOST_HOSTS:
            raise InvalidArgument(f"{text}: more than {_MOST_HOSTS} addresses: name a smaller network")
        yield from (Target(str(each)) for each in network.hosts())
        return
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    if not host or (colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16)):
        raise InvalidArgument(
            f"{text[:80]!r} is neither a host, a host:port nor a network such as 10.0.0.0/24"
        )
    yield Target(host, int(port or 0))


def interfaces() -> list[str]:
    """The IPv4 addresses of this machine, but for loopback."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue  # has none
            address = socket.inet_ntoa(answer[20:24])
            if not address.startswith("127."):
                found.append(address)
    return found


async def find_devices(
    targets: Sequence[Target],
    from_interfaces: Sequence[str],
    login: Login | None,
    *,
    wait_s: float,
    on_device: Callable[[int, int], None] = lambda done, of: None,
    probe_port: int = PORT,
) -> list[Device]:
    """Devices that answer, each asked what it is; in the order of their addresses.

    ``targets``: only these are asked; without any, who answers on ``from_interfaces``.
    Named addresses that answer to nothing are left out where they are many (a
    network), and told as unreachable where they are single. ``on_device``: how many
    were asked, of how many. Raises :exc:`NodeUnavailable` when nothing can be sent.
    """
    resolved = await _resolved(targets)
    try:
        answers = await discover(
            () if targets else from_interfaces,
            list(dict.fromkeys(resolved.values())),
            wait_s=wait_s,
            port=probe_port,
        )
    except OSError as error:
        raise NodeUnavailable(f"no probe can be sent to the network: {error.strerror}") from error
    known = {answer.host for answer in answers}
    silent = [
        Target(address, target.port)
        for target, address in resolved.items()
        if target.port or address not in known
    ]
    answers = [each for each in answers if not any(t.host == each.host and t.port for t in silent)]
    named = {target.host for target in silent} if len(targets) <= _FEW else set()
    answers += await _knock(silent, named)
    done = 0
    turn = asyncio.Semaphore(_ASK_AT_ONCE)

    async def ask(answer: Answer) -> Device:
        nonlocal done
        async with turn:
            device = await ask_device(answer, login)
        done += 1
        on_device(done, len(answers))
        return device

    devices = await asyncio.gather(*map(ask, answers))
    # A port that is open is not a camera: nobody said that it was one.
    return [
        device
        for device in devices
        if device.answer.endpoint
        or device.answer.host in named
        or device.trouble not in {Trouble.NOT_ONVIF, Trouble.UNREACHABLE}
    ]


_FEW = 16
"""So many named addresses are single ones rather than a network."""


async def _resolved(targets: Sequence[Target]) -> dict[Target, str]:
    loop = asyncio.get_running_loop()
    found = {}
    for target in targets:
        try:
            info = await loop.getaddrinfo(target.host, None, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise InvalidArgument(f"{target.host[:80]}: no such host: {error.strerror}") from error
        found[target] = str(info[0][4][0])
    return found


async def _knock(targets: Sequence[Target], named: set[str]) -> list[Answer]:
    """Where something listens that may be a device service; all that were named, also where nothing does."""
    turn = asyncio.Semaphore(_KNOCK_AT_ONCE)

    async def open_port(host: str, port: int) -> bool:
        async with turn:
            try:
                async with asyncio.timeout(_KNOCK_S):
                    _, writer = await asyncio.open_connection(host, port)
            except (OSError, TimeoutError):
                return False
        writer.close()
        return True

    async def knock(target: Target) -> list[Answer]:
        if target.port:
            return [Answer(target.host, target.port, _PATH)]
        opened = await asyncio.gather(*(open_port(target.host, port) for port in _PORTS))
        ports = [port for port, is_open in zip(_PORTS, opened, strict=True) if is_open]
        if not ports and target.host in named:
            ports = [_PORTS[0]]
        return [Answer(target.host, port, _PATH) for port in ports]

    return [answer for found in await asyncio.gather(*map(knock, targets)) for answer in found]
