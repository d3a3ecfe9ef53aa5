"""``nvr cameras discover``: which cameras there are on the network, by ONVIF, and adding them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from nvr.cli.complete import area_codes
from nvr.cli.output import Output
from nvr.cli.settings import Settings, with_node
from nvr.errors import CameraExists, ConfigError, InvalidArgument, NvrError
from nvr.footage.admin import mask_password
from nvr.footage.time import parse_duration
from nvr.footage.types import OwnerKind

if TYPE_CHECKING:
    from nvr.client import Network
    from nvr.onvif.types import Channel, Device, Login, Profile

__all__ = ["discover"]

_PASSWORD = "NVR_CAMERA_PASSWORD"  # noqa: S105 - the name of a variable
_FIELDS = ("address", "model", "serial", "number", "channel")
_OFF_S = 2.0
"""Clocks that are further off than this are told: events of two cameras no longer fit together."""
_RTSP_PORT = 554


@dataclass(frozen=True, slots=True)
class _Found:
    """A channel of a device, and what it is, or would be, called here."""

    device: Device
    channel: Channel
    registered: str = ""
    name: str = ""


@with_node
def discover(
    settings: Settings,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="Hosts, host:port or networks (10.0.0.0/24) to ask. Default: all that answer a multicast.",
            show_default=False,
        ),
    ] = None,
    user: Annotated[str, typer.Option("--user", help="User of the cameras.", show_default=False)] = "",
    ask_password: Annotated[
        bool, typer.Option("--ask-password", help=f"Ask for the password. Default: {_PASSWORD}.")
    ] = False,
    interface: Annotated[
        list[str] | None,
        typer.Option(
            "--interface",
            metavar="ADDRESS",
            help="Own address from which to ask; may be repeated. Default: all but loopback.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="DURATION", help="How long to wait for answers to the probe.")
    ] = "3s",
    add: Annotated[
        bool, typer.Option("--add", help="Add those that are not registered yet; recording starts at once.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="ADDRESS",
            help="Of what is found, add this address; may be repeated.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="PATTERN",
            help=f"What to call them: {', '.join('{' + field + '}' for field in _FIELDS)}.",
        ),
    ] = "cam-{address}",
    area: Annotated[
        str,
        typer.Option("--area", metavar="CODE", help="Area that they stand in.", autocompletion=area_codes),
    ] = "",
    owner: Annotated[OwnerKind, typer.Option("--owner", help="Whose they are.")] = OwnerKind.UNKNOWN,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check, on the node too; add nothing.")
    ] = False,
) -> None:
    """Find cameras on the network by ONVIF, and what they stream; with --add, record them.

    Asks from this machine, and changes nothing on a camera.
    """
    output = settings.output
    if add and output.as_json and not (yes or dry_run):
        raise InvalidArgument("with --json nobody is asked: say --yes, or --dry-run")
    if not add and (dry_run or yes or only):
        raise InvalidArgument("--dry-run, --yes and --only go with --add")
    _check_pattern(name)
    login = _login(user, ask=ask_password)
    devices = _find(output, targets or [], interface or [], login, parse_duration(wait) / 1_000_000)
    if not add:
        found = _marked(settings, devices)
        _print(output, devices, found)
        return
    with settings.connect() as network:
        found = _named(_channels(devices, _registered(network)), name)
        _print(output, devices, found)
        wanted = [each for each in found if _is_wanted(each, only)]
        if unknown := set(only or ()) - {each.device.answer.host for each in found}:
            raise InvalidArgument(f"--only: nothing that could be recorded was found at {min(unknown)[:80]}")
        if not wanted:
            output.note("nothing to add")
            return
        _add(network, wanted, login, area, owner, dry_run=True)
        if not dry_run:
            if not yes:
                typer.confirm(f"Add {len(wanted)} cameras?", abort=True, err=True)
            _add(network, wanted, login, area, owner, dry_run=False)
        for each in wanted:
            _tell(output, each, dry_run=dry_run)
        if not dry_run:
            output.note(f"undo: nvr cameras remove {wanted[0].name}" + (" …" if len(wanted) > 1 else ""))


def _login(user: str, *, ask: bool) -> Login | None:
    from nvr.onvif.types import Login

    if not user:
        if ask:
            raise InvalidArgument("--ask-password needs --user")
        return None
    password = os.environ.get(_PASSWORD, "")
    if ask or not password:
        password = typer.prompt("Password of the cameras", hide_input=True, err=True)
    return Login(user, password)


def _find(
    output: Output, targets: list[str], interfaces: list[str], login: Login | None, wait_s: float
) -> list[Device]:
    from nvr.onvif import scan

    if not 0 < wait_s <= 60:
        raise InvalidArgument("--wait is at most 1m")
    with _progress(output) as step:
        return asyncio.run(
            scan.find_devices(
                scan.parse_targets(targets),
                interfaces or scan.interfaces(),
                login,
                wait_s=wait_s,
                on_device=step,
            )
        )


@contextmanager
def _progress(output: Output) -> Iterator[Any]:
    if not output.progress:
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("asking cameras", total=None)
        yield lambda done, of: bars.update(task, completed=done, total=of)


def _marked(settings: Settings, devices: list[Device]) -> list[_Found]:
    """With the names of those that the node knows, if it can be asked."""
    try:
        with settings.connect() as network:
            return _channels(devices, _registered(network))
    except NvrError as error:
        settings.output.note(f"which are registered is not known: {error.message}")
        return _channels(devices, {})


def _registered(network: Network) -> dict[tuple[str, str], str]:
    """Names of the node's own cameras, by host and port, and path of each stream; and without the path."""
    found: dict[tuple[str, str], str] = {}
    for camera in network.cameras():
        try:
            settings = network.camera(camera.id).settings()
        except NvrError:
            continue  # another node's, or just removed
        for url in filter(None, (settings.main_url, settings.sub_url)):
            place, path = _place_of(url)
            found[place, path] = settings.name
            found.setdefault((place, ""), settings.name)
    return found


def _place_of(url: str) -> tuple[str, str]:
    parts = urlsplit(mask_password(url))
    port = parts.port or _RTSP_PORT
    return f"{parts.hostname}:{port}", parts.path + (f"?{parts.query}" if parts.query else "")


def _channels(devices: list[Device], registered: dict[tuple[str, str], str]) -> list[_Found]:
    found = []
    for device in devices:
        for channel in device.channels:
            streams = [each for each in (channel.main, channel.sub, *channel.others) if each]
            names = [registered.get(_place_of(each.stream_url), "") for each in streams if each.stream_url]
            known = next(filter(None, names), "")
            if not known and len(device.channels) == 1:
                # Somebody has given its stream another address.
                places = [_place_of(each.stream_url)[0] for each in streams if each.stream_url]
                known = next(filter(None, (registered.get((place, ""), "") for place in places)), "")
            found.append(_Found(device, channel, known))
    return found


def _is_wanted(found: _Found, only: list[str] | None) -> bool:
    asked_for = not only or found.device.answer.host in only
    return asked_for and not found.registered and found.channel.main is not None


def _check_pattern(pattern: str) -> None:
    try:
        pattern.format(**dict.fromkeys(_FIELDS, "x"))
    except (KeyError, IndexError, ValueError, AttributeError):
        known = ", ".join("{" + field + "}" for field in _FIELDS)
        raise InvalidArgument(f"--name: the pattern knows {known}") from None


def _named(found: list[_Found], pattern: str) -> list[_Found]:
    """With the names that they would get."""
    named, number = [], 0
    for each in found:
        if each.registered or each.channel.main is None:
            named.append(each)
            continue
        number += 1
        device = each.device
        text = pattern.format(
            address=device.answer.host,
            model=device.model or "camera",
            serial=device.serial or device.answer.host,
            number=number,
            channel=each.channel.number,
        )
        if len(device.channels) > 1 and not re.search(r"\{(channel|number)[!:}]", pattern):
            text += f"-{each.channel.number}"
        slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63]
        named.append(replace(each, name=slug))
    return named


def _add(
    network: Network,
    wanted: list[_Found],
    login: Login | None,
    area: str,
    owner: OwnerKind,
    *,
    dry_run: bool,
) -> None:
    """All are checked on the node before the first is added; all faults at once."""
    faults: list[str] = []
    taken: set[str] = set()
    for each in wanted:
        main, sub = each.channel.main, each.channel.sub
        if main is None:
            continue
        if each.name in taken:
            faults.append(f"two of them would be called {each.name}: use {{number}} in --name")
            continue
        taken.add(each.name)
        try:
            network.add_camera(
                each.name,
                _with_login(main.stream_url, login),
                sub_url="" if sub is None else _with_login(sub.stream_url, login),
                title=" ".join(filter(None, (each.device.manufacturer, each.device.model)))[:200],
                area=area,
                owner=owner,
                dry_run=dry_run,
            )
        except (InvalidArgument, CameraExists) as error:
            if not dry_run:
                raise
            faults.append(f"{each.device.answer.host}: {error.message}")
    if faults:
        raise ConfigError("\n".join(faults), facts={"faults": str(len(faults))})


def _with_login(url: str, login: Login | None) -> str:
    if login is None:
        return url
    user = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}"
    return url.replace("://", f"://{user}@", 1)


def _tell(output: Output, added: _Found, *, dry_run: bool) -> None:
    if output.as_json:
        address = added.device.answer.host
        output.record({"type": "added", "name": added.name, "address": address, "dry_run": dry_run})
    else:
        output.line(f"{added.name}: {'would be ' if dry_run else ''}added")


def _print(output: Output, devices: list[Device], found: list[_Found]) -> None:
    if output.as_json:
        for device in devices:
            output.record(_record(device, [each for each in found if each.device is device]))
        return
    rows: list[tuple[str, ...]] = []
    for device in devices:
        of_device = [each for each in found if each.device is device]
        model = " ".join(filter(None, (device.manufacturer, device.model))) or device.answer.name
        where = device.answer.host + ("" if device.answer.port == 80 else f":{device.answer.port}")
        clock = _clock(device.clock_offset_s)
        for each in of_device:
            number = str(each.channel.number) if len(of_device) > 1 else ""
            streams = (_stream(each.channel.main), _stream(each.channel.sub))
            state = f"registered as {each.registered}" if each.registered else _state(each)
            rows.append((where, model, number, *streams, clock, state))
        if not of_device:
            rows.append((where, model, "", "", "", clock, device.trouble.value or "no pictures"))
    output.table(
        f"{len(devices)} devices", ("address", "model", "channel", "main", "sub", "clock", "state"), rows
    )
    for device in devices:
        for note in filter(None, (device.detail, *device.notes)):
            output.note(f"{device.answer.host}: {note}")
    if not devices:
        output.note(
            "nobody answered: cameras of other networks do not hear a multicast, and some do not listen "
            "to it; name addresses or a network, as in: nvr cameras discover 10.0.0.0/24"
        )


def _state(found: _Found) -> str:
    if found.channel.main is None:
        return "nothing that is recorded"
    return f"new: {found.name}" if found.name else "new"


def _stream(profile: Profile | None) -> str:
    if profile is None:
        return ""
    size = f"{profile.width}x{profile.height}" if profile.width else ""
    rate = f"{profile.fps:g}/s" if profile.fps else ""
    return " ".join(filter(None, (profile.codec, size, rate)))


def _clock(offset_s: float | None) -> str:
    if offset_s is None:
        return "unknown"
    if abs(offset_s) < _OFF_S:
        return "right"
    words = "ahead" if offset_s > 0 else "behind"
    seconds = round(abs(offset_s))
    parts = (
        (seconds // 86400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    )
    shown = [f"{value} {unit}" for value, unit in parts if value]
    return f"{' '.join(shown[:2])} {words}"


def _record(device: Device, found: list[_Found]) -> dict[str, Any]:
    answer = device.answer
    return {
        "type": "device",
        "address": answer.host,
        "port": answer.port,
        "endpoint": answer.endpoint,
        "name": answer.name,
        "manufacturer": device.manufacturer,
        "model": device.model,
        "firmware": device.firmware,
        "serial": device.serial,
        "clock_offset_s": device.clock_offset_s,
        "trouble": device.trouble.value,
        "detail": device.detail,
        "notes": list(device.notes),
        "channels": [
            {
                "number": each.channel.number,
                "registered": each.registered,
                "name": each.name,
                "main": _profile(each.channel.main),
                "sub": _profile(each.channel.sub),
                "others": [_profile(other) for other in each.channel.others],
                "snapshot_url": mask_password(each.channel.snapshot_url),
            }
            for each in found
        ],
    }


def _profile(profile: Profile | None) -> dict[str, Any] | None:
    # Some makes have the password in the path.
    return None if profile is None else asdict(profile) | {"stream_url": mask_password(profile.stream_url)}
