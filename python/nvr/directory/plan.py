"""From a question by place and time to the cameras that it means, and the nodes that can hold an answer.

A place is looked up in the R*Tree: rows outside of its bounds are not visited.
Cursors hold the place in the order and no state of the node: they are as good
after a restart, and at another node that knows the same cameras.
"""

import heapq
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nvr.directory import geometry
from nvr.directory.directory import Directory
from nvr.directory.merge import FOREVER_US
from nvr.directory.types import AreaResolver, CameraEntry
from nvr.errors import InvalidArgument
from nvr.footage.cursor import bad_cursor, decode_cursor, encode_cursor
from nvr.footage.places import (
    Circle,
    Corridor,
    FindOrder,
    FindRequest,
    InArea,
    LooksAt,
    Named,
    NextCamera,
    NextCamerasRequest,
    Polygon,
)
from nvr.footage.types import Camera, Gap, Notice, Place, StreamInfo, StreamName, StreamState, TimeRange

__all__ = ["Plan", "Planned", "Reachable", "next_cameras", "plan", "unheld_gap"]

MOST_AT_ONCE = 1000
_CURSOR = "p1"
# What is in memory when a run ends, and a clock that is a little off.
_SLACK_US = 60_000_000
# As far away a camera is looked for that can be reached.
_MOST_AWAY_KM = 100
_MOST_RADIUS_M = _MOST_AWAY_KM * 1000.0
_FIRST_RADIUS_M = 500.0
_US_PER_S = 1_000_000
_ALWAYS = TimeRange(0, FOREVER_US)
_COLUMNS = "c.id, c.name, c.latitude, c.longitude, c.removed, c.{0}_oldest, c.{0}_newest"


@dataclass(frozen=True, slots=True)
class Planned:
    """A camera that is meant. ``holders``: ids of the nodes that can have footage of the range."""

    camera: Camera
    distance_m: float | None
    entries: Sequence[CameraEntry]
    holders: Sequence[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """The cameras in order. ``cursor``: where the next page begins; ``cut``: by the node's own limit."""

    items: Sequence[Planned]
    cursor: str
    remaining: int
    cut: bool
    visited: int
    """Rows that were looked at."""


@dataclass(slots=True)
class _Candidate:
    """A camera, by what all nodes together have of it."""

    id: str
    name: str
    place: Place | None
    removed: bool
    oldest_us: int
    newest_us: int
    distance_m: float | None = None


_Key = tuple[float | str, ...]


def plan(directory: Directory, request: FindRequest, areas: AreaResolver) -> Plan:
    """Which cameras are meant, in order, and who can have footage of them.

    Raises :exc:`CameraNotFound`, :exc:`AreaNotFound`, :exc:`AreaAmbiguous` and
    :exc:`InvalidArgument` (a shape that encloses nothing, a cursor of another question).
    """
    limit = request.limit or MOST_AT_ONCE
    after = _parse_cursor(request.cursor, request.order) if request.cursor else None
    planner = _Planner(directory, request.stream)
    if request.where is None or isinstance(request.where, InArea):
        codes = None if request.where is None else areas.codes(request.where.area)
        chosen, remaining = planner.page(codes, after, limit, request)
    else:
        candidates = planner.candidates(request.where)
        keyed = (
            (_key(candidate, request), candidate)
            for candidate in candidates
            if not candidate.removed or (request.range is not None and _may_hold(candidate, request.range))
        )
        rest = [(key, candidate) for key, candidate in keyed if after is None or key > after]
        first = heapq.nsmallest(limit, rest, key=lambda pair: pair[0])
        chosen, remaining = [candidate for _, candidate in first], len(rest) - len(first)
    items = planner.planned(chosen, request.range, ids_only=request.ids_only)
    cursor = _cursor(_key(chosen[-1], request), request.order) if remaining and chosen else ""
    return Plan(items, cursor, remaining, bool(remaining) and not request.limit, planner.visited)


@dataclass(slots=True)
class Reachable:
    """Cameras that can be reached, nearest first.

    ``remaining``: at least so many more can be. ``cut``: none was looked for that is
    farther away than 100 km, though that can be reached.
    """

    items: list[NextCamera]
    remaining: int
    cut: bool

    def notices(self, node: str) -> list[Notice]:
        """What a node has to say of it."""
        if not self.cut:
            return []
        return [Notice("truncated", f"only cameras within {_MOST_AWAY_KM} km were looked at", node)]


def next_cameras(directory: Directory, request: NextCamerasRequest) -> Reachable:
    """Where somebody seen by a camera can be seen next, nearest first.

    Raises :exc:`CameraNotFound`, :exc:`AmbiguousCamera`, and :exc:`InvalidArgument`
    when it is not known where the camera stands.
    """
    camera_id, entries = directory.resolve(request.camera)
    start = entries[0].camera.place
    if start is None:
        raise InvalidArgument(
            f"camera: nobody has said where {entries[0].camera.name} stands", field="camera"
        )
    within_s = request.within_us / _US_PER_S
    fastest_m = request.max_speed_mps * within_s
    reach_m = min(fastest_m, _MOST_RADIUS_M)
    planner = _Planner(directory, "main")
    nearest, remaining = planner.nearest(start, reach_m, request.limit, but_for=camera_id)
    found: list[NextCamera] = []
    for planned in planner.planned(nearest, None):
        distance_m = planned.distance_m or 0.0
        earliest_us = request.at_us + math.floor(distance_m / request.max_speed_mps * _US_PER_S)
        latest_us = request.at_us + math.ceil(distance_m * request.detour / request.min_speed_mps * _US_PER_S)
        window = TimeRange(
            earliest_us, min(max(latest_us, earliest_us + 1), request.at_us + request.within_us)
        )
        place = planned.camera.place
        if place is not None and window.start_us < window.end_us:
            bearing = geometry.bearing_deg(start, place)
            found.append(NextCamera(planned.camera, distance_m, window, bearing))
    # Whoever got as many as they asked for has the nearest, wherever the others are.
    cut = fastest_m > _MOST_RADIUS_M and not remaining
    return Reachable(found, remaining, cut)


def unheld_gap(planned: Planned, stream: StreamName, range_: TimeRange) -> Gap:
    """What is said of a camera of which no node can have footage of a range."""
    told = [s for entry in planned.entries for s in entry.camera.streams if s.kind == stream]
    oldest_us = min((each.oldest_us for each in told if each.oldest_us), default=0)
    if oldest_us and range_.end_us <= oldest_us:
        return Gap(range_, "expired")
    reason = next((each.reason for each in told if each.reason), "")
    return Gap(range_, reason or "not_recorded")


class _Planner:
    def __init__(self, directory: Directory, stream: StreamName) -> None:
        self._directory = directory
        self._db: sqlite3.Connection = directory.database
        self._stream: StreamName = stream
        self._columns = _COLUMNS.format(stream)
        self._away = directory.away()
        self._now_us = directory.now_us()
        self.visited = 0

    def candidates(self, where: Named | Circle | Polygon | Corridor | LooksAt) -> Iterable[_Candidate]:
        """All cameras that are meant, in no order."""
        match where:
            case Named():
                return map(_candidate, self._of_ids(self._named(where.cameras)))
            case LooksAt():
                return self._looking_at(where.point)
            case _:
                return self._within(geometry.shape_of(where))

    def _within(self, shape: geometry.Shape) -> Iterator[_Candidate]:
        found: dict[str, _Candidate] = {}
        for box in shape.boxes:
            for row in self._in_box("stands", "r.key", box):
                if row[0] not in found:
                    found[row[0]] = _candidate(row)
        # Only what has a place is in the tree.
        placed = [(each, each.place) for each in found.values() if each.place is not None]
        for (each, place), holds in zip(placed, shape.holds([place for _, place in placed]), strict=True):
            if holds:
                each.distance_m = geometry.distance_m(shape.middle, place)
                yield each

    def _looking_at(self, point: Place) -> Iterator[_Candidate]:
        shape = geometry.shape_of(LooksAt(point))
        rows = [row for box in shape.boxes for row in self._in_box("shown", "abs(r.key)", box)]
        candidates = {row[0]: _candidate(row) for row in rows}
        for camera_id, entries in self._directory.entries(list(candidates)).items():
            each, camera = candidates[camera_id], entries[0].camera
            if camera.place is None or camera.view is None:
                continue
            if geometry.sees(camera.place, camera.view, point):
                each.distance_m = geometry.distance_m(point, camera.place)
                yield each

    def nearest(
        self, center: Place, reach_m: float, limit: int, *, but_for: str
    ) -> tuple[list[_Candidate], int]:
        """The nearest cameras that are not removed, and how many more are known to be near.

        Circles are asked about until one holds more than enough.
        """
        radius_m = min(_FIRST_RADIUS_M, reach_m)
        while True:
            around = self._within(geometry.shape_of(Circle(center, radius_m)))
            found = [each for each in around if each.id != but_for and not each.removed]
            if len(found) > limit or radius_m >= reach_m:
                first = heapq.nsmallest(limit, found, key=lambda each: (each.distance_m or 0.0, each.id))
                return first, len(found) - len(first)
            radius_m = min(radius_m * 2, reach_m)

    def _in_box(self, tree: str, key: str, box: geometry.Box) -> Iterator[tuple[Any, ...]]:
        for part in box.parts():
            yield from self._rows(
                # The order of the join is said: the tree first.
                f"FROM {tree} r CROSS JOIN camera c ON c.key = {key} "
                "WHERE r.south <= ? AND r.north >= ? AND r.west <= ? AND r.east >= ?",
                (part.north, part.south, part.east, part.west),
            )

    def _named(self, names: Sequence[str]) -> list[str]:
        ids: list[str] = []
        for name in names:
            meant = self._directory.meant(name)
            if not meant and not _is_id(name):
                self._directory.resolve(name)  # raises, with a hint
            ids += meant
        return list(dict.fromkeys(ids))

    def _of_ids(self, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for some in _chunks(ids):
            yield from self._rows(
                f"FROM camera c WHERE c.first AND c.id IN ({_marks(some)})",
                some,
            )

    def page(
        self, codes: frozenset[str] | None, after: _Key | None, limit: int, request: FindRequest
    ) -> tuple[list[_Candidate], int]:
        """The next cameras of an area, or of all, and how many follow; the order is that of :func:`_key`.

        By name, no more are read than are given.
        """
        range_ = request.range or _ALWAYS
        newest, oldest = f"c.{self._stream}_newest", f"c.{self._stream}_oldest"
        held = f"({newest} <> 0 AND {newest} > :start - {_SLACK_US} AND {oldest} < :end)"
        where = (
            "c.first AND NOT c.removed" if request.range is None else f"c.first AND (NOT c.removed OR {held})"
        )
        values: dict[str, Any] = {"start": range_.start_us, "end": range_.end_us, "limit": limit}
        if codes is not None:
            # One value for all: as many variables as areas would take seconds to compile.
            where += " AND c.area IN (SELECT value FROM json_each(:areas))"
            values["areas"] = json.dumps(list(codes))
        match request.order:
            case FindOrder.NEAREST:
                key: tuple[str, ...] = ("c.name", "c.id")
            case FindOrder.NEWEST:
                key = (
                    f"CASE WHEN {held} THEN -CAST(min({newest}, :end) AS REAL) ELSE 9e999 END",
                    "c.name",
                    "c.id",
                )
            case FindOrder.OLDEST:
                key = (
                    f"CASE WHEN {held} THEN CAST(max({oldest}, :start) AS REAL) ELSE 9e999 END",
                    "c.name",
                    "c.id",
                )
        order = ", ".join(key)

        def later(than: _Key) -> str:
            # Without the distance, which is known of none.
            known = [each for at, each in enumerate(than) if at != len(than) - 3]
            values.update({f"key{number}": each for number, each in enumerate(known)})
            return f"({order}) > ({', '.join(f':key{number}' for number in range(len(known)))})"

        start = "" if after is None else f" AND {later(after)}"
        rows = self._rows(f"FROM camera c WHERE {where}{start} ORDER BY {order} LIMIT :limit", values)
        chosen = list(map(_candidate, rows))
        if len(chosen) < limit:
            return chosen, 0
        rest = later(_key(chosen[-1], request))
        (remaining,) = self._db.execute(
            f"SELECT count(*) FROM camera c WHERE {where} AND {rest}",  # noqa: S608 - of words above
            values,
        ).fetchone()
        return chosen, remaining

    def _rows(self, rest: str, values: Sequence[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
        rows = self._db.execute(f"SELECT {self._columns} {rest}", values).fetchall()
        self.visited += len(rows)
        return rows

    def planned(
        self, chosen: Sequence[_Candidate], range_: TimeRange | None, *, ids_only: bool = False
    ) -> list[Planned]:
        """With what each node has, for those chosen only."""
        entries = self._directory.entries([each.id for each in chosen])
        view = self._directory.camera_named if ids_only else self._directory.camera_view
        items: list[Planned] = []
        for each in chosen:
            of = entries.get(each.id)
            if not of:
                continue
            holders: tuple[str, ...] = ()
            if range_ is not None:
                holders = tuple(entry.node_id for entry in of if self._entry_may_hold(entry, range_))
            items.append(Planned(view(of), each.distance_m, of, holders))
        return items

    def _entry_may_hold(self, entry: CameraEntry, range_: TimeRange) -> bool:
        for told in entry.camera.streams:
            if told.kind == self._stream:
                newest_us = told.newest_us
                if told.state is StreamState.RECORDING or (
                    told.reason != "removed" and self._may_go_on(entry, told, range_)
                ):
                    newest_us = FOREVER_US
                return _overlaps(told.oldest_us, newest_us, range_)
        return False

    def _may_go_on(self, entry: CameraEntry, told: StreamInfo, range_: TimeRange) -> bool:
        """Whether a stream may record by now, though the last that was told is that it does not."""
        # What a node does that is away, nobody here knows; what one does that is not is told within seconds.
        lately = range_.end_us > self._now_us - _SLACK_US
        return entry.node_id in self._away or (lately and told.state is not StreamState.DISABLED)


def _candidate(row: Sequence[Any]) -> _Candidate:
    camera_id, name, latitude, longitude, removed, oldest_us, newest_us = row
    place = None if latitude is None else Place(latitude, longitude)
    return _Candidate(camera_id, name, place, bool(removed), oldest_us, newest_us)


def _may_hold(candidate: _Candidate, range_: TimeRange) -> bool:
    return _overlaps(candidate.oldest_us, candidate.newest_us, range_)


def _overlaps(oldest_us: int, newest_us: int, range_: TimeRange) -> bool:
    """Whether there may be footage: too generous where a deletion was not told yet, never too strict."""
    return bool(newest_us) and newest_us + _SLACK_US > range_.start_us and oldest_us < range_.end_us


def _key(candidate: _Candidate, request: FindRequest) -> _Key:
    """Where a camera stands in the order; ends with its id, so that no two are equal."""
    rest: tuple[float, str, str] = (math.inf, candidate.name, candidate.id)
    if candidate.distance_m is not None:
        rest = (candidate.distance_m, "", candidate.id)
    if request.order is FindOrder.NEAREST:
        return rest
    range_ = request.range or _ALWAYS
    held = _may_hold(candidate, range_)
    if request.order is FindOrder.NEWEST:
        end_us = min(candidate.newest_us, range_.end_us)
        return (-float(end_us) if held else math.inf, *rest)
    start_us = max(candidate.oldest_us, range_.start_us)
    return (float(start_us) if held else math.inf, *rest)


def _cursor(key: _Key, order: FindOrder) -> str:
    plain = [None if value == math.inf else value for value in key]
    return encode_cursor(_CURSOR, [order.value, *plain])


def _parse_cursor(text: str, order: FindOrder) -> _Key:
    """Raises :exc:`InvalidArgument` for what is not a cursor of an answer in this order."""
    values = decode_cursor(_CURSOR, text)
    try:
        of, *numbers, name, camera_id = values
        key = [math.inf if number is None else float(number) for number in numbers]
    except (ValueError, TypeError):
        raise bad_cursor() from None
    good = (
        of == order.value
        and len(key) == (1 if order is FindOrder.NEAREST else 2)
        and isinstance(name, str)
        and isinstance(camera_id, str)
        and not any(math.isnan(number) for number in key)
    )
    if not good:
        raise bad_cursor()
    return (*key, name, camera_id)


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.count("-") == 4


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _chunks(values: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    return (values[first : first + size] for first in range(0, len(values), size))
