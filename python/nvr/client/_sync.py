"""The sync twins: the same names and arguments, without ``await``.

Each holds its async twin and drives it on the private loop of
:mod:`nvr.client._portal`; there is no logic of its own here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from nvr.client._camera import AsyncCamera, CameraState, LocateMode
from nvr.client._clip import AsyncClip, ClipPlan, ClipState
from nvr.client._collect import CollectReport
from nvr.client._live import Live
from nvr.client._network import (
    DEFAULT_ADDRESS,
    AsyncNetwork,
    FilePath,
    FindOrderName,
    NetworkState,
    Partial,
    connect_async,
)
from nvr.client._places import Length, PlaceLike, Speed
from nvr.client._portal import Portal, acquire, release
from nvr.client._progress import ProgressOption
from nvr.client._sheet import Sheet
from nvr.client._stream import Stream
from nvr.client._values import CameraList, ClipReport, Coverage, Frame, Snapshot, StoredFragment
from nvr.errors import Closed
from nvr.footage.admin import CameraSettings
from nvr.footage.checks import OwnerLike, ViewLike
from nvr.footage.places import Found, NextCamera
from nvr.footage.time import Duration, Instant
from nvr.footage.types import Camera as CameraInfo
from nvr.footage.types import ClipData, Event, FragmentRef, NodeInfo, Notice, Place, StreamName


class Clip(ClipState):
    """A playable MP4 of exactly a range: the sync twin of :class:`AsyncClip`."""

    def __init__(self, portal: Portal, inner: AsyncClip) -> None:
        super().__init__(inner._request)
        self._portal = portal
        self._inner = inner

    def plan(self) -> ClipPlan:
        """What it consists of, its size, and what of its range is not recorded."""
        return self._portal.run(self._inner.plan())

    def chunks(self, part: int = 0, offset: int = 0, etag: str = "") -> Stream[ClipData]:
        """Its bytes in order: see :meth:`AsyncClip.chunks`."""
        return Stream(self._portal, self._inner.chunks(part, offset, etag))

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        progress: ProgressOption = False,
        overwrite: bool = False,
        retries: int = 8,
    ) -> ClipReport:
        """Saves it as MP4, and says what was saved: see :meth:`AsyncClip.save`."""
        return self._portal.run(
            self._inner.save(path, progress=progress, overwrite=overwrite, retries=retries)
        )


class Camera(CameraState):
    """A camera of a node: the sync twin of :class:`AsyncCamera`, which says what instants and ranges are."""

    def __init__(self, portal: Portal, inner: AsyncCamera) -> None:
        super().__init__(inner._name, inner._where, inner._source)
        self._portal = portal
        self._inner = inner

    def info(self) -> CameraInfo:
        """What it is, and what its streams do now."""
        return self._portal.run(self._inner.info())

    def coverage(
        self,
        start: Instant,
        end: Instant | None = None,
        *,
        duration: Duration | None = None,
        stream: StreamName = "main",
    ) -> Coverage:
        """What is recorded of a range and what is not, and why."""
        return self._portal.run(self._inner.coverage(start, end, duration=duration, stream=stream))

    def locate(self, at: Instant, *, mode: LocateMode = "at", stream: StreamName = "main") -> FragmentRef:
        """The fragment that shows an instant: see :meth:`AsyncCamera.locate`."""
        return self._portal.run(self._inner.locate(at, mode=mode, stream=stream))

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
    ) -> Stream[StoredFragment]:
        """Stored fragments that show any instant of a range: see :meth:`AsyncCamera.fragments`."""
        inner = self._inner.fragments(
            start,
            end,
            duration=duration,
            stream=stream,
            backward=backward,
            keyframes_only=keyframes_only,
            refs_only=refs_only,
            limit=limit,
            cursor=cursor,
        )
        return Stream(self._portal, inner)

    def clip(
        self,
        start: Instant,
        end: Instant | None = None,
        *,
        duration: Duration | None = None,
        stream: StreamName = "main",
        audio: bool = True,
    ) -> Clip:
        """A playable MP4 of exactly a range; nothing is fetched yet."""
        return Clip(
            self._portal,
            self._inner.clip(start, end, duration=duration, stream=stream, audio=audio),
        )

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
    ) -> Stream[Frame]:
        """Decoded pictures of a range, ``time, image = frame``: see :meth:`AsyncCamera.frames`."""
        inner = self._inner.frames(
            start,
            end,
            duration=duration,
            every=every,
            stream=stream,
            max_width=max_width,
            max_height=max_height,
            quality=quality,
        )
        return Stream(self._portal, inner)

    def snapshot(
        self,
        at: Instant | None = None,
        *,
        stream: StreamName = "main",
        max_width: int = 0,
        max_height: int = 0,
        quality: int = 85,
    ) -> Snapshot:
        """The picture shown at an instant as JPEG, or the newest: see :meth:`AsyncCamera.snapshot`."""
        return self._portal.run(
            self._inner.snapshot(
                at, stream=stream, max_width=max_width, max_height=max_height, quality=quality
            )
        )

    def sheet(
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
        """A contact sheet of a range: see :meth:`AsyncCamera.sheet`."""
        return self._portal.run(
            self._inner.sheet(
                start,
                end,
                duration=duration,
                count=count,
                columns=columns,
                width=width,
                stream=stream,
                tz=tz,
            )
        )

    def live(self, *, stream: StreamName = "main", audio: bool = True) -> Live:
        """Access units as they arrive, from the newest random-access point on."""
        return Live(self._portal, self._inner.live(stream=stream, audio=audio))

    def settings(self) -> CameraSettings:
        """How the node records it; passwords are replaced by ``***``."""
        return self._portal.run(self._inner.settings())

    def update(
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
        """Changes settings; what is left out stays: see :meth:`AsyncCamera.update`."""
        return self._portal.run(
            self._inner.update(
                name=name,
                main_url=main_url,
                sub_url=sub_url,
                title=title,
                place=place,
                clear_place=clear_place,
                enabled=enabled,
                height_m=height_m,
                view=view,
                clear_view=clear_view,
                area=area,
                owner=owner,
                dry_run=dry_run,
            )
        )

    def remove(self, *, dry_run: bool = False) -> str:
        """Stops recording it and forgets its settings; its id, by which its footage is still read."""
        return self._portal.run(self._inner.remove(dry_run=dry_run))


class Network(NetworkState):
    """A connection to a node, and through it to all cameras below: see :func:`nvr.connect`."""

    def __init__(self, inner: AsyncNetwork, portal: Portal | None = None) -> None:
        self._inner = inner
        self._options = inner._options
        self._info = inner._info
        self._portal = portal
        self._owns_portal = False

    def open(self) -> Self:
        """Connects; raises :exc:`nvr.errors.NodeUnavailable` when the node does not answer in time."""
        if self._portal is None:
            portal = acquire()
            try:
                portal.run(self._inner.open())
            except BaseException:
                release(portal)
                raise
            self._portal, self._owns_portal = portal, True
            self._info = self._inner._info
        return self

    def close(self) -> None:
        """Ends the connection; streams still open end with it."""
        portal, self._portal = self._portal, None
        if portal is not None:
            try:
                portal.run(self._inner.close())
            finally:
                if self._owns_portal:
                    release(portal)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def for_case(self, case: str, *, purpose: str | None = None) -> Network:
        """A view of the same connection, whose reads are accounted to a case; it ends with this one."""
        return Network(self._inner.for_case(case, purpose=purpose), self._opened())

    def camera(self, name: str, *, source: str = "") -> Camera:
        """A camera by name, ``node/name`` or id: see :meth:`AsyncNetwork.camera`."""
        return Camera(self._opened(), self._inner.camera(name, source=source))

    def cameras(self, *names: str) -> CameraList:
        """The cameras with their state, ordered by name; only these where any are named."""
        return self._opened().run(self._inner.cameras(*names))

    def events(self, *names: str, warned: Callable[[Notice], None] | None = None) -> Stream[Event]:
        """What happens to cameras (or only to these), as it happens: see :meth:`AsyncNetwork.events`.

        ``warned`` is called on another thread.
        """
        return Stream(self._opened(), self._inner.events(*names, warned=warned))

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
    ) -> Stream[Found]:
        """Which cameras there are at a place, and what each has of a range: see :meth:`AsyncNetwork.find`."""
        inner = self._inner.find(
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
            order=order,
            limit=limit,
            cursor=cursor,
            by_source=by_source,
        )
        return Stream(self._opened(), inner)

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
    ) -> Stream[NextCamera]:
        """Where somebody seen by a camera can be seen next: see :meth:`AsyncNetwork.next_cameras`."""
        inner = self._inner.next_cameras(
            camera, at, min_speed=min_speed, max_speed=max_speed, within=within, detour=detour, limit=limit
        )
        return Stream(self._opened(), inner)

    def collect(
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
        """Saves a range of every camera at a place: see :meth:`AsyncNetwork.collect`."""
        return self._opened().run(
            self._inner.collect(
                folder,
                start=start,
                end=end,
                duration=duration,
                cameras=cameras,
                area=area,
                near=near,
                radius=radius,
                polygon=polygon,
                along=along,
                width=width,
                looks_at=looks_at,
                stream=stream,
                audio=audio,
                parallel=parallel,
                progress=progress,
                overwrite=overwrite,
                retries=retries,
                dry_run=dry_run,
            )
        )

    def add_camera(
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
        """Adds a camera; recording starts at once: see :meth:`AsyncNetwork.add_camera`."""
        return self._opened().run(
            self._inner.add_camera(
                name,
                main_url,
                sub_url=sub_url,
                title=title,
                place=place,
                enabled=enabled,
                height_m=height_m,
                view=view,
                area=area,
                owner=owner,
                dry_run=dry_run,
            )
        )

    def refresh(self) -> NodeInfo:
        """Asks the node anew who it is, and what its clock says."""
        self._info = self._opened().run(self._inner.refresh())
        return self._info

    def _opened(self) -> Portal:
        # The async twin says what is wrong, in the same words.
        self._inner._opened()
        if self._portal is None:
            raise Closed(f"the connection to {self.address} was closed")
        return self._portal


def connect(
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
) -> Network:
    """Connects to a node; use it in a ``with`` block, or call ``close()``.

    ``ca``, ``certificate`` and ``key`` are PEM files: whom to trust (the system's
    authorities without it), and who we are; giving any of them means TLS, and
    ``tls=True`` means it without them. ``timeout`` bounds each call that has one
    answer, ``connect_timeout`` the first one.

    ``purpose`` and ``case`` go into the node's audit record of every read.
    ``partial="refuse"`` raises :exc:`nvr.errors.Incomplete` rather than answer
    with a part.

    Raises :exc:`nvr.errors.NodeUnavailable` when the node does not answer.
    """
    network = Network(
        connect_async(
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
    return network.open()
