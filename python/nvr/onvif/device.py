"""What one device tells of itself: clock, model, and how each of its channels streams."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from urllib.parse import quote, urlsplit, urlunsplit
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from nvr.onvif.soap import FaultError, MalformedAnswerError, all_of, first, text_of
from nvr.onvif.transport import Connection, LoginRefusedError, UnreachableError
from nvr.onvif.types import Answer, Channel, Device, Login, Profile, Trouble

__all__ = ["ask_device"]

_LIMIT_S = 30.0
"""For all questions to one device together."""
_MOST_PROFILES = 256
_MAX_URL = 1000
_MEDIA = "http://www.onvif.org/ver10/media/wsdl"
_MEDIA_2 = "http://www.onvif.org/ver20/media/wsdl"


async def ask_device(answer: Answer, login: Login | None) -> Device:
    """What can be learned without changing anything. Raises nothing: trouble is part of the answer."""
    device = Device(answer)
    try:
        async with asyncio.timeout(_LIMIT_S), Connection(answer, login) as connection:
            async for more in _ask(connection, device):
                device = more
    except (UnreachableError, TimeoutError) as error:
        return replace(device, trouble=Trouble.UNREACHABLE, detail=str(error) or "it answers too slowly")
    except MalformedAnswerError as error:
        return replace(device, trouble=Trouble.NOT_ONVIF, detail=str(error))
    except FaultError as error:
        return replace(device, trouble=Trouble.NOT_ONVIF, detail=f"it answers with a fault: {error}")
    except LoginRefusedError:
        if login is None:
            return replace(device, trouble=Trouble.LOGIN_NEEDED, detail="it wants a user and password")
        return replace(device, trouble=Trouble.LOGIN_REFUSED, detail="it refuses the user and password")
    return device


async def _ask(connection: Connection, device: Device) -> AsyncIterator[Device]:
    """The device as more and more is known of it."""
    offset, notes = await _clock(connection)
    connection.clock_offset = offset or timedelta(0)
    seconds = None if offset is None else round(offset.total_seconds(), 1)
    device = replace(device, clock_offset_s=seconds, notes=notes)
    yield device
    about = await connection.ask(connection.answer.path, "<tds:GetDeviceInformation/>")
    device = replace(
        device,
        manufacturer=text_of(about, "Manufacturer")[:100],
        model=text_of(about, "Model")[:100],
        firmware=text_of(about, "FirmwareVersion")[:100],
        serial=text_of(about, "SerialNumber")[:100],
    )
    yield device
    services = await _services(connection)
    channels, more = await _channels(connection, services)
    yield replace(device, channels=channels, notes=[*notes, *more])


async def _clock(connection: Connection) -> tuple[timedelta | None, list[str]]:
    """The device's clock minus ours, to about a second."""
    question, path = "<tds:GetSystemDateAndTime/>", connection.answer.path
    asked = time.monotonic()
    try:
        # The standard lets everybody ask, so that a login can be made that is in time.
        body = await connection.ask(path, question, anonymous=True)
    except LoginRefusedError:
        asked = time.monotonic()
        body = await connection.ask(path, question)
    passed = timedelta(seconds=time.monotonic() - asked)
    if first(body, "GetSystemDateAndTimeResponse") is None:
        raise MalformedAnswerError("it answers another question than was asked")
    utc = first(body, "UTCDateTime")
    if utc is None:
        return None, ["it tells no UTC time: its clock is not checked"]
    try:
        date, time_of_day = first(utc, "Date"), first(utc, "Time")
        its = datetime(
            int(text_of(date, "Year")),
            int(text_of(date, "Month")),
            int(text_of(date, "Day")),
            int(text_of(time_of_day, "Hour")),
            int(text_of(time_of_day, "Minute")),
            # A leap second.
            min(int(text_of(time_of_day, "Second")), 59),
            tzinfo=UTC,
        )
    except (ValueError, OverflowError):
        return None, ["it tells a time that there is not: its clock is not checked"]
    # It cuts off the part of the second: half of one on average.
    return its + timedelta(seconds=0.5) - (datetime.now(UTC) - passed / 2), []


async def _services(connection: Connection) -> dict[str, str]:
    """Paths of services, by namespace."""
    path = connection.answer.path
    question = "<tds:GetServices><tds:IncludeCapability>false</tds:IncludeCapability></tds:GetServices>"
    try:
        body = await connection.ask(path, question)
        found = {
            text_of(each, "Namespace"): _path(text_of(each, "XAddr")) for each in all_of(body, "Service")
        }
    except (FaultError, MalformedAnswerError):
        found = {}
    if not found.keys() & {_MEDIA, _MEDIA_2}:
        # Before ONVIF 2.1.
        question = "<tds:GetCapabilities><tds:Category>All</tds:Category></tds:GetCapabilities>"
        body = await connection.ask(path, question)
        found[_MEDIA] = _path(text_of(body, "Media", "XAddr"))
    # Some answer to everything at one place, and do not say so.
    return {name: found or path for name, found in found.items()}


def _path(url: str) -> str:
    """Of a service: the host that a device gives is not asked, it is often wrong."""
    parts = urlsplit(url) if len(url) <= _MAX_URL else urlsplit("")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return quote(path, safe="/?&=%:@!$'()*+,;~-._")


async def _channels(connection: Connection, services: dict[str, str]) -> tuple[list[Channel], list[str]]:
    notes: list[str] = []
    trouble: Exception | None = None
    # The second version knows H.265, which the first cannot say.
    for media in (_MEDIA_2, _MEDIA):
        if media not in services:
            continue
        asker = (
            _Media2(connection, services[media]) if media == _MEDIA_2 else _Media(connection, services[media])
        )
        try:
            profiles = await asker.profiles()
        except (FaultError, MalformedAnswerError) as error:
            trouble = error
            continue
        if profiles:
            return await _grouped(asker, profiles, notes), notes
    if trouble is not None:
        raise trouble
    return [], ["it has no profile that streams pictures"]


async def _grouped(asker: "_Media", profiles: list[tuple[str, Profile]], notes: list[str]) -> list[Channel]:
    """One channel for each source of pictures, in the device's order."""
    order = {source: number for number, source in enumerate(dict.fromkeys(s for s, _ in profiles), 1)}
    profiles = sorted(profiles, key=lambda pair: order[pair[0]])
    channels = []
    for source, group in groupby(profiles, key=lambda pair: pair[0]):
        streams = []
        for _, profile in group:
            url = await asker.stream_url(profile.token, notes)
            streams.append(replace(profile, stream_url=url))
        main, sub, others = _choice(streams)
        snapshot = "" if main is None else await asker.snapshot_url(main.token)
        channels.append(Channel(order[source], source, main, sub, others, snapshot))
    return channels


def _choice(streams: list[Profile]) -> tuple[Profile | None, Profile | None, list[Profile]]:
    """Main and sub-stream, and the rest. Without sizes the device's order counts."""
    usable = [each for each in streams if each.recordable]
    if not usable:
        return None, None, streams
    main = max(usable, key=lambda each: (each.width * each.height, each.fps))
    smaller = [each for each in usable if each.width * each.height < main.width * main.height]
    if smaller:
        sub = min(smaller, key=lambda each: each.width * each.height)
    elif main.width == 0 and len(usable) > 1:
        sub = usable[1]
    else:
        return main, None, [each for each in streams if each is not main]
    return main, sub, [each for each in streams if each is not main and each is not sub]


class _Media:
    """Questions to the media service (version 1, ONVIF Media Service Specification)."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    async def profiles(self) -> list[tuple[str, Profile]]:
        """Token of the source of pictures, and the profile, whose stream is not asked for yet."""
        body = await self._connection.ask(self._path, "<trt:GetProfiles/>")
        return list(_read_profiles(body, "VideoSourceConfiguration", "VideoEncoderConfiguration"))

    async def stream_url(self, token: str, notes: list[str]) -> str:
        """RTSP, without a login; empty when there is none."""
        try:
            body = await self._connection.ask(self._path, self._stream_question(escape(token)))
        except (FaultError, MalformedAnswerError) as error:
            notes.append(f"profile {token[:40]}: no stream: {error}")
            return ""
        return self._own_url(text_of(body, "Uri"), {"rtsp"}, notes)

    async def snapshot_url(self, token: str) -> str:
        """HTTP, without a login; empty when there is none."""
        try:
            body = await self._connection.ask(self._path, self._snapshot_question(escape(token)))
        except (FaultError, MalformedAnswerError, LoginRefusedError):
            return ""
        return self._own_url(text_of(body, "Uri"), {"http", "https"}, [])

    def _stream_question(self, token: str) -> str:
        return (
            "<trt:GetStreamUri><trt:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream><tt:Transport>"
            "<tt:Protocol>RTSP</tt:Protocol></tt:Transport></trt:StreamSetup>"
            f"<trt:ProfileToken>{token}</trt:ProfileToken></trt:GetStreamUri>"
        )

    def _snapshot_question(self, token: str) -> str:
        return f"<trt:GetSnapshotUri><trt:ProfileToken>{token}</trt:ProfileToken></trt:GetSnapshotUri>"

    def _own_url(self, url: str, schemes: set[str], notes: list[str]) -> str:
        """An address at the device that was asked, whatever host it names, and without a login."""
        if not url or len(url) > _MAX_URL:
            return ""
        try:
            parts = urlsplit(url)
            named, port = parts.hostname or "", parts.port
        except ValueError:
            notes.append("it gives an address that cannot be read")
            return ""
        if parts.scheme not in schemes:
            notes.append(f"it streams by {parts.scheme[:10]}:, which is not recorded")
            return ""
        host = self._connection.answer.host
        if named != host:
            note = f"it takes {named[:100] or 'nothing'} for its own address"
            if note not in notes:
                notes.append(note)
        netloc = f"[{host}]" if ":" in host else host
        netloc += f":{port}" if port is not None else ""
        # What must be escaped in an address and is not, in the makes that do not care.
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._")
        return urlunsplit((parts.scheme, netloc, path, query, ""))


class _Media2(_Media):
    """The same of version 2 (ONVIF Media 2 Service Specification)."""

    async def profiles(self) -> list[tuple[str, Profile]]:
        body = await self._connection.ask(
            self._path, "<tr2:GetProfiles><tr2:Type>All</tr2:Type></tr2:GetProfiles>"
        )
        return list(_read_profiles(body, "VideoSource", "VideoEncoder"))

    def _stream_question(self, token: str) -> str:
        return (
            "<tr2:GetStreamUri><tr2:Protocol>RTSP</tr2:Protocol>"
            f"<tr2:ProfileToken>{token}</tr2:ProfileToken></tr2:GetStreamUri>"
        )

    def _snapshot_question(self, token: str) -> str:
        return f"<tr2:GetSnapshotUri><tr2:ProfileToken>{token}</tr2:ProfileToken></tr2:GetSnapshotUri>"


def _read_profiles(body: Element, source: str, encoder: str) -> Iterator[tuple[str, Profile]]:
    """Those with pictures."""
    for profile in islice(all_of(body, "Profiles"), _MOST_PROFILES):
        token = profile.get("token", "")[:200]
        coder = first(profile, encoder)
        if not token or coder is None:
            continue
        yield (
            text_of(profile, source, "SourceToken")[:200],
            Profile(
                token=token,
                name=text_of(profile, "Name")[:100],
                codec=text_of(coder, "Encoding").upper()[:20],
                width=_whole(text_of(coder, "Resolution", "Width")),
                height=_whole(text_of(coder, "Resolution", "Height")),
                fps=_number(text_of(coder, "FrameRateLimit")),
                bit_rate_kbit=_whole(text_of(coder, "BitrateLimit")),
                stream_url="",
            ),
        )


def _number(text: str) -> float:
    """0 for what is none, or none that makes sense."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e7 else 0.0


def _whole(text: str) -> int:
    return int(_number(text))
