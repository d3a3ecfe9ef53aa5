"""The node's services over any :class:`FootageSource`.

Each method here is only conversion: protobuf to values, a call of the source,
values to protobuf. What is the same for all is in ``nvr.footage.calls``.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from nvr.errors import InvalidArgument
from nvr.footage import convert, convert_admin, convert_places, wire
from nvr.footage.admin import CameraAdmin
from nvr.footage.calls import CallRunner, Method, Steps
from nvr.footage.places import Found, NextCamera
from nvr.footage.source import FootageSource
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    End,
    Event,
    Fragment,
    Gap,
    LiveUnit,
    Notice,
    Picture,
    PictureFormat,
    PictureOptions,
    ReadContext,
    Span,
)
from nvr.v1 import camera_pb2, footage_pb2, node_pb2

__all__ = [
    "CAMERA_SERVICE",
    "FOOTAGE_SERVICE",
    "NODE_SERVICE",
    "answer_steps",
    "camera_handlers",
    "footage_handlers",
    "node_handlers",
    "service_handlers",
]

T = TypeVar("T")

FOOTAGE_SERVICE: ServiceDescriptor = footage_pb2.DESCRIPTOR.services_by_name["FootageService"]
NODE_SERVICE: ServiceDescriptor = node_pb2.DESCRIPTOR.services_by_name["NodeService"]
CAMERA_SERVICE: ServiceDescriptor = camera_pb2.DESCRIPTOR.services_by_name["CameraService"]

_EVIDENCE = frozenset({"ReadClip", "ReadFragments"})
_DISCLOSES = _EVIDENCE | {"ReadFrames", "Snapshot", "WatchLive"}
_ENDLESS = frozenset({"WatchLive", "WatchEvents", "WatchDirectory", "Heartbeat"})

_DEFAULT_JPEG_QUALITY = 85
_MODES: dict[int, Literal["at", "next", "previous"]] = {
    footage_pb2.LOCATE_MODE_UNSPECIFIED: "at",
    footage_pb2.LOCATE_MODE_AT: "at",
    footage_pb2.LOCATE_MODE_NEXT: "next",
    footage_pb2.LOCATE_MODE_PREVIOUS: "previous",
}


def footage_handlers(source: FootageSource, runner: CallRunner) -> grpc.GenericRpcHandler:
    """``nvr.v1.FootageService`` over a source."""
    service = _FootageService(source)
    return service_handlers(
        FOOTAGE_SERVICE,
        runner,
        {
            "ListCameras": service.list_cameras,
            "Coverage": service.coverage,
            "Locate": service.locate,
            "ReadFragments": service.read_fragments,
            "ReadClip": service.read_clip,
            "ReadFrames": service.read_frames,
            "Snapshot": service.snapshot,
            "WatchLive": service.watch_live,
            "Find": service.find,
            "NextCameras": service.next_cameras,
            "WatchEvents": service.watch_events,
        },
    )


def node_handlers(source: FootageSource, runner: CallRunner) -> grpc.GenericRpcHandler:
    """``nvr.v1.NodeService`` over a source."""

    async def get_node(_request: node_pb2.GetNodeRequest, _context: ReadContext) -> Message:
        return convert.node_to_pb(await source.node())

    return service_handlers(NODE_SERVICE, runner, {"GetNode": get_node})


def camera_handlers(admin: CameraAdmin, runner: CallRunner) -> grpc.GenericRpcHandler:
    """``nvr.v1.CameraService`` over what administers the cameras."""
    service = _CameraService(admin)
    return service_handlers(
        CAMERA_SERVICE,
        runner,
        {
            "AddCamera": service.add_camera,
            "UpdateCamera": service.update_camera,
            "RemoveCamera": service.remove_camera,
            "GetCamera": service.get_camera,
        },
    )


def service_handlers(
    service: ServiceDescriptor, runner: CallRunner, functions: Mapping[str, Callable[..., Any]]
) -> grpc.GenericRpcHandler:
    """Every method of a service, wrapped; a KeyError when one has no function."""
    handlers = {}
    for descriptor in service.methods:
        name = descriptor.name
        method = Method(
            service=service.full_name,
            name=name,
            request_type=GetMessageClass(descriptor.input_type),
            discloses=name in _DISCLOSES,
            evidence=name in _EVIDENCE,
            endless=name in _ENDLESS,
        )
        wrap = runner.stream if descriptor.server_streaming else runner.unary
        handlers[name] = wrap(method, functions[name])
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def answer_steps(
    response: Callable[..., Message],
    answer: AsyncIterator[T | Notice | End],
    item: Callable[[T], Iterable[bytes]],
    *,
    joined: bool = False,
) -> Steps[T]:
    """A source's answer with the messages of its method. ``item`` may give several for one item."""
    return Steps(
        steps=answer,
        item=item,
        notice=lambda value: response(warning=convert.notice_to_pb(value)).SerializeToString(),
        end=lambda value: response(end=convert.end_to_pb(value)).SerializeToString(),
        joined=joined,
    )


class _FootageService:
    def __init__(self, source: FootageSource) -> None:
        self._source = source

    def list_cameras(self, request: footage_pb2.ListCamerasRequest, context: ReadContext) -> Steps[Camera]:
        response = footage_pb2.ListCamerasResponse

        def item(value: Camera) -> Iterator[bytes]:
            yield response(item=convert.camera_to_pb(value)).SerializeToString()

        return answer_steps(response, self._source.list_cameras(context, tuple(request.cameras)), item)

    def coverage(self, request: footage_pb2.CoverageRequest, context: ReadContext) -> Steps[Span | Gap]:
        response = footage_pb2.CoverageResponse

        def item(value: Span | Gap) -> Iterator[bytes]:
            found = convert.coverage_to_pb(value)
            message = response(items=(found,)) if request.joined else response(item=found)
            yield message.SerializeToString()

        answer = self._source.coverage(
            context,
            request.camera,
            convert.stream_from_pb(request.stream),
            convert.range_from_pb(request.range),
            request.source,
        )
        return answer_steps(response, answer, item, joined=request.joined)

    async def locate(self, request: footage_pb2.LocateRequest, context: ReadContext) -> Message:
        mode = _MODES.get(request.mode)
        if mode is None:
            raise InvalidArgument(f"mode: this version knows no mode {request.mode}", field="mode")
        stream = convert.stream_from_pb(request.stream)
        found = await self._source.locate(
            context, request.camera, stream, request.at_us, mode, request.source
        )
        return footage_pb2.LocateResponse(
            fragment=convert.fragment_ref_to_pb(found),
            node=(await self._source.node()).name,
            warnings=[convert.notice_to_pb(notice) for notice in found.notices],
        )

    def read_fragments(
        self, request: footage_pb2.ReadFragmentsRequest, context: ReadContext
    ) -> Steps[Fragment]:
        answer = self._source.read_fragments(context, convert.fragments_request_from_pb(request))
        return answer_steps(footage_pb2.ReadFragmentsResponse, answer, wire.FragmentEncoder())

    def read_clip(
        self, request: footage_pb2.ReadClipRequest, context: ReadContext
    ) -> Steps[ClipHead | ClipData]:
        response = footage_pb2.ReadClipResponse

        def item(value: ClipHead | ClipData) -> Iterator[bytes]:
            if isinstance(value, wire.EncodedClipData):
                return iter((value.message,))
            if isinstance(value, ClipData):
                return wire.clip_data(value.part, value.offset, value.data)
            head = footage_pb2.ClipItem(head=convert.clip_head_to_pb(value))
            return iter((response(item=head).SerializeToString(),))

        return answer_steps(
            response, self._source.read_clip(context, convert.clip_request_from_pb(request)), item
        )

    def read_frames(self, request: footage_pb2.ReadFramesRequest, context: ReadContext) -> Steps[Picture]:
        response = footage_pb2.ReadFramesResponse

        def item(value: Picture) -> Iterator[bytes]:
            return (response(item=frame).SerializeToString() for frame in wire.picture(value))

        answer = self._source.read_frames(
            context,
            request.camera,
            convert.stream_from_pb(request.stream),
            convert.range_from_pb(request.range),
            request.interval_us,
            PictureOptions(
                format=convert.format_from_pb(request.format),
                max_width=request.max_width,
                max_height=request.max_height,
                jpeg_quality=request.jpeg_quality or _DEFAULT_JPEG_QUALITY,
            ),
            request.source,
        )
        return answer_steps(response, answer, item)

    async def snapshot(self, request: footage_pb2.SnapshotRequest, context: ReadContext) -> Message:
        options = PictureOptions(
            format=PictureFormat.JPEG,
            max_width=request.max_width,
            max_height=request.max_height,
            jpeg_quality=request.jpeg_quality or _DEFAULT_JPEG_QUALITY,
        )
        stream = convert.stream_from_pb(request.stream)
        picture = await self._source.snapshot(
            context, request.camera, stream, request.at_us, options, request.source
        )
        frame = footage_pb2.Frame(
            asked_us=picture.asked_us,
            frame_us=picture.frame_us,
            width=picture.width,
            height=picture.height,
            format=convert.format_to_pb(picture.format),
            data=picture.data,
        )
        return footage_pb2.SnapshotResponse(
            frame=frame,
            node=(await self._source.node()).name,
            warnings=[convert.notice_to_pb(notice) for notice in picture.notices],
        )

    def watch_live(self, request: footage_pb2.WatchLiveRequest, context: ReadContext) -> Steps[LiveUnit]:
        response = footage_pb2.WatchLiveResponse

        def item(value: LiveUnit) -> Iterator[bytes]:
            return (response(item=each).SerializeToString() for each in wire.live_unit(value))

        answer = self._source.watch_live(
            context,
            request.camera,
            convert.stream_from_pb(request.stream),
            not request.without_audio,
            request.source,
        )
        return answer_steps(response, answer, item)

    def find(self, request: footage_pb2.FindRequest, context: ReadContext) -> Steps[Found]:
        response = footage_pb2.FindResponse

        def item(value: Found) -> Iterator[bytes]:
            found = convert_places.found_to_pb(value)
            message = response(items=(found,)) if request.joined else response(item=found)
            yield message.SerializeToString()

        answer = self._source.find(context, convert_places.find_from_pb(request))
        return answer_steps(response, answer, item, joined=request.joined)

    def next_cameras(
        self, request: footage_pb2.NextCamerasRequest, context: ReadContext
    ) -> Steps[NextCamera]:
        response = footage_pb2.NextCamerasResponse

        def item(value: NextCamera) -> Iterator[bytes]:
            yield response(item=convert_places.next_camera_to_pb(value)).SerializeToString()

        answer = self._source.next_cameras(context, convert_places.next_from_pb(request))
        return answer_steps(response, answer, item)

    def watch_events(self, request: footage_pb2.WatchEventsRequest, context: ReadContext) -> Steps[Event]:
        response = footage_pb2.WatchEventsResponse

        def item(value: Event) -> Iterator[bytes]:
            yield response(item=convert.event_to_pb(value)).SerializeToString()

        return answer_steps(response, self._source.watch_events(context, tuple(request.cameras)), item)


class _CameraService:
    def __init__(self, admin: CameraAdmin) -> None:
        self._admin = admin

    async def add_camera(self, request: camera_pb2.AddCameraRequest, context: ReadContext) -> Message:
        settings = request.settings
        if not settings.main_url:
            raise InvalidArgument("settings.main_url is required", field="settings.main_url")
        camera = await self._admin.add_camera(
            context, convert_admin.settings_from_pb(settings), dry_run=request.dry_run
        )
        return camera_pb2.AddCameraResponse(camera=convert.camera_to_pb(camera))

    async def update_camera(self, request: camera_pb2.UpdateCameraRequest, context: ReadContext) -> Message:
        changes = convert_admin.changes_from_pb(request)
        camera = await self._admin.update_camera(context, request.camera, changes, dry_run=request.dry_run)
        return camera_pb2.UpdateCameraResponse(camera=convert.camera_to_pb(camera))

    async def remove_camera(self, request: camera_pb2.RemoveCameraRequest, context: ReadContext) -> Message:
        camera_id = await self._admin.remove_camera(context, request.camera, dry_run=request.dry_run)
        return camera_pb2.RemoveCameraResponse(camera_id=camera_id)

    async def get_camera(self, request: camera_pb2.GetCameraRequest, context: ReadContext) -> Message:
        camera, settings = await self._admin.get_camera(context, request.camera)
        return camera_pb2.GetCameraResponse(
            camera=convert.camera_to_pb(camera), settings=convert_admin.settings_to_pb(settings.masked())
        )
