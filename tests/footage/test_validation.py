import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import InvalidArgument
from nvr.footage.validation import validate
from nvr.v1 import camera_pb2, catalog_pb2, common_pb2, footage_pb2, place_pb2

RANGE = common_pb2.TimeRange(start_us=1, end_us=2)
GOOD: list[Message] = [
    footage_pb2.CoverageRequest(camera="a", range=RANGE),
    footage_pb2.ListCamerasRequest(),
    footage_pb2.ListCamerasRequest(cameras=["x"] * 1000),
    footage_pb2.ReadClipRequest(camera="a" * 200, range=RANGE, if_etag="0a"),
    footage_pb2.ReadFramesRequest(camera="a", range=RANGE, interval_us=86_400_000_000, jpeg_quality=100),
    camera_pb2.UpdateCameraRequest(camera="a", sub_url=""),
    camera_pb2.AddCameraRequest(settings=camera_pb2.CameraSettings(name="gate-1")),
    footage_pb2.SnapshotRequest(camera="chợ", at_us=253_402_300_799_000_000),
]


def settings_of(**values: object) -> camera_pb2.AddCameraRequest:
    return camera_pb2.AddCameraRequest(settings=camera_pb2.CameraSettings(**values))  # type: ignore[arg-type]


def place(latitude: float) -> camera_pb2.AddCameraRequest:
    return settings_of(name="a", place=place_pb2.Place(latitude=latitude))


def clip(**values: object) -> footage_pb2.ReadClipRequest:
    return footage_pb2.ReadClipRequest(**{"camera": "a", "range": RANGE, **values})  # type: ignore[arg-type]


BAD: list[tuple[Message, str]] = [
    (footage_pb2.CoverageRequest(camera="a"), "range"),
    (footage_pb2.CoverageRequest(range=RANGE), "camera"),
    (clip(camera="x" * 201), "camera"),
    (clip(range=common_pb2.TimeRange(start_us=2, end_us=2)), "range.start_us"),
    (clip(range=common_pb2.TimeRange(start_us=-1, end_us=2)), "range.start_us"),
    (clip(range=common_pb2.TimeRange(start_us=1, end_us=253_402_300_799_000_001)), "range.end_us"),
    (clip(if_etag="XYZ"), "if_etag"),
    (clip(if_etag="0" * 65), "if_etag"),
    (clip(context=common_pb2.ReadContext(purpose="p" * 501)), "context.purpose"),
    (clip(context=common_pb2.ReadContext(request_id="a\nb")), "context.request_id"),
    (clip(context=common_pb2.ReadContext(case_number="c" * 101)), "context.case_number"),
    (footage_pb2.ListCamerasRequest(cameras=["x"] * 1001), "cameras"),
    (footage_pb2.ListCamerasRequest(cameras=["x", "y", ""]), "cameras[2]"),
    (footage_pb2.ReadFramesRequest(camera="a", range=RANGE, interval_us=-1), "interval_us"),
    (footage_pb2.ReadFramesRequest(camera="a", range=RANGE, jpeg_quality=101), "jpeg_quality"),
    (camera_pb2.AddCameraRequest(), "settings"),
    (settings_of(name=""), "settings.name"),
    (settings_of(name="Gate"), "settings.name"),
    (settings_of(name="a\n"), "settings.name"),
    (place(90.1), "settings.place.latitude"),
    (place(float("nan")), "settings.place.latitude"),
    (camera_pb2.UpdateCameraRequest(camera="a", name=""), "name"),
    (camera_pb2.UpdateCameraRequest(camera="a", main_url=""), "main_url"),
]


def find(where: dict[str, object], **values: object) -> footage_pb2.FindRequest:
    query = place_pb2.PlaceQuery(**where)  # type: ignore[arg-type]
    return footage_pb2.FindRequest(where=query, **values)  # type: ignore[arg-type]


def circle(latitude: float, radius_m: float) -> footage_pb2.FindRequest:
    center = place_pb2.Place(latitude=latitude, longitude=105.9)
    return find({"near": place_pb2.Circle(center=center, radius_m=radius_m)})


def next_cameras(**values: object) -> footage_pb2.NextCamerasRequest:
    asked = {"camera": "a", "min_speed_mps": 1, "max_speed_mps": 10, "within_us": 1_000_000, **values}
    return footage_pb2.NextCamerasRequest(**asked)  # type: ignore[arg-type]


CORNER = place_pb2.Place(latitude=19.9, longitude=105.9)
NAN, INFINITE = float("nan"), float("inf")
BAD += [
    (circle(90.1, 300), "where.near.center.latitude"),
    (circle(NAN, 300), "where.near.center.latitude"),
    (circle(19.9, NAN), "where.near.radius_m"),
    (circle(19.9, INFINITE), "where.near.radius_m"),
    (circle(19.9, 100_001), "where.near.radius_m"),
    (find({"near": place_pb2.Circle(radius_m=5)}), "where.near.center"),
    (find({"looks_at": place_pb2.Place(longitude=-180.5)}), "where.looks_at.longitude"),
    (find({"polygon": place_pb2.Polygon(corners=[CORNER] * 2)}), "where.polygon.corners"),
    (find({"polygon": place_pb2.Polygon(corners=[CORNER] * 1001)}), "where.polygon.corners"),
    (find({"along": place_pb2.Corridor(points=[CORNER], width_m=5)}), "where.along.points"),
    (find({"along": place_pb2.Corridor(points=[CORNER] * 2, width_m=0)}), "where.along.width_m"),
    (find({"names": place_pb2.CameraNames(cameras=["x"] * 100_000)}), "where.names.cameras"),
    (find({"names": place_pb2.CameraNames()}), "where.names.cameras"),
    (find({"area": "x" * 201}), "where.area"),
    (find({}, limit=10_001), "limit"),
    (find({}, cursor="x" * 201), "cursor"),
    (find({}, range=common_pb2.TimeRange(start_us=2, end_us=1)), "range.start_us"),
    (next_cameras(min_speed_mps=NAN), "min_speed_mps"),
    (next_cameras(max_speed_mps=INFINITE), "max_speed_mps"),
    (next_cameras(within_us=86_400_000_001), "within_us"),
    (next_cameras(detour=NAN), "detour"),
]


@pytest.mark.parametrize("message", GOOD, ids=lambda m: type(m).__name__)
def test_what_keeps_the_rules_passes(message: Message) -> None:
    validate(message)


@pytest.mark.parametrize(("message", "field"), BAD, ids=[field for _, field in BAD])
def test_what_breaks_a_rule_is_named(message: Message, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate(message)
    assert caught.value.field == field
    assert caught.value.message.startswith(field)


@given(start=st.integers(-5, 5), end=st.integers(-5, 5))
def test_ranges_start_before_they_end(start: int, end: int) -> None:
    request = clip(range=common_pb2.TimeRange(start_us=start, end_us=end))
    if 0 <= start < end:
        validate(request)
    else:
        with pytest.raises(InvalidArgument, match="range"):
            validate(request)


def test_a_map_without_rules_is_passed_over() -> None:
    split = catalog_pb2.SplitArea(
        code="a", parts=[catalog_pb2.Area(code=code, name="x") for code in ("b", "c")], children={"d": "b"}
    )
    request = catalog_pb2.ChangeCatalogRequest(changes=[catalog_pb2.CatalogChange(split_area=split)])
    validate(request)
    request.changes[0].split_area.code = ""
    with pytest.raises(InvalidArgument) as caught:
        validate(request)
    assert caught.value.field == "changes[0].split_area.code"
