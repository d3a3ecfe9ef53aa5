"""A connection to a node."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from nvr.client._camera import AsyncCamera
from nvr.client._checks import checked_name, checked_place, checked_title, checked_url
from nvr.client._remote import Node
from nvr.client._show import Shown, View
from nvr.client._stream import AsyncStream
from nvr.client._values import CameraList
from nvr.errors import Closed, InvalidArgument
from nvr.footage.admin import CameraSettings
from nvr.footage.time import Duration, parse_duration
from nvr.footage.types import Camera as CameraInfo
from nvr.footage.types import Event, NodeInfo, Place, ReadContext

Partial = Literal["allow", "refuse"]
FilePath = str | os.PathLike[str]

DEFAULT_ADDRESS = "localhost:7600"


@dataclass(frozen=True, slots=True)
class Options:
    """How to connect, checked."""

    address: str
    ca: Path | None
    certificate: Path | None
    key: Path | None
    tls: bool
    timeout_us: int
    connect_timeout_us: int
    context: ReadContext


class NetworkState(Shown):
    """What is known of a connection; the same for both twins."""

    _options: Options
    _info: NodeInfo | None

    @property
    def address(self) -> str:
        """Where the node is, host:port."""
        return self._options.address

    @property
    def node(self) -> NodeInfo:
        """Who answers there; raises :exc:`nvr.errors.Closed` before the connection is open."""
        if self._info is None:
            raise Closed(f"the connection to {self.address} is not open; use it in a with block")
        return self._info

    def view(self) -> View:
        """What there is to see."""
        context = self._options.context
        who = f"{self._info.name} (nvr {self._info.version})" if self._info else "not open"
        rows = [
            ("node", who),
            ("address", self.address),
            ("TLS", "yes" if self._options.tls else "no"),
            ("purpose", context.purpose),
            ("case", context.case_number),
            ("partial answers", "accepted" if context.partial == "allow" else "refused"),
        ]
        return View(f"connection to {self.address}", ("", ""), rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} {self._info.name if self._info else 'not open'}>"


class AsyncNetwork(NetworkState):
    """A connection to a node, and through it to all cameras below: see :func:`nvr.connect_async`."""

    def __init__(self, options: Options, parent: AsyncNetwork | None = None) -> None:
        self._options = options
        self._parent = parent
        self._node: Node | None = parent._node if parent else None
        self._info = parent._info if parent else None

    async def open(self) -> Self:
        """Connects; raises :exc:`nvr.errors.NodeUnavailable` when the node does not answer in time."""
        if self._node is None:
            node = Node(
                self._options.address,
                tls=self._options.tls,
                ca=self._options.ca,
                certificate=self._options.certificate,
                key=self._options.key,
                timeout_us=self._options.timeout_us,
            )
            try:
                self._info = await node.hello(self._options.connect_timeout_us)
            except BaseException:
                await node.close()
                raise
            self._node = node
        return self

    async def close(self) -> None:
        """Ends the connection; streams still open end with it."""
        node, self._node = self._node, None
        if node is not None and self._parent is None:
            await node.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def for_case(self, case: str, *, purpose: str | None = None) -> AsyncNetwork:
        """A view of the same connection, whose reads are accounted to a case; it ends with this one."""
        self._opened()
        context = replace(self._options.context, case_number=case)
        if purpose is not None:
            context = replace(context, purpose=purpose)
        return AsyncNetwork(replace(self._options, context=context), self)

    def camera(self, name: str) -> AsyncCamera:
        """A camera by name, ``node/name`` or id. Nothing is asked of the node yet."""
        if not name:
            raise InvalidArgument("a camera has a name; list them with cameras()", field="camera")
        return AsyncCamera(self._opened(), self._context, name, self.node.name)

    async def cameras(self, *names: str) -> CameraList:
        """The cameras with their state, ordered by name; only these where any are named."""
        answer = self._opened().footage.list_cameras(self._context(), names)
        cameras = AsyncStream[CameraInfo](f"cameras of {self.node.name}", answer, lambda camera: camera)
        found = tuple(await cameras.all())
        return CameraList(self.node.name, found, cameras.warnings, bool(cameras.complete))

    def events(self, *names: str) -> AsyncStream[Event]:
        """What happens to cameras (or only to these), as it happens."""
        answer = self._opened().footage.watch_events(self._context(), names)
        return AsyncStream(f"events of {self.node.name}", answer, lambda event: event)

    async def add_camera(
        self,
        name: str,
        main_url: str,
        *,
        sub_url: str = "",
        title: str = "",
        place: Place | tuple[float, float] | None = None,
        enabled: bool = True,
        dry_run: bool = False,
    ) -> CameraInfo:
        """Adds a camera; recording starts at once. With ``dry_run`` it is only checked.

        Raises :exc:`nvr.errors.CameraExists` when the name is taken.
        """
        settings = CameraSettings(
            name=checked_name(name),
            main_url=checked_url(main_url, "main_url"),
            sub_url=sub_url and checked_url(sub_url, "sub_url"),
            title=checked_title(title),
            place=checked_place(place),
            enabled=enabled,
        )
        return await self._opened().admin.add_camera(self._context(), settings, dry_run=dry_run)

    async def refresh(self) -> NodeInfo:
        """Asks the node anew who it is, and what its clock says."""
        self._info = await self._opened().footage.node()
        return self._info

    def _opened(self) -> Node:
        if self._node is None or (self._parent is not None and self._parent._node is None):
            raise Closed(f"the connection to {self.address} is not open; use it in a with block")
        return self._node

    def _context(self) -> ReadContext:
        return replace(self._options.context, request_id=uuid.uuid4().hex)


def checked_options(
    address: str,
    *,
    tls: bool | None,
    ca: FilePath | None,
    certificate: FilePath | None,
    key: FilePath | None,
    timeout: Duration,
    connect_timeout: Duration,
    purpose: str,
    case: str,
    partial: Partial,
) -> Options:
    """What a caller of connect() gave, checked before anything is done."""
    if not address or any(character.isspace() for character in address):
        raise InvalidArgument(f"{address!r} is not an address such as localhost:7600", field="address")
    if (certificate is None) != (key is None):
        raise InvalidArgument(
            "a certificate and its key are given together", field="key" if certificate else "certificate"
        )
    if partial not in ("allow", "refuse"):
        raise InvalidArgument(f"partial is 'allow' or 'refuse', not {partial!r}", field="partial")
    any_file = ca is not None or certificate is not None
    if tls is False and any_file:
        raise InvalidArgument("certificates are given, but tls=False", field="tls")
    timeout_us = parse_duration(timeout, field="timeout")
    connect_timeout_us = parse_duration(connect_timeout, field="connect_timeout")
    if not timeout_us or not connect_timeout_us:
        raise InvalidArgument("a timeout must be longer than nothing", field="timeout")
    return Options(
        address=address,
        ca=None if ca is None else Path(ca),
        certificate=None if certificate is None else Path(certificate),
        key=None if key is None else Path(key),
        tls=any_file if tls is None else tls,
        timeout_us=timeout_us,
        connect_timeout_us=connect_timeout_us,
        context=ReadContext(purpose=purpose, case_number=case, partial=partial),
    )


def connect_async(
    address: str = DEFAULT_ADDRESS,
    *,
    tls: bool | None = None,
    ca: FilePath | None = None,
    certificate: FilePath | None = None,
    key: FilePath | None = None,
    timeout: Duration = "30s",
    connect_timeout: Duration = "5s",
    purpose: str = "",
    case: str = "",
    partial: Partial = "allow",
) -> AsyncNetwork:
    """A connection to a node, for ``async with``: the twin of :func:`nvr.connect`, same arguments."""
    return AsyncNetwork(
        checked_options(
            address,
            tls=tls,
            ca=ca,
            certificate=certificate,
            key=key,
            timeout=timeout,
            connect_timeout=connect_timeout,
            purpose=purpose,
            case=case,
            partial=partial,
        )
    )
