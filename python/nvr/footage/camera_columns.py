"""What tables say of a camera: where it stands, where it looks, and whose it is."""

import math
from dataclasses import dataclass

from nvr.csv_table import Cells
from nvr.errors import InvalidArgument
from nvr.footage.admin import view_of
from nvr.footage.checks import checked_area, checked_height, checked_owner, checked_place, checked_view
from nvr.footage.types import OwnerKind, Place, View

__all__ = ["PLACE_COLUMNS", "Standing", "read_standing", "written"]

PLACE_COLUMNS = (
    *("lat", "lon", "height_m", "direction_deg", "angle_deg", "reach_m"),
    *("area", "owner"),
)
_VIEW = ("direction_deg", "angle_deg", "reach_m")


@dataclass(frozen=True, slots=True)
class Standing:
    """Those columns, read."""

    place: Place | None
    height_m: float | None
    view: View | None
    area: str
    owner: OwnerKind


def read_standing(cells: Cells) -> Standing:
    """What a row says; what is wrong with it is kept as its faults."""
    place: Place | None = None
    if bool(cells["lat"]) != bool(cells["lon"]):
        cells.add("lat" if not cells["lat"] else "lon", "a place needs both lat and lon")
    elif cells["lat"]:
        latitude = cells.check("lat", _degrees, 0.0)
        longitude = cells.check("lon", _degrees, 0.0)
        cells.check("lat", lambda _: checked_place((latitude, 0.0)), None)
        cells.check("lon", lambda _: checked_place((0.0, longitude)), None)
        place = Place(latitude, longitude)
    return Standing(
        place,
        cells.check("height_m", lambda cell: checked_height(_number(cell)), None),
        _view(cells),
        cells.check("area", checked_area, ""),
        cells.check(
            "owner", lambda cell: checked_owner(cell.lower() or OwnerKind.UNKNOWN), OwnerKind.UNKNOWN
        ),
    )


def written(value: Standing) -> dict[str, float | str | None]:
    """The columns of a camera; None: nothing is said."""
    view = value.view
    return {
        "lat": None if value.place is None else value.place.latitude,
        "lon": None if value.place is None else value.place.longitude,
        "height_m": value.height_m,
        "direction_deg": None if view is None else view.direction_deg,
        "angle_deg": None if view is None else view.angle_deg,
        "reach_m": (view.reach_m or None) if view is not None else None,
        "area": value.area or None,
        "owner": None if value.owner is OwnerKind.UNKNOWN else value.owner.value,
    }


def _view(cells: Cells) -> View | None:
    wrong: float | None = math.nan
    parts = [cells.check(column, _number, wrong) for column in _VIEW]
    if wrong in parts:
        return None
    try:
        return checked_view(view_of(*parts))
    except InvalidArgument as error:
        cells.refuse(error, error.message.partition(": ")[0])
        return None


def _owner(cell: str) -> OwnerKind:
    return checked_owner(cell.lower() or OwnerKind.UNKNOWN)


def _number(cell: str) -> float | None:
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidArgument(f"number: {cell[:40]!r} is not a number such as 3.5")
    return value


def _degrees(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidArgument(f"degrees: {cell[:40]!r} is not a number of degrees such as 19.9275")
    return value
