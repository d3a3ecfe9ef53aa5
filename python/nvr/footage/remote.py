"""Another node as a source of footage, and its cameras' administration, by gRPC."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeVar

import grpc

from nvr.errors import InternalError, InvalidArgument, NodeUnavailable
from nvr.footage import convert, convert_admin, convert_places, onward, wire
from nvr.footage.admin import CameraChanges, CameraSettings
from nvr.footage.ahead import read_ahead
from nvr.footage.places import FindRequest, Found, NextCamera, NextCamerasRequest
from nvr.footage.problems import error_from_call
from nvr.footage.source import Answer
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    ClipRequest,
    Event,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    LiveUnit,
    NodeInfo,
    Picture,
    PictureOptions,
    ReadContext,
    Span,
    StreamName,
    TimeRange,
)
from nvr.v1 import camera_pb2, camera_pb2_grpc, footage_pb2, footage_pb2_grpc, node_pb2, node_pb2_grpc

__all__ = ["ItemConverter", "Remote", "RemoteCameraAdmin", "RemoteFootage"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_DEFAULT_TIMEOUT_S = 30.0
_MODES = {
    "at": footage_pb2.LOCATE_MODE_AT,
    "next": footage_pb2.LOCATE_MODE_NEXT,
    "previous": footage_pb2.LOCATE_MODE_PREVIOUS,
}


class _Assembler(Protocol[T_co]):
    """Items of a stream to values."""

    def add(self, item: Any, /) -> T_co | None:
        """The value that the item completes, if it completes one."""

    def finish(self) -> None:
        """Raises when a value is incomplete."""


class ItemConverter(_Assembler[T]):
    """Each item is a value."""

    def __init__(self, convert_item: Callable[[Any], T | None]) -> None:
        self._convert = convert_item

    def add(self, item: Any, /) -> T | None:
        """The value; None for an item that says nothing to this version."""
        return self._convert(item)

    def finish(self) -> None:
        """Nothing is held back."""


class Remote:
    """What the services of another node share: the channel, the deadline of short calls, errors."""

    def __init__(
        self, channel: grpc.aio.Channel, *, target: str, timeout_s: float = _DEFAULT_TIMEOUT_S
    ) -> None:
        self._channel = channel
        self._target = target
        self._timeout_s = timeout_s

    async def _unary(self, method: Callable[..., Awaitable[T]], request: object) -> T:
        with self._errors():
            timeout_s = onward.timeout_s(self._timeout_s)
            return await method(request, timeout=timeout_s, metadata=onward.metadata())

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Failures of a call as ``nvr.errors``."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise error_from_call(error, target=self._target) from error
        except grpc.aio.UsageError as error:
            # A closed channel.
            raise NodeUnavailable(f"{self._target}: the connection is closed") from error

    @contextlib.contextmanager
    def _answers(self) -> Iterator[None]:
        """What cannot be converted is the node's fault, not the caller's."""
        try:
            yield
        except InvalidArgument as error:
            raise InternalError(f"{self._target}: the node's answer cannot be understood: {error}") from error

    async def _stream(
        self, method: Callable[..., Any], request: Any, assembler: _Assembler[T], *, joined: bool = False
    ) -> AsyncIterator[Any]:
        """Items, notices and the End of a call; leaving early cancels it on the node.

        ``joined``: a message may have several items, before its step.
        """
        with self._errors():
            call = method(request, timeout=onward.timeout_s(), metadata=onward.metadata())
            try:
                async for response in call:
                    if isinstance(response, ClipData):
                        # Left in its message: see wire.clip_step.
                        yield response
                        continue
                    if joined:
                        for item in response.items:
                            with self._answers():
                                value = assembler.add(item)
                            if value is not None:
                                yield value
                    match response.WhichOneof("step"):
                        case "item":
                            with self._answers():
                                value = assembler.add(response.item)
                            if value is not None:
                                yield value
                        case "warning":
                            yield convert.notice_from_pb(response.warning)
                        case "end":
                            assembler.finish()
                            yield convert.end_from_pb(response.end)
                            return
                raise NodeUnavailable(
                    f"{self._target}: the answer was cut before its end: ask again from where it stopped"
                )
            finally:
                call.cancel()


class RemoteFootage(Remote):
    """A :class:`FootageSource` over a channel. Closing the channel is its owner's.

    ``target``: what errors call the node; ``timeout_s``: for answers that are
    one message. Streams have no deadline of their own: cancel them, or rely on
    keepalive. Within a call that is being served, what is asked here ends a
    little before that call does, and carries its trace (:mod:`nvr.footage.onward`).
    """

    def __init__(
        self, channel: grpc.aio.Channel, *, target: str = "node", timeout_s: float = _DEFAULT_TIMEOUT_S
    ) -> None:
        super().__init__(channel, target=target, timeout_s=timeout_s)
        self._stub = footage_pb2_grpc.FootageServiceStub(channel)
        self._node = node_pb2_grpc.NodeServiceStub(channel)
        self._read_clip = channel.unary_stream(
            "/nvr.v1.FootageService/ReadClip",
            request_serializer=footage_pb2.ReadClipRequest.SerializeToString,
            response_deserializer=wire.clip_step,
        )

    async def node(self) -> NodeInfo:
        """Who answers there."""
        return convert.node_from_pb(await self._unary(self._node.GetNode, node_pb2.GetNodeRequest()))

    def list_cameras(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Camera]:
        """See :meth:`FootageSource.list_cameras`."""
        request = footage_pb2.ListCamerasRequest(context=convert.context_to_pb(context), cameras=cameras)
        return self._stream(self._stub.ListCameras, request, ItemConverter(convert.camera_from_pb))

    def coverage(
        self, context: ReadContext, camera: str, stream: StreamName, range: TimeRange, source: str = ""
    ) -> Answer[Span | Gap]:
        """See :meth:`FootageSource.coverage`."""
        request = footage_pb2.CoverageRequest(
            context=convert.context_to_pb(context),
            camera=camera,
            stream=convert.stream_to_pb(stream),
            range=convert.range_to_pb(range),
            source=source,
        )
        return self._stream(self._stub.Coverage, request, ItemConverter(convert.coverage_from_pb))

    async def locate(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        mode: Literal["at", "next", "previous"] = "at",
        source: str = "",
    ) -> FragmentRef:
        """See :meth:`FootageSource.locate`."""
        request = footage_pb2.LocateRequest(
            context=convert.context_to_pb(context),
            camera=camera,
            stream=convert.stream_to_pb(stream),
            at_us=at_us,
            mode=_MODES[mode],
            source=source,
        )
        response = await self._unary(self._stub.Locate, request)
        with self._answers():
            notices = tuple(map(convert.notice_from_pb, response.warnings))
            return replace(convert.fragment_ref_from_pb(response.fragment), notices=notices)

    def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> Answer[Fragment]:
        """See :meth:`FootageSource.read_fragments`."""
        message = convert.fragments_request_to_pb(request, context)
        return self._stream(self._stub.ReadFragments, message, wire.FragmentAssembler())

    def read_clip(self, context: ReadContext, request: ClipRequest) -> Answer[ClipHead | ClipData]:
        """See :meth:`FootageSource.read_clip`."""
        message = convert.clip_request_to_pb(request, context)
        return read_ahead(self._stream(self._read_clip, message, ItemConverter(_clip_item)))

    def read_frames(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        range: TimeRange,
        interval_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Answer[Picture]:
        """See :meth:`FootageSource.read_frames`."""
        request = footage_pb2.ReadFramesRequest(
            context=convert.context_to_pb(context),
            camera=camera,
            stream=convert.stream_to_pb(stream),
            range=convert.range_to_pb(range),
            interval_us=interval_us,
            format=convert.format_to_pb(options.format),
            max_width=options.max_width,
            max_height=options.max_height,
            jpeg_quality=options.jpeg_quality,
            source=source,
        )
        return self._stream(self._stub.ReadFrames, request, wire.PictureAssembler())

    async def snapshot(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Picture:
        """See :meth:`FootageSource.snapshot`; always JPEG."""
        request = footage_pb2.SnapshotRequest(
            context=convert.context_to_pb(context),
            camera=camera,
            stream=convert.stream_to_pb(stream),
            at_us=at_us,
            max_width=options.max_width,
            max_height=options.max_height,
            jpeg_quality=options.jpeg_quality,
            source=source,
        )
        response = await self._unary(self._stub.Snapshot, request)
        with self._answers():
            picture = wire.PictureAssembler().add(response.frame)
            notices = tuple(map(convert.notice_from_pb, response.warnings))
        if picture is None:
            raise InternalError(f"{self._target}: the node sent a picture in pieces where it comes whole")
        return replace(picture, notices=notices)

    def watch_live(
        self, context: ReadContext, camera: str, stream: StreamName, audio: bool = True, source: str = ""
    ) -> Answer[LiveUnit]:
        """See :meth:`FootageSource.watch_live`."""
        request = footage_pb2.WatchLiveRequest(
            context=convert.context_to_pb(context),
            camera=camera,
            stream=convert.stream_to_pb(stream),
            without_audio=not audio,
            source=source,
        )
        return self._stream(self._stub.WatchLive, request, wire.LiveAssembler())

    def find(self, context: ReadContext, request: FindRequest) -> Answer[Found]:
        """See :meth:`FootageSource.find`."""
        message = convert_places.find_to_pb(request, context)
        found = ItemConverter(convert_places.found_from_pb)
        return self._stream(self._stub.Find, message, found, joined=True)

    def next_cameras(self, context: ReadContext, request: NextCamerasRequest) -> Answer[NextCamera]:
        """See :meth:`FootageSource.next_cameras`."""
        message = convert_places.next_to_pb(request, context)
        return self._stream(
            self._stub.NextCameras, message, ItemConverter(convert_places.next_camera_from_pb)
        )

    def watch_events(self, context: ReadContext, cameras: Sequence[str] = ()) -> Answer[Event]:
        """See :meth:`FootageSource.watch_events`."""
        request = footage_pb2.WatchEventsRequest(context=convert.context_to_pb(context), cameras=cameras)
        return self._stream(self._stub.WatchEvents, request, ItemConverter(convert.event_from_pb))


def _clip_item(item: footage_pb2.ClipItem) -> ClipHead | ClipData | None:
    match item.WhichOneof("kind"):
        case "data":
            return convert.clip_data_from_pb(item.data)
        case "head":
            return convert.clip_head_from_pb(item.head)
        case _:
            return None


class RemoteCameraAdmin(Remote):
    """The :class:`CameraAdmin` of another node."""

    def __init__(
        self, channel: grpc.aio.Channel, *, target: str = "node", timeout_s: float = _DEFAULT_TIMEOUT_S
    ) -> None:
        super().__init__(channel, target=target, timeout_s=timeout_s)
        self._stub = camera_pb2_grpc.CameraServiceStub(channel)

    async def add_camera(
        self, context: ReadContext, settings: CameraSettings, *, dry_run: bool = False
    ) -> Camera:
        """See :meth:`CameraAdmin.add_camera`."""
        request = camera_pb2.AddCameraRequest(
            context=convert.context_to_pb(context),
            settings=convert_admin.settings_to_pb(settings),
            dry_run=dry_run,
        )
        response = await self._unary(self._stub.AddCamera, request)
        return convert.camera_from_pb(response.camera)

    async def update_camera(
        self, context: ReadContext, camera: str, changes: CameraChanges, *, dry_run: bool = False
    ) -> Camera:
        """See :meth:`CameraAdmin.update_camera`."""
        request = convert_admin.changes_to_pb(changes, camera, context, dry_run=dry_run)
        response = await self._unary(self._stub.UpdateCamera, request)
        return convert.camera_from_pb(response.camera)

    async def remove_camera(self, context: ReadContext, camera: str, *, dry_run: bool = False) -> str:
        """See :meth:`CameraAdmin.remove_camera`."""
        request = camera_pb2.RemoveCameraRequest(
            context=convert.context_to_pb(context), camera=camera, dry_run=dry_run
        )
        response = await self._unary(self._stub.RemoveCamera, request)
        return response.camera_id

    async def get_camera(self, context: ReadContext, camera: str) -> tuple[Camera, CameraSettings]:
        """See :meth:`CameraAdmin.get_camera`; passwords are masked."""
        request = camera_pb2.GetCameraRequest(context=convert.context_to_pb(context), camera=camera)
        response = await self._unary(self._stub.GetCamera, request)
        return convert.camera_from_pb(response.camera), convert_admin.settings_from_pb(response.settings)
