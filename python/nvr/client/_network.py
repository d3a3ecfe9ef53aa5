"""A connection to a node."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from nvr.client._camera import AsyncCamera
from nvr.client._collect import Collector, CollectReport
from nvr.client._places import Length, PlaceLike, Speed, parse_speed, resolve_where
from nvr.client._progress import ProgressOption, following
from nvr.client._ranges import resolve_range
from nvr.client._remote import Node
from nvr.client._show import Shown, View
from nvr.client._stream import AsyncStream
from nvr.client._values import CameraList
from nvr.errors import Closed, InvalidArgument
from nvr.footage.admin import CameraSettings
from nvr.footage.checks import (
    OwnerLike,
    ViewLike,
    checked_area,
    checked_height,
    checked_name,
    checked_owner,
    checked_place,
    checked_title,
    checked_url,
    checked_view,
)
from nvr.footage.places import FindOrder, FindRequest, Found, NextCamera, NextCamerasRequest
from nvr.footage.time import Duration, Instant, parse_duration, parse_instant
from nvr.footage.types import Camera as CameraInfo
from nvr.footage.types import Event, NodeInfo, Notice, Place, ReadContext, StreamName

Partial = Literal["allow", "refuse"]
FindOrderName = Literal["nearest", "newest", "oldest"]
FilePath = str | os.PathLike[str]

_ORDERS = tuple(order.value for order in FindOrder)
_MOST_PARALLEL = 64
_MOST_COLLECTED = 1000

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

    def camera(self, name: str, *, source: str = "") -> AsyncCamera:
        """A camera by name, ``node/name`` or id. Nothing is asked of the node yet.

        Where several nodes have footage of it, it is one timeline; with the name of
        a node as ``source``, that node's alone.
        """
        if not name:
            raise InvalidArgument("a camera has a name; list them with cameras()", field="camera")
        return AsyncCamera(self._opened(), self._context, name, self.node.name, source)

    async def cameras(self, *names: str) -> CameraList:
        """The cameras with their state, ordered by name; only these where any are named."""
        answer = self._opened().footage.list_cameras(self._context(), names)
        cameras = AsyncStream[CameraInfo](f"cameras of {self.node.name}", answer, lambda camera: camera)
        found = tuple(await cameras.all())
        return CameraList(self.node.name, found, cameras.warnings, bool(cameras.complete))

    def events(self, *names: str, warned: Callable[[Notice], None] | None = None) -> AsyncStream[Event]:
        """What happens to cameras (or only to these), as it happens.

        ``warned``: is told at once of each warning, such as of a node that goes away;
        there may be no event to wait for then. It must not block.
        """
        answer = self._opened().footage.watch_events(self._context(), names)
        return AsyncStream(f"events of {self.node.name}", answer, lambda event: event, warned)

    def find(
        self,
        *,
        cameras: Sequence[str] = (),
        area: str | None = None,
        near: PlaceLike | None = None,
        radius: Length | None = None,
        polygon: Sequence[PlaceLike] | None = None,
        along: Sequence[PlaceLike] | None = None,
        width: Length | None = None,
        looks_at: PlaceLike | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        duration: Duration | None = None,
        stream: StreamName = "main",
        order: FindOrderName = "nearest",
        limit: int = 0,
        cursor: str = "",
        by_source: bool = False,
    ) -> AsyncStream[Found]:
        """Which cameras there are at a place, and what each has of a range.

        One place, or none for all cameras: names, an area by code or name, ``near``
        with a ``radius``, a ``polygon``, a line (``along``) with a ``width``, or the
        point that they look at. Lengths are metres or text (``"300m"``). Without
        ``start`` no recorder is asked for footage. With ``limit``, the stream's
        ``cursor`` says where the next call goes on. ``warnings`` name the nodes that
        did not answer.
        """
        where = resolve_where(
            cameras=cameras,
            area=area,
            near=near,
            radius=radius,
            polygon=polygon,
            along=along,
            width=width,
            looks_at=looks_at,
        )
        if start is None and (end is not None or duration is not None):
            raise InvalidArgument("an end or a duration needs a start", field="start")
        if limit < 0:
            raise InvalidArgument("limit cannot be negative; 0 is as many as there are", field="limit")
        if order not in _ORDERS:
            raise InvalidArgument(f"order is one of {', '.join(_ORDERS)}, not {order!r}", field="order")
        range_ = None if start is None else resolve_range(start, end, duration)
        request = FindRequest(where, range_, stream, FindOrder(order), limit, cursor, by_source)
        answer = self._opened().footage.find(self._context(), request)
        return AsyncStream(f"cameras found by {self.node.name}", answer, lambda found: found)

    def next_cameras(
        self,
        camera: str,
        at: Instant,
        *,
        min_speed: Speed,
        max_speed: Speed,
        within: Duration = "10m",
        detour: float = 1.5,
        limit: int = 100,
    ) -> AsyncStream[NextCamera]:
        """Where somebody seen by a camera can be seen next: cameras and their windows of time, nearest first.

        Speeds are metres a second or text (``"40km/h"``). ``detour``: how many times
        longer than the straight line the way may be.
        """
        slowest = parse_speed(min_speed, field="min_speed")
        fastest = parse_speed(max_speed, field="max_speed")
        if slowest > fastest:
            raise InvalidArgument("min_speed is more than max_speed", field="min_speed")
        within_us = parse_duration(within, field="within")
        request = NextCamerasRequest(
            camera, parse_instant(at, field="at"), slowest, fastest, within_us, detour, limit
        )
        answer = self._opened().footage.next_cameras(self._context(), request)
        return AsyncStream(f"cameras that can be reached from {camera}", answer, lambda found: found)

    async def collect(
        self,
        folder: FilePath,
        *,
        start: Instant,
        end: Instant | None = None,
        duration: Duration | None = None,
        cameras: Sequence[str] = (),
        area: str | None = None,
        near: PlaceLike | None = None,
        radius: Length | None = None,
        polygon: Sequence[PlaceLike] | None = None,
        along: Sequence[PlaceLike] | None = None,
        width: Length | None = None,
        looks_at: PlaceLike | None = None,
        stream: StreamName = "main",
        audio: bool = True,
        parallel: int = 4,
        progress: ProgressOption = False,
        overwrite: bool = False,
        retries: int = 8,
        dry_run: bool = False,
    ) -> CollectReport:
        """Saves a range of every camera at a place, several at once, and says what is missing and why.

        The place as in :meth:`find`. Files go into a folder, named after node and
        camera. One that fails does not keep the others from it. Repeated after a cut,
        it goes on where it stopped, and leaves alone what is whole. With ``dry_run``
        it says what there is and how large it would be.

        Raises :exc:`nvr.errors.StoreError` when the folder cannot be written.
        """
        if not 1 <= parallel <= _MOST_PARALLEL:
            raise InvalidArgument(f"parallel: 1 to {_MOST_PARALLEL} clips at once", field="parallel")
        found = self.find(
            cameras=cameras,
            area=area,
            near=near,
            radius=radius,
            polygon=polygon,
            along=along,
            width=width,
            looks_at=looks_at,
            start=start,
            end=end,
            duration=duration,
            stream=stream,
            limit=_MOST_COLLECTED,
        )
        with following(progress) as step:
            collector = Collector(
                self._opened().footage,
                self._context,
                Path(folder),
                resolve_range(start, end, duration),
                stream=stream,
                audio=audio,
                parallel=parallel,
                overwrite=overwrite,
                retries=retries,
                dry_run=dry_run,
                progress=step,
            )
            async with found:
                return await collector.collect(found)

    async def add_camera(
        self,
        name: str,
        main_url: str,
        *,
        sub_url: str = "",
        title: str = "",
        place: Place | tuple[float, float] | None = None,
        enabled: bool = True,
        height_m: float | None = None,
        view: ViewLike | None = None,
        area: str = "",
        owner: OwnerLike = "unknown",
        dry_run: bool = False,
    ) -> CameraInfo:
        """Adds a camera; recording starts at once. With ``dry_run`` it is only checked.

        ``view``: where it looks, as (direction, angle) in degrees or (direction, angle,
        reach) with metres; ``area``: a code; ``owner``: state, household or organisation.
        Raises :exc:`nvr.errors.CameraExists` when the name is taken.
        """
        settings = CameraSettings(
            name=checked_name(name),
            main_url=checked_url(main_url, "main_url"),
            sub_url=sub_url and checked_url(sub_url, "sub_url"),
            title=checked_title(title),
            place=checked_place(place),
            enabled=enabled,
            height_m=checked_height(height_m),
            view=checked_view(view),
            area=checked_area(area),
            owner=checked_owner(owner),
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
