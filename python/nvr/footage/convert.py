"""Values of ``nvr.footage.types`` to protobuf and back.

Enums on the wire are open: a value of a later version becomes the type's
"unknown" where it has one; a stream kind that is not known has no meaning here,
so what carries it is left out, or refused where it was asked for.
"""

from nvr.errors import InvalidArgument
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    ClipPart,
    ClipRequest,
    CodecConfig,
    End,
    Event,
    FragmentRef,
    FragmentsRequest,
    Gap,
    LineSpeed,
    LiveUnit,
    NodeInfo,
    NodeKind,
    Notice,
    OwnerKind,
    PictureFormat,
    Place,
    ReadContext,
    Span,
    StreamInfo,
    StreamName,
    StreamState,
    TimeRange,
    View,
)
from nvr.v1 import common_pb2, footage_pb2, node_pb2, place_pb2

_STREAM_TO_PB: dict[StreamName, "common_pb2.StreamKind.ValueType"] = {
    "main": common_pb2.STREAM_KIND_MAIN,
    "sub": common_pb2.STREAM_KIND_SUB,
}
_STREAM_FROM_PB: dict[int, StreamName] = {
    common_pb2.STREAM_KIND_UNSPECIFIED: "main",
    common_pb2.STREAM_KIND_MAIN: "main",
    common_pb2.STREAM_KIND_SUB: "sub",
}
_STATE_TO_PB = {
    StreamState.UNKNOWN: footage_pb2.STREAM_STATE_UNSPECIFIED,
    StreamState.DISABLED: footage_pb2.STREAM_STATE_DISABLED,
    StreamState.CONNECTING: footage_pb2.STREAM_STATE_CONNECTING,
    StreamState.RECORDING: footage_pb2.STREAM_STATE_RECORDING,
    StreamState.WAITING: footage_pb2.STREAM_STATE_WAITING,
}
_STATE_FROM_PB: dict[int, StreamState] = {number: state for state, number in _STATE_TO_PB.items()}
_OWNER_TO_PB = {
    OwnerKind.UNKNOWN: footage_pb2.OWNER_KIND_UNSPECIFIED,
    OwnerKind.STATE: footage_pb2.OWNER_KIND_STATE,
    OwnerKind.HOUSEHOLD: footage_pb2.OWNER_KIND_HOUSEHOLD,
    OwnerKind.ORGANISATION: footage_pb2.OWNER_KIND_ORGANISATION,
}
_OWNER_FROM_PB: dict[int, OwnerKind] = {number: kind for kind, number in _OWNER_TO_PB.items()}
_NODE_KIND_TO_PB = {
    NodeKind.UNKNOWN: node_pb2.NODE_KIND_UNSPECIFIED,
    NodeKind.RECORDER: node_pb2.NODE_KIND_RECORDER,
    NodeKind.GATEWAY: node_pb2.NODE_KIND_GATEWAY,
}
_NODE_KIND_FROM_PB: dict[int, NodeKind] = {number: kind for kind, number in _NODE_KIND_TO_PB.items()}
_FORMAT_TO_PB = {
    PictureFormat.JPEG: footage_pb2.FRAME_FORMAT_JPEG,
    PictureFormat.RGB24: footage_pb2.FRAME_FORMAT_RGB24,
}
_FORMAT_FROM_PB: dict[int, PictureFormat] = {
    footage_pb2.FRAME_FORMAT_UNSPECIFIED: PictureFormat.JPEG,
    footage_pb2.FRAME_FORMAT_JPEG: PictureFormat.JPEG,
    footage_pb2.FRAME_FORMAT_RGB24: PictureFormat.RGB24,
}


def stream_to_pb(stream: StreamName) -> "common_pb2.StreamKind.ValueType":
    """The wire's number of a stream."""
    return _STREAM_TO_PB[stream]


def stream_from_pb(kind: int, *, field: str = "stream") -> StreamName:
    """The stream that is meant; unspecified is main; :exc:`InvalidArgument` for a kind not known here."""
    stream = _STREAM_FROM_PB.get(kind)
    if stream is None:
        raise InvalidArgument(f"{field}: this version knows no stream kind {kind}", field=field)
    return stream


def format_to_pb(value: PictureFormat) -> "footage_pb2.FrameFormat.ValueType":
    """The wire's number of a picture format."""
    return _FORMAT_TO_PB[value]


def format_from_pb(value: int) -> PictureFormat:
    """The picture format; unspecified is JPEG; :exc:`InvalidArgument` for one not known here."""
    found = _FORMAT_FROM_PB.get(value)
    if found is None:
        raise InvalidArgument(f"format: this version knows no picture format {value}", field="format")
    return found


def context_to_pb(value: ReadContext) -> common_pb2.ReadContext:
    """Purpose, case, request id and policy."""
    refuse = value.partial == "refuse"
    return common_pb2.ReadContext(
        purpose=value.purpose,
        case_number=value.case_number,
        request_id=value.request_id,
        partial=common_pb2.PARTIAL_POLICY_REFUSE if refuse else common_pb2.PARTIAL_POLICY_ALLOW,
    )


def context_from_pb(value: common_pb2.ReadContext) -> ReadContext:
    """:exc:`InvalidArgument` for a policy not known here: it may be a stricter one."""
    if value.partial not in (
        common_pb2.PARTIAL_POLICY_UNSPECIFIED,
        common_pb2.PARTIAL_POLICY_ALLOW,
        common_pb2.PARTIAL_POLICY_REFUSE,
    ):
        raise InvalidArgument(
            f"context.partial: this version knows no policy {value.partial}", field="context.partial"
        )
    return ReadContext(
        purpose=value.purpose,
        case_number=value.case_number,
        request_id=value.request_id,
        partial="refuse" if value.partial == common_pb2.PARTIAL_POLICY_REFUSE else "allow",
    )


def range_to_pb(value: TimeRange) -> common_pb2.TimeRange:
    """Both are half open."""
    return common_pb2.TimeRange(start_us=value.start_us, end_us=value.end_us)


def range_from_pb(value: common_pb2.TimeRange) -> TimeRange:
    """Both are half open."""
    return TimeRange(value.start_us, value.end_us)


def notice_to_pb(value: Notice) -> common_pb2.Warning:
    """A notice is the wire's warning (the name is Python's own for something else)."""
    return common_pb2.Warning(
        code=value.code,
        node=value.node,
        camera_id=value.camera_id,
        range=None if value.range is None else range_to_pb(value.range),
        message=value.message,
        cameras=value.cameras,
    )


def notice_from_pb(value: common_pb2.Warning) -> Notice:
    """Keeps codes that this version does not know."""
    return Notice(
        code=value.code,
        message=value.message,
        node=value.node,
        camera_id=value.camera_id,
        range=range_from_pb(value.range) if value.HasField("range") else None,
        cameras=value.cameras,
    )


def end_to_pb(value: End) -> common_pb2.End:
    """The last step."""
    return common_pb2.End(complete=value.complete, cursor=value.cursor, remaining=value.remaining)


def end_from_pb(value: common_pb2.End) -> End:
    """The last step."""
    return End(complete=value.complete, cursor=value.cursor, remaining=value.remaining)


def owner_to_pb(value: OwnerKind) -> "footage_pb2.OwnerKind.ValueType":
    """Whose a camera is."""
    return _OWNER_TO_PB[value]


def owner_from_pb(value: int) -> OwnerKind:
    """A kind not known here is unknown."""
    return _OWNER_FROM_PB.get(value, OwnerKind.UNKNOWN)


def node_kind_to_pb(value: NodeKind) -> "node_pb2.NodeKind.ValueType":
    """What a node is for."""
    return _NODE_KIND_TO_PB[value]


def node_kind_from_pb(value: int) -> NodeKind:
    """A kind not known here is unknown."""
    return _NODE_KIND_FROM_PB.get(value, NodeKind.UNKNOWN)


def view_to_pb(value: View) -> place_pb2.View:
    """Where a camera looks."""
    return place_pb2.View(direction_deg=value.direction_deg, angle_deg=value.angle_deg, reach_m=value.reach_m)


def view_from_pb(value: place_pb2.View) -> View:
    """Where a camera looks."""
    return View(value.direction_deg, value.angle_deg, value.reach_m)


def node_to_pb(value: NodeInfo) -> node_pb2.GetNodeResponse:
    """What a node is."""
    return node_pb2.GetNodeResponse(
        id=value.id,
        name=value.name,
        version=value.version,
        capabilities=value.capabilities,
        now_us=value.now_us,
        kind=node_kind_to_pb(value.kind),
    )


def node_from_pb(value: node_pb2.GetNodeResponse) -> NodeInfo:
    """What a node is."""
    return NodeInfo(
        id=value.id,
        name=value.name,
        version=value.version,
        capabilities=tuple(value.capabilities),
        now_us=value.now_us,
        kind=node_kind_from_pb(value.kind),
    )


def place_to_pb(value: Place) -> place_pb2.Place:
    """Degrees on both sides."""
    return place_pb2.Place(latitude=value.latitude, longitude=value.longitude)


def place_from_pb(value: place_pb2.Place) -> Place:
    """Degrees on both sides."""
    return Place(latitude=value.latitude, longitude=value.longitude)


def stream_info_to_pb(value: StreamInfo) -> footage_pb2.StreamInfo:
    """A stream and its state."""
    return footage_pb2.StreamInfo(
        kind=stream_to_pb(value.kind),
        state=_STATE_TO_PB[value.state],
        reason=value.reason,
        detail=value.detail,
        video_codec=value.video_codec,
        audio_codec=value.audio_codec,
        width=value.width,
        height=value.height,
        last_frame_us=value.last_frame_us,
        frames=value.frames,
        bytes=value.bytes,
        camera_clock_offset_us=value.camera_clock_offset_us,
        oldest_us=value.oldest_us,
        newest_us=value.newest_us,
    )


def stream_info_from_pb(value: footage_pb2.StreamInfo) -> StreamInfo:
    """:exc:`InvalidArgument` for a kind not known here."""
    offset = value.camera_clock_offset_us if value.HasField("camera_clock_offset_us") else None
    return StreamInfo(
        kind=stream_from_pb(value.kind, field="kind"),
        state=_STATE_FROM_PB.get(value.state, StreamState.UNKNOWN),
        reason=value.reason,
        detail=value.detail,
        video_codec=value.video_codec,
        audio_codec=value.audio_codec,
        width=value.width,
        height=value.height,
        last_frame_us=value.last_frame_us,
        frames=value.frames,
        bytes=value.bytes,
        camera_clock_offset_us=offset,
        oldest_us=value.oldest_us,
        newest_us=value.newest_us,
    )


def camera_to_pb(value: Camera) -> footage_pb2.Camera:
    """A camera as readers see it."""
    return footage_pb2.Camera(
        id=value.id,
        name=value.name,
        title=value.title,
        place=None if value.place is None else place_to_pb(value.place),
        node=value.node,
        streams=[stream_info_to_pb(stream) for stream in value.streams],
        height_m=value.height_m,
        view=None if value.view is None else view_to_pb(value.view),
        area=value.area,
        owner=owner_to_pb(value.owner),
        sources=value.sources,
    )


def camera_from_pb(value: footage_pb2.Camera) -> Camera:
    """Leaves out streams of a kind not known here."""
    return Camera(
        id=value.id,
        name=value.name,
        title=value.title,
        place=place_from_pb(value.place) if value.HasField("place") else None,
        node=value.node,
        streams=tuple(
            stream_info_from_pb(stream) for stream in value.streams if stream.kind in _STREAM_FROM_PB
        ),
        height_m=value.height_m if value.HasField("height_m") else None,
        view=view_from_pb(value.view) if value.HasField("view") else None,
        area=value.area,
        owner=owner_from_pb(value.owner),
        sources=tuple(value.sources),
    )


def gap_to_pb(value: Gap) -> footage_pb2.Gap:
    """A stretch that is not recorded."""
    return footage_pb2.Gap(range=range_to_pb(value.range), reason=value.reason, detail=value.detail)


def gap_from_pb(value: footage_pb2.Gap) -> Gap:
    """Keeps reasons that this version does not know."""
    return Gap(range=range_from_pb(value.range), reason=value.reason, detail=value.detail)


def coverage_to_pb(value: Span | Gap) -> footage_pb2.CoverageItem:
    """A span or a gap."""
    if isinstance(value, Gap):
        return footage_pb2.CoverageItem(gap=gap_to_pb(value))
    span = footage_pb2.Span(
        range=range_to_pb(value.range),
        run_id=value.run_id,
        epoch=value.epoch,
        node=value.node,
        clock_offset_us=value.clock_offset_us,
    )
    return footage_pb2.CoverageItem(span=span)


def coverage_from_pb(value: footage_pb2.CoverageItem) -> Span | Gap | None:
    """None for a kind of item that this version does not know."""
    # A question brings thousands of these: each field is read once, and nothing is called for it.
    match value.WhichOneof("kind"):
        case "span":
            span = value.span
            of = span.range
            offset = span.clock_offset_us if span.HasField("clock_offset_us") else None
            return Span(TimeRange(of.start_us, of.end_us), span.run_id, span.epoch, span.node, offset)
        case "gap":
            gap = value.gap
            of = gap.range
            return Gap(TimeRange(of.start_us, of.end_us), gap.reason, gap.detail)
        case _:
            return None


def fragment_ref_to_pb(value: FragmentRef) -> common_pb2.FragmentRef:
    """A fragment's name and times."""
    return common_pb2.FragmentRef(
        camera_id=value.camera_id,
        stream=stream_to_pb(value.stream),
        run_id=value.run_id,
        epoch=value.epoch,
        sequence=value.sequence,
        start_us=value.start_us,
        duration_us=value.duration_us,
        random_access=value.random_access,
        random_access_distance=value.random_access_distance,
        size_bytes=value.size_bytes,
        pictures=value.pictures,
        activity_bytes=value.activity_bytes,
        camera_clock_offset_us=value.camera_clock_offset_us,
    )


def fragment_ref_from_pb(value: common_pb2.FragmentRef) -> FragmentRef:
    """:exc:`InvalidArgument` for a kind of stream not known here."""
    offset = value.camera_clock_offset_us if value.HasField("camera_clock_offset_us") else None
    return FragmentRef(
        camera_id=value.camera_id,
        stream=stream_from_pb(value.stream),
        run_id=value.run_id,
        epoch=value.epoch,
        sequence=value.sequence,
        start_us=value.start_us,
        duration_us=value.duration_us,
        random_access=value.random_access,
        random_access_distance=value.random_access_distance,
        size_bytes=value.size_bytes,
        pictures=value.pictures,
        activity_bytes=value.activity_bytes,
        camera_clock_offset_us=offset,
    )


def config_to_pb(value: CodecConfig, config_id: int = 0) -> footage_pb2.CodecConfig:
    """``config_id``: the number by which fragments of this answer refer to it."""
    return footage_pb2.CodecConfig(
        id=config_id,
        video_codec=value.video_codec,
        audio_codec=value.audio_codec,
        width=value.width,
        height=value.height,
        init_segment=value.init_segment,
        video_extra_data=value.video_extra_data,
        audio_extra_data=value.audio_extra_data,
        audio_sample_rate_hz=value.audio_sample_rate_hz,
    )


def config_from_pb(value: footage_pb2.CodecConfig) -> CodecConfig:
    """Without its number."""
    return CodecConfig(
        video_codec=value.video_codec,
        width=value.width,
        height=value.height,
        video_extra_data=value.video_extra_data,
        audio_codec=value.audio_codec,
        audio_extra_data=value.audio_extra_data,
        audio_sample_rate_hz=value.audio_sample_rate_hz,
        init_segment=value.init_segment,
    )


def clip_head_to_pb(value: ClipHead) -> footage_pb2.ClipHead:
    """What a clip consists of."""
    parts = [
        footage_pb2.ClipPart(
            index=part.index,
            range=range_to_pb(part.range),
            size_bytes=part.size_bytes,
            etag=part.etag,
            video_codec=part.video_codec,
            audio_codec=part.audio_codec,
            node=part.node,
            disclosed=range_to_pb(part.disclosed),
            line=None
            if part.line is None
            else footage_pb2.LineSpeed(
                node=part.line.node,
                cap_bits_per_second=part.line.cap_bits_per_s,
                rate_bits_per_second=part.line.rate_bits_per_s,
            ),
        )
        for part in value.parts
    ]
    return footage_pb2.ClipHead(parts=parts, gaps=[gap_to_pb(gap) for gap in value.gaps])


def clip_head_from_pb(value: footage_pb2.ClipHead) -> ClipHead:
    """What a clip consists of."""
    parts = tuple(
        ClipPart(
            index=part.index,
            range=range_from_pb(part.range),
            size_bytes=part.size_bytes,
            etag=part.etag,
            video_codec=part.video_codec,
            audio_codec=part.audio_codec,
            node=part.node,
            disclosed=range_from_pb(part.disclosed),
            line=LineSpeed(part.line.node, part.line.cap_bits_per_second, part.line.rate_bits_per_second)
            if part.HasField("line")
            else None,
        )
        for part in value.parts
    )
    return ClipHead(parts=parts, gaps=tuple(gap_from_pb(gap) for gap in value.gaps))


def clip_data_from_pb(value: footage_pb2.ClipData) -> ClipData:
    """Bytes of a part (the other way is :func:`nvr.footage.wire.clip_data`, which saves a copy)."""
    return ClipData(part=value.part, offset=value.offset, data=value.data)


def clip_request_to_pb(value: ClipRequest, context: ReadContext) -> footage_pb2.ReadClipRequest:
    """Which clip, and from where on."""
    return footage_pb2.ReadClipRequest(
        context=context_to_pb(context),
        camera=value.camera,
        stream=stream_to_pb(value.stream),
        range=range_to_pb(value.range),
        without_audio=not value.audio,
        part=value.part,
        offset=value.offset,
        if_etag=value.if_etag,
        head_only=value.head_only,
        one_part=value.one_part,
        source=value.source,
    )


def clip_request_from_pb(value: footage_pb2.ReadClipRequest) -> ClipRequest:
    """:exc:`InvalidArgument` for a kind of stream not known here."""
    return ClipRequest(
        camera=value.camera,
        range=range_from_pb(value.range),
        stream=stream_from_pb(value.stream),
        audio=not value.without_audio,
        part=value.part,
        offset=value.offset,
        if_etag=value.if_etag,
        head_only=value.head_only,
        one_part=value.one_part,
        source=value.source,
    )


def fragments_request_to_pb(
    value: FragmentsRequest, context: ReadContext
) -> footage_pb2.ReadFragmentsRequest:
    """Which fragments, in which order."""
    return footage_pb2.ReadFragmentsRequest(
        context=context_to_pb(context),
        camera=value.camera,
        stream=stream_to_pb(value.stream),
        range=range_to_pb(value.range),
        direction=footage_pb2.DIRECTION_BACKWARD if value.backward else footage_pb2.DIRECTION_FORWARD,
        keyframes_only=value.keyframes_only,
        refs_only=value.refs_only,
        limit=value.limit,
        cursor=value.cursor,
        source=value.source,
    )


def fragments_request_from_pb(value: footage_pb2.ReadFragmentsRequest) -> FragmentsRequest:
    """:exc:`InvalidArgument` for a kind of stream or a direction not known here."""
    if value.direction not in footage_pb2.Direction.values():
        raise InvalidArgument(
            f"direction: this version knows no direction {value.direction}", field="direction"
        )
    return FragmentsRequest(
        camera=value.camera,
        range=range_from_pb(value.range),
        stream=stream_from_pb(value.stream),
        backward=value.direction == footage_pb2.DIRECTION_BACKWARD,
        keyframes_only=value.keyframes_only,
        refs_only=value.refs_only,
        limit=value.limit,
        cursor=value.cursor,
        source=value.source,
    )


def live_unit_to_pb(value: LiveUnit) -> footage_pb2.AccessUnit:
    """The unit without its ``config``, which travels before it."""
    return footage_pb2.AccessUnit(
        audio=value.audio,
        pts=value.pts,
        arrival_us=value.arrival_us,
        random_access=value.random_access,
        data=value.data,
        run_id=value.run_id,
    )


def live_unit_from_pb(value: footage_pb2.AccessUnit, config: CodecConfig | None) -> LiveUnit:
    """``config``: what came before it, when something did."""
    return LiveUnit(
        audio=value.audio,
        pts=value.pts,
        arrival_us=value.arrival_us,
        random_access=value.random_access,
        data=value.data,
        run_id=value.run_id,
        config=config,
    )


def event_to_pb(value: Event) -> footage_pb2.Event:
    """An event; no stream is the wire's unspecified."""
    kind = common_pb2.STREAM_KIND_UNSPECIFIED if value.stream is None else stream_to_pb(value.stream)
    return footage_pb2.Event(
        at_us=value.at_us,
        camera_id=value.camera_id,
        stream=kind,
        kind=value.kind,
        reason=value.reason,
        detail=value.detail,
        node=value.node,
    )


def event_from_pb(value: footage_pb2.Event) -> Event:
    """Keeps kinds and reasons that this version does not know."""
    specified = value.stream != common_pb2.STREAM_KIND_UNSPECIFIED
    return Event(
        at_us=value.at_us,
        kind=value.kind,
        camera_id=value.camera_id,
        stream=_STREAM_FROM_PB.get(value.stream) if specified else None,
        reason=value.reason,
        detail=value.detail,
        node=value.node,
    )
