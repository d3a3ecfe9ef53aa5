"""One camera of a node: reading its footage, changing its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from nvr.client._clip import AsyncClip
from nvr.client._live import AsyncLive
from nvr.client._ranges import resolve_range
from nvr.client._remote import Node
from nvr.client._sheet import Sheet, make_sheet
from nvr.client._show import Shown, View
from nvr.client._stream import AsyncStream
from nvr.client._values import Coverage, Frame, Snapshot, StoredFragment
from nvr.errors import CameraNotFound, InvalidArgument
from nvr.footage.admin import CameraChanges, CameraSettings
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
from nvr.footage.time import Duration, Instant, parse_duration, parse_instant, to_datetime
from nvr.footage.types import Camera as CameraInfo
from nvr.footage.types import (
    ClipRequest,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    Picture,
    PictureFormat,
    PictureOptions,
    Place,
    ReadContext,
    Span,
    StreamName,
)

LocateMode = Literal["at", "next", "previous"]


class CameraState(Shown):
    """Which camera it is; the same for both twins."""

    def __init__(self, name: str, where: str, source: str) -> None:
        self._name = name
        self._where = where
        self._source = source

    @property
    def name(self) -> str:
        """As it was asked for: a name, ``node/name``, or an id."""
        return self._name

    @property
    def source(self) -> str:
        """Name of the node whose footage alone is read; empty: one timeline of all that have some."""
        return self._source

    def view(self) -> View:
        """What there is to see."""
        return View(f"camera {self._name} of {self._source or self._where}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of {self._source or self._where}>"


class AsyncCamera(CameraState):
    """A camera of a node.

    Instants are aware datetimes or ISO 8601 strings with ``Z`` or an offset, and
    durations are timedeltas or strings such as ``"1s"`` and ``"1h30m"``; ranges
    are half open and have an end or a duration. ``stream`` is ``"main"`` or
    ``"sub"``. An unknown name raises :exc:`nvr.errors.CameraNotFound` at the first
    use, an ambiguous one :exc:`nvr.errors.AmbiguousCamera`.
    """

    def __init__(
        self, node: Node, context: Callable[[], ReadContext], name: str, where: str, source: str = ""
    ) -> None:
        super().__init__(name, where, source)
        self._node = node
        self._context = context

    async def info(self) -> CameraInfo:
        """What it is, and what its streams do now."""
        answer = self._node.footage.list_cameras(self._context(), [self._name])
        async with AsyncStream[CameraInfo](f"camera {self._name}", answer, lambda camera: camera) as cameras:
            async for camera in cameras:
                return camera
        raise CameraNotFound(f"{self._where} has no camera {self._name!r}; list them with cameras()")

    async def coverage(
        self,
        start: Instant,
        end: Instant | None = None,
        *,
        duration: Duration | None = None,
        stream: StreamName = "main",
    ) -> Coverage:
        """What is recorded of a range and what is not, and why."""
        range_ = resolve_range(start, end, duration)
        answer = self._node.footage.coverage(self._context(), self._name, stream, range_, self._source)
        items = AsyncStream[Span | Gap](f"coverage of {self._name}", answer, lambda item: item)
        found = tuple(await items.all())
        return Coverage(self._name, stream, range_, found, items.warnings, bool(items.complete))

    async def locate(
        self, at: Instant, *, mode: LocateMode = "at", stream: StreamName = "main"
    ) -> FragmentRef:
        """The fragment that shows an instant, or the next or previous one inside a gap.

        Raises :exc:`nvr.errors.NoFootage` when there is none.
        """
        at_us = parse_instant(at, field="at")
        return await self._node.footage.locate(self._context(), self._name, stream, at_us, mode, self._source)

    def fragments(
        self,
        start: Instant,
        end: Instant | None = None,
        *,
        duration: Duration | None = None,
        stream: StreamName = "main",
        backward: bool = False,
        keyframes_only: bool = False,
        refs_only: bool = False,
        limit: int = 0,
        cursor: str = "",
    ) -> AsyncStream[StoredFragment]:
        """Stored fragments that show any instant of a range, whole and as they are on disk.

        With ``limit``, the stream's ``cursor`` says where the next call goes on.
        """
        if limit < 0:
            raise InvalidArgument("limit cannot be negative; 0 is no limit", field="limit")
        request = FragmentsRequest(
            camera=self._name,
            range=resolve_range(start, end, duration),
            stream=stream,
            backward=backward,
            keyframes_only=keyframes_only,
            refs_only=refs_only,
            limit=limit,
            cursor=cursor,
            source=self._source,
        )
        answer = self._node.footage.read_fragments(self._context(), request)
        return AsyncStream(f"fragments of {self._name}", answer, _stored_fragment)

    def clip(
        self,
        start: Instant,
        end: Instant | None = None,
        *,
        duration: Duration | None = None,
        stream: StreamName = "main",
        audio: bool = True,
    ) -> AsyncClip:
        """A playable MP4 of exactly a range; nothing is fetched yet."""
        request = ClipRequest(
            camera=self._name,
            range=resolve_range(start, end, duration),
            stream=stream,
            audio=audio,
            source=self._source,
        )
        return AsyncClip(self._node.footage, self._context, request)

    def frames(
        self,
        start: Instant,
        end: Instant | None = None,
        *,
        duration: Duration | None = None,
        every: Duration | None = None,
        stream: StreamName = "main",
        max_width: int = 0,
        max_height: int = 0,
        quality: int | None = None,
    ) -> AsyncStream[Frame]:
        """Decoded pictures shown at ``start``, ``start + every``, …; all stored ones without ``every``.

        ``time, image = frame``: wall time at which the picture was first shown, and
        a (height, width, 3) array of 8-bit RGB. Instants inside a gap give none.
        Pictures come exact; with a ``quality`` of 1 to 100 they travel as JPEG,
        about a tenth of the bytes.
        """
        interval_us = 0 if every is None else parse_duration(every, field="every")
        if every is not None and interval_us == 0:
            raise InvalidArgument(
                "every must be longer than nothing; leave it out for all pictures", field="every"
            )
        options = _options(max_width, max_height, quality)
        range_ = resolve_range(start, end, duration)
        answer = self._node.footage.read_frames(
            self._context(), self._name, stream, range_, interval_us, options, self._source
        )
        return AsyncStream(f"frames of {self._name}", answer, _frame)

    async def snapshot(
        self,
        at: Instant | None = None,
        *,
        stream: StreamName = "main",
        max_width: int = 0,
        max_height: int = 0,
        quality: int = 85,
    ) -> Snapshot:
        """The picture shown at an instant as JPEG; without one, the newest on disk.

        Raises :exc:`nvr.errors.NoFootage` inside a gap.
        """
        at_us = 0 if at is None else parse_instant(at, field="at")
        options = _options(max_width, max_height, quality)
        picture = await self._node.footage.snapshot(
            self._context(), self._name, stream, at_us, options, self._source
        )
        return Snapshot(
            self._name,
            to_datetime(picture.frame_us),
            picture.width,
            picture.height,
            picture.data,
            picture.notices,
        )

    async def sheet(
        self,
        start: Instant,
        end: Instant | None = None,
        *,
        duration: Duration | None = None,
        count: int = 16,
        columns: int = 4,
        width: int = 320,
        stream: StreamName = "main",
        tz: str | None = None,
    ) -> Sheet:
        """A contact sheet: ``count`` pictures of a range, UTC and local time under each.

        ``width`` is that of each picture in pixels. ``tz`` is the IANA name of the
        local time zone (``Asia/Ho_Chi_Minh``); this machine's without one.
        """
        range_ = resolve_range(start, end, duration)
        return await make_sheet(
            self._node.footage,
            self._context(),
            self._name,
            stream,
            range_,
            count=count,
            columns=columns,
            width=width,
            tz=tz,
            source=self._source,
        )

    def live(self, *, stream: StreamName = "main", audio: bool = True) -> AsyncLive:
        """Access units as they arrive, from the newest random-access point on."""
        answer = self._node.footage.watch_live(self._context(), self._name, stream, audio, self._source)
        return AsyncLive(f"live units of {self._name}", answer)

    async def settings(self) -> CameraSettings:
        """How the node records it; passwords are replaced by ``***``."""
        _, settings = await self._node.admin.get_camera(self._context(), self._name)
        return settings

    async def update(
        self,
        *,
        name: str | None = None,
        main_url: str | None = None,
        sub_url: str | None = None,
        title: str | None = None,
        place: Place | tuple[float, float] | None = None,
        clear_place: bool = False,
        enabled: bool | None = None,
        height_m: float | None = None,
        view: ViewLike | None = None,
        clear_view: bool = False,
        area: str | None = None,
        owner: OwnerLike | None = None,
        dry_run: bool = False,
    ) -> CameraInfo:
        """Changes settings; what is left out stays. An empty ``sub_url`` or ``area`` removes it.

        After a new ``name``, ask the connection for the camera by it.
        """
        change = CameraChanges(
            name=None if name is None else checked_name(name),
            main_url=None if main_url is None else checked_url(main_url, "main_url"),
            sub_url=sub_url if not sub_url else checked_url(sub_url, "sub_url"),
            title=None if title is None else checked_title(title),
            place=checked_place(place),
            clear_place=clear_place,
            enabled=enabled,
            height_m=checked_height(height_m),
            view=checked_view(view),
            clear_view=clear_view,
            area=None if area is None else checked_area(area),
            owner=None if owner is None else checked_owner(owner),
        )
        if change == CameraChanges():
            raise InvalidArgument("there is nothing to change: name a setting")
        if change.place is not None and clear_place:
            raise InvalidArgument("a place is given and to be forgotten: choose one", field="place")
        if change.view is not None and clear_view:
            raise InvalidArgument("a view is given and to be forgotten: choose one", field="view")
        return await self._node.admin.update_camera(self._context(), self._name, change, dry_run=dry_run)

    async def remove(self, *, dry_run: bool = False) -> str:
        """Stops recording it and forgets its settings; its id, by which its footage is still read."""
        return await self._node.admin.remove_camera(self._context(), self._name, dry_run=dry_run)


def _options(max_width: int, max_height: int, quality: int | None) -> PictureOptions:
    if max_width < 0 or max_height < 0:
        raise InvalidArgument("a size cannot be negative; 0 is as recorded", field="max_width")
    if quality is None:
        return PictureOptions(PictureFormat.RGB24, max_width, max_height)
    if not 1 <= quality <= 100:
        raise InvalidArgument(f"quality {quality} is not between 1 and 100", field="quality")
    return PictureOptions(PictureFormat.JPEG, max_width, max_height, quality)


def _frame(picture: Picture) -> Frame:
    from nvr.client._image import picture_array

    return Frame(to_datetime(picture.frame_us), picture_array(picture), to_datetime(picture.asked_us))


def _stored_fragment(fragment: Fragment) -> StoredFragment:
    return StoredFragment(fragment.ref, fragment.config, fragment.data, fragment.node)
