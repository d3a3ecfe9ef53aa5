"""Values of ``nvr.footage.places`` to protobuf and back; see :mod:`nvr.footage.convert`."""

from nvr.errors import InvalidArgument
from nvr.footage import convert
from nvr.footage.places import (
    Circle,
    Corridor,
    FindOrder,
    FindRequest,
    Found,
    InArea,
    LooksAt,
    Named,
    NextCamera,
    NextCamerasRequest,
    Polygon,
    Where,
)
from nvr.footage.types import ReadContext
from nvr.v1 import footage_pb2, place_pb2

_ORDER_TO_PB = {
    FindOrder.NEAREST: footage_pb2.FIND_ORDER_NEAREST,
    FindOrder.NEWEST: footage_pb2.FIND_ORDER_NEWEST,
    FindOrder.OLDEST: footage_pb2.FIND_ORDER_OLDEST,
}
_ORDER_FROM_PB: dict[int, FindOrder] = {
    footage_pb2.FIND_ORDER_UNSPECIFIED: FindOrder.NEAREST,
    **{number: order for order, number in _ORDER_TO_PB.items()},
}
_DEFAULT_DETOUR = 1.5
_DEFAULT_NEXT = 100


def where_to_pb(value: Where) -> place_pb2.PlaceQuery:
    """Which cameras."""
    match value:
        case Named():
            return place_pb2.PlaceQuery(names=place_pb2.CameraNames(cameras=value.cameras))
        case InArea():
            return place_pb2.PlaceQuery(area=value.area)
        case Circle():
            center = convert.place_to_pb(value.center)
            return place_pb2.PlaceQuery(near=place_pb2.Circle(center=center, radius_m=value.radius_m))
        case Polygon():
            corners = [convert.place_to_pb(corner) for corner in value.corners]
            return place_pb2.PlaceQuery(polygon=place_pb2.Polygon(corners=corners))
        case Corridor():
            points = [convert.place_to_pb(point) for point in value.points]
            return place_pb2.PlaceQuery(along=place_pb2.Corridor(points=points, width_m=value.width_m))
        case LooksAt():
            return place_pb2.PlaceQuery(looks_at=convert.place_to_pb(value.point))


def where_from_pb(value: place_pb2.PlaceQuery) -> Where | None:
    """None for all cameras; :exc:`InvalidArgument` for a kind of place not known here."""
    match value.WhichOneof("kind"):
        case "names":
            return Named(tuple(value.names.cameras))
        case "area":
            return InArea(value.area)
        case "near":
            return Circle(convert.place_from_pb(value.near.center), value.near.radius_m)
        case "polygon":
            return Polygon(tuple(map(convert.place_from_pb, value.polygon.corners)))
        case "along":
            return Corridor(tuple(map(convert.place_from_pb, value.along.points)), value.along.width_m)
        case "looks_at":
            return LooksAt(convert.place_from_pb(value.looks_at))
        case None if value.ByteSize():
            # All cameras would be another answer than to what was asked.
            raise InvalidArgument("where: this version does not know such a place", field="where")
        case _:
            return None


def find_to_pb(value: FindRequest, context: ReadContext) -> footage_pb2.FindRequest:
    """What is looked for; several cameras may come in one message."""
    return footage_pb2.FindRequest(
        context=convert.context_to_pb(context),
        where=None if value.where is None else where_to_pb(value.where),
        range=None if value.range is None else convert.range_to_pb(value.range),
        stream=convert.stream_to_pb(value.stream),
        order=_ORDER_TO_PB[value.order],
        limit=value.limit,
        cursor=value.cursor,
        by_source=value.by_source,
        ids_only=value.ids_only,
        joined=True,
    )


def find_from_pb(value: footage_pb2.FindRequest) -> FindRequest:
    """:exc:`InvalidArgument` for a stream, an order or a kind of place not known here."""
    order = _ORDER_FROM_PB.get(value.order)
    if order is None:
        raise InvalidArgument(f"order: this version knows no order {value.order}", field="order")
    return FindRequest(
        where=where_from_pb(value.where),
        range=convert.range_from_pb(value.range) if value.HasField("range") else None,
        stream=convert.stream_from_pb(value.stream),
        order=order,
        limit=value.limit,
        cursor=value.cursor,
        by_source=value.by_source,
        ids_only=value.ids_only,
    )


def found_to_pb(value: Found) -> footage_pb2.Found:
    """A camera found."""
    return footage_pb2.Found(
        camera=convert.camera_to_pb(value.camera),
        distance_m=value.distance_m,
        coverage=[convert.coverage_to_pb(item) for item in value.coverage],
        source=value.source,
    )


def found_from_pb(value: footage_pb2.Found) -> Found:
    """Leaves out kinds of coverage that this version does not know."""
    items = (convert.coverage_from_pb(item) for item in value.coverage)
    return Found(
        camera=convert.camera_from_pb(value.camera),
        distance_m=value.distance_m if value.HasField("distance_m") else None,
        coverage=tuple(item for item in items if item is not None),
        source=value.source,
    )


def next_to_pb(value: NextCamerasRequest, context: ReadContext) -> footage_pb2.NextCamerasRequest:
    """A sighting."""
    return footage_pb2.NextCamerasRequest(
        context=convert.context_to_pb(context),
        camera=value.camera,
        at_us=value.at_us,
        min_speed_mps=value.min_speed_mps,
        max_speed_mps=value.max_speed_mps,
        within_us=value.within_us,
        detour=value.detour,
        limit=value.limit,
    )


def next_from_pb(value: footage_pb2.NextCamerasRequest) -> NextCamerasRequest:
    """:exc:`InvalidArgument` for speeds or a detour that contradict themselves."""
    if value.min_speed_mps > value.max_speed_mps:
        raise InvalidArgument("min_speed_mps is more than max_speed_mps", field="min_speed_mps")
    if 0 < value.detour < 1:
        raise InvalidArgument("detour: no way is shorter than the straight line", field="detour")
    return NextCamerasRequest(
        camera=value.camera,
        at_us=value.at_us,
        min_speed_mps=value.min_speed_mps,
        max_speed_mps=value.max_speed_mps,
        within_us=value.within_us,
        detour=value.detour or _DEFAULT_DETOUR,
        limit=value.limit or _DEFAULT_NEXT,
    )


def next_camera_to_pb(value: NextCamera) -> footage_pb2.NextCamera:
    """A camera that can be reached."""
    return footage_pb2.NextCamera(
        camera=convert.camera_to_pb(value.camera),
        distance_m=value.distance_m,
        window=convert.range_to_pb(value.window),
        bearing_deg=value.bearing_deg,
    )


def next_camera_from_pb(value: footage_pb2.NextCamera) -> NextCamera:
    """A camera that can be reached."""
    return NextCamera(
        camera=convert.camera_from_pb(value.camera),
        distance_m=value.distance_m,
        window=convert.range_from_pb(value.window),
        bearing_deg=value.bearing_deg,
    )
