"""Settings of cameras to protobuf and back; see :mod:`nvr.footage.convert`."""

from nvr.errors import InvalidArgument
from nvr.footage import convert
from nvr.footage.admin import CameraChanges, CameraSettings
from nvr.footage.types import ReadContext
from nvr.v1 import camera_pb2


def settings_to_pb(value: CameraSettings) -> camera_pb2.CameraSettings:
    """How a node records a camera."""
    return camera_pb2.CameraSettings(
        name=value.name,
        title=value.title,
        main_url=value.main_url,
        sub_url=value.sub_url,
        place=None if value.place is None else convert.place_to_pb(value.place),
        enabled=value.enabled,
        height_m=value.height_m,
        view=None if value.view is None else convert.view_to_pb(value.view),
        area=value.area,
        owner=convert.owner_to_pb(value.owner),
    )


def settings_from_pb(value: camera_pb2.CameraSettings) -> CameraSettings:
    """How a node records a camera."""
    return CameraSettings(
        name=value.name,
        title=value.title,
        main_url=value.main_url,
        sub_url=value.sub_url,
        place=convert.place_from_pb(value.place) if value.HasField("place") else None,
        enabled=value.enabled,
        height_m=value.height_m if value.HasField("height_m") else None,
        view=convert.view_from_pb(value.view) if value.HasField("view") else None,
        area=value.area,
        owner=convert.owner_from_pb(value.owner),
    )


def changes_to_pb(
    value: CameraChanges, camera: str, context: ReadContext, *, dry_run: bool
) -> camera_pb2.UpdateCameraRequest:
    """What to change of a camera."""
    return camera_pb2.UpdateCameraRequest(
        context=convert.context_to_pb(context),
        camera=camera,
        name=value.name,
        title=value.title,
        main_url=value.main_url,
        sub_url=value.sub_url,
        place=None if value.place is None else convert.place_to_pb(value.place),
        clear_place=value.clear_place,
        enabled=value.enabled,
        dry_run=dry_run,
        height_m=value.height_m,
        view=None if value.view is None else convert.view_to_pb(value.view),
        clear_view=value.clear_view,
        area=value.area,
        owner=None if value.owner is None else convert.owner_to_pb(value.owner),
    )


def changes_from_pb(value: camera_pb2.UpdateCameraRequest) -> CameraChanges:
    """:exc:`InvalidArgument` for what is given and to be forgotten."""
    for field in ("place", "view"):
        if getattr(value, f"clear_{field}") and value.HasField(field):
            raise InvalidArgument(f"give {field} or clear_{field}, not both", field=f"clear_{field}")
    return CameraChanges(
        name=value.name if value.HasField("name") else None,
        title=value.title if value.HasField("title") else None,
        main_url=value.main_url if value.HasField("main_url") else None,
        sub_url=value.sub_url if value.HasField("sub_url") else None,
        place=convert.place_from_pb(value.place) if value.HasField("place") else None,
        clear_place=value.clear_place,
        enabled=value.enabled if value.HasField("enabled") else None,
        height_m=value.height_m if value.HasField("height_m") else None,
        view=convert.view_from_pb(value.view) if value.HasField("view") else None,
        clear_view=value.clear_view,
        area=value.area if value.HasField("area") else None,
        owner=convert.owner_from_pb(value.owner) if value.HasField("owner") else None,
    )
