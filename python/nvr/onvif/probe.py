"""Who answers a probe: WS-Discovery (2005/04, which ONVIF uses), by multicast and to single hosts."""

import asyncio
import socket
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote, urlsplit

from nvr.onvif.soap import FaultError, MalformedAnswerError, all_of, parse, text_of
from nvr.onvif.types import Answer

__all__ = ["GROUP", "PORT", "answers_in", "discover"]

GROUP, PORT = "239.255.255.250", 3702
MOST = 5000
"""Devices; more answer only where somebody plays games."""
_TIMES = 2
"""A datagram may be lost."""
_SCOPES = "onvif://www.onvif.org/"


def _question(message_id: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"'
        ' xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header>'
        f"<w:MessageID>urn:uuid:{message_id}</w:MessageID>"
        "<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>"
        "<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>"
        "<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>"
    ).encode()


async def discover(
    interfaces: Sequence[str], hosts: Iterable[str], *, wait_s: float, port: int = PORT
) -> list[Answer]:
    """Devices that answer within a time, each once.

    ``interfaces``: addresses of this machine from which the group is asked; ``hosts``:
    addresses that are asked alone. Raises :exc:`OSError` when nothing can be sent at all.
    """
    found: dict[tuple[str, int], Answer] = {}
    loop = asyncio.get_running_loop()
    listeners: list[asyncio.DatagramTransport] = []
    targets: list[tuple[asyncio.DatagramTransport, str]] = []
    errors: list[OSError] = []

    async def listen(address: str, *, multicast: bool) -> asyncio.DatagramTransport:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        if multicast:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("b", 1))
        sock.bind((address, 0))
        transport, _ = await loop.create_datagram_endpoint(lambda: _Listener(found), sock=sock)
        listeners.append(transport)
        return transport

    try:
        for interface in interfaces:
            try:
                targets.append((await listen(interface, multicast=True), GROUP))
            except OSError as error:
                errors.append(error)
        alone: dict[bool, asyncio.DatagramTransport] = {}
        for host in hosts:
            six = ":" in host
            if six not in alone:
                alone[six] = await listen("::" if six else "0.0.0.0", multicast=False)  # noqa: S104
            targets.append((alone[six], host))
        if errors and not targets:
            raise errors[0]
        for _ in range(_TIMES):
            question = _question(str(uuid.uuid4()))
            for number, (transport, host) in enumerate(targets):
                transport.sendto(question, (host, port))
                if number % 64 == 63:
                    # Not all at once: switches and queues drop bursts.
                    await asyncio.sleep(0.01)
            await asyncio.sleep(wait_s / _TIMES)
    finally:
        for transport in listeners:
            transport.close()
    return sorted(found.values(), key=lambda answer: (_sort_key(answer.host), answer.port))


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, found: dict[tuple[str, int], Answer]) -> None:
        self._found = found

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for answer in answers_in(data, addr[0]):
            if len(self._found) < MOST:
                self._found.setdefault((answer.host, answer.port), answer)

    def error_received(self, exc: Exception) -> None:
        """A host that has no such port says so; the others are waited for."""


def answers_in(data: bytes, sender: str) -> Iterator[Answer]:
    """The devices that a datagram tells of; none if it is something else."""
    try:
        body = parse(data)
    except (MalformedAnswerError, FaultError):
        return
    for match in all_of(body, "ProbeMatch"):
        # Of several addresses (IPv4, IPv6, HTTPS) the one that the answer came from, else any: what
        # a device believes to be its address is often wrong, its port and path are not.
        offered = [urlsplit(each) for each in text_of(match, "XAddrs").split()]
        web = [each for each in offered if each.scheme in {"http", "https"}]
        web.sort(key=lambda each: (each.hostname != sender, each.scheme != "http"))
        for each in web[:1]:
            try:
                port = each.port or (443 if each.scheme == "https" else 80)
            except ValueError:
                continue
            scopes = text_of(match, "Scopes").split()
            yield Answer(
                host=sender,
                port=port,
                path=each.path or "/onvif/device_service",
                secure=each.scheme == "https",
                endpoint=text_of(match, "EndpointReference", "Address"),
                name=_scope(scopes, "name/"),
                hardware=_scope(scopes, "hardware/"),
            )


def _scope(scopes: Sequence[str], kind: str) -> str:
    prefix = _SCOPES + kind
    found = next((scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix)), "")
    decoded = unquote(found, errors="replace")
    return "".join(each for each in decoded if each.isprintable())[:100]


def _sort_key(host: str) -> tuple[int, bytes]:
    try:
        return 4, socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return 6, host.encode()
