"""From a question by place and time to the cameras that it means, and the nodes that can hold an answer.

A place is looked up in the R*Tree: rows outside of its bounds are not visited.
Cursors hold the place in the order and no state of the node: they are as good
after a restart, and at another node that knows the same cameras.
"""

import heapq
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nvr.directory import geometry
from nvr.directory.directory import FOREVER_US, Directory
from nvr.directory.types import AreaResolver, CameraEntry
from nvr.errors import AreaNotFound, InvalidArgument
from nvr.footage.cursor import bad_cursor, decode_cursor, encode_cursor
from nvr.footage.places import (
    Circle,
    FindOrder,
    FindRequest,
    InArea,
    LooksAt,
    Named,
    NextCamera,
    NextCamerasRequest,
    Where,
)
from nvr.footage.types import Camera, Gap, Place, StreamName, StreamState, TimeRange

__all__ = ["CodesOnly", "Plan", "Planned", "next_cameras", "plan", "unheld_gap"]

MOST_AT_ONCE = 1000
_CURSOR = "p1"
# What is in memory when a run ends, and a clock that is a little off.
_SLACK_US = 60_000_000
_MOST_RADIUS_M = 100_000.0
_US_PER_S = 1_000_000
_COLUMNS = "c.id, c.name, c.latitude, c.longitude, c.state, c.{0}_oldest, c.{0}_newest"


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


class CodesOnly:
    """Areas where there is no catalog: codes that cameras have, each an area of its own."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def codes(self, area: str) -> frozenset[str]:
        """The code, if a camera has it. Raises :exc:`AreaNotFound`."""
        if not self._directory.has_area(area):
            raise AreaNotFound(
                f"no camera below {self._directory.own.name} is in an area {area[:200]!r}",
                field="where.area",
                node=self._directory.own.name,
            )
        return frozenset((area,))


@dataclass(slots=True)
class _Candidate:
    """A camera of all nodes together."""

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
    if request.order is FindOrder.NEAREST and (request.where is None or isinstance(request.where, InArea)):
        codes = None if request.where is None else areas.codes(request.where.area)
        chosen, remaining = planner.page_by_name(codes, after, limit, with_removed=request.range is not None)
    else:
        candidates = planner.candidates(request.where, areas)
        keyed = (
            (_key(candidate, request), candidate)
            for candidate in candidates
            if not candidate.removed or (request.range is not None and _may_hold(candidate, request.range))
        )
        rest = [(key, candidate) for key, candidate in keyed if after is None or key > after]
        first = heapq.nsmallest(limit, rest, key=lambda pair: pair[0])
        chosen, remaining = [candidate for _, candidate in first], len(rest) - len(first)
    items = planner.planned(chosen, request.range)
    cursor = _cursor(_key(chosen[-1], request), request.order) if remaining and chosen else ""
    return Plan(items, cursor, remaining, bool(remaining) and not request.limit, planner.visited)


def next_cameras(directory: Directory, request: NextCamerasRequest) -> list[NextCamera]:
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
    reach_m = min(request.max_speed_mps * within_s, _MOST_RADIUS_M)
    planner = _Planner(directory, "main")
    candidates = (
        each
        for each in planner.candidates(Circle(start, reach_m), CodesOnly(directory))
        if each.id != camera_id and not each.removed
    )
    nearest = heapq.nsmallest(request.limit, candidates, key=lambda each: (each.distance_m or 0.0, each.id))
    found = []
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
    return found


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
        self.visited = 0

    def candidates(self, where: Where | None, areas: AreaResolver) -> Iterable[_Candidate]:
        """All cameras that are meant, in no order."""
        rows: Iterable[tuple[Any, ...]]
        match where:
            case None:
                rows = self._rows("FROM camera c WHERE NOT c.gone", ())
            case InArea():
                rows = self._of_areas(areas.codes(where.area))
            case Named():
                rows = self._of_ids(self._named(where.cameras))
            case _:
                return self._within(where)
        return self._grouped(rows)

    def _within(self, where: Any) -> Iterable[_Candidate]:
        shape = geometry.shape_of(where)
        looks = isinstance(where, LooksAt)
        tree, key = ("shown", "abs(r.key)") if looks else ("stands", "r.key")
        found: list[tuple[Any, ...]] = []
        for part in shape.box.parts():
            found += self._rows(
                f"FROM {tree} r JOIN camera c ON c.key = {key} "
                "WHERE r.south <= ? AND r.north >= ? AND r.west <= ? AND r.east >= ?",
                (part.north, part.south, part.east, part.west),
            )
        candidates = list(self._grouped(found))
        views = self._views([each.id for each in candidates]) if looks else {}
        for each in candidates:
            if each.place is None:
                continue
            if looks:
                view = views.get(each.id)
                if view is None or not geometry.sees(each.place, view, where.point):
                    continue
            elif not shape.holds(each.place):
                continue
            each.distance_m = geometry.distance_m(shape.middle, each.place)
            yield each

    def _views(self, ids: Sequence[str]) -> dict[str, Any]:
        entries = self._directory.entries(ids)
        return {camera_id: found[0].camera.view for camera_id, found in entries.items()}

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
                f"FROM camera c WHERE NOT c.gone AND c.id IN ({_marks(some)})",
                some,
            )

    def _of_areas(self, codes: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        for some in _chunks(sorted(codes)):
            yield from self._rows(
                f"FROM camera c WHERE NOT c.gone AND c.area IN ({_marks(some)})",
                some,
            )

    def page_by_name(
        self, codes: frozenset[str] | None, after: _Key | None, limit: int, *, with_removed: bool
    ) -> tuple[list[_Candidate], int]:
        """The next cameras by name, and how many follow: not all are read for a page of them."""
        where = "NOT c.gone"
        values: list[float | str] = []
        if not with_removed:
            where += " AND c.state <> 'removed'"
        if codes is not None:
            where += f" AND c.area IN ({_marks(sorted(codes))})"
            values += sorted(codes)
        if after is not None:
            where += " AND (c.name, c.id) > (?, ?)"
            values += [after[1], after[2]]
        rows = self._rows(f"FROM camera c WHERE {where} ORDER BY c.name, c.id LIMIT ?", (*values, limit * 4))
        chosen = list(self._grouped(rows))[:limit]
        if not chosen:
            return [], 0
        last = chosen[-1]
        (remaining,) = self._db.execute(
            f"SELECT count(DISTINCT c.id) FROM camera c WHERE {where} AND (c.name, c.id) > (?, ?)",  # noqa: S608
            (*values, last.name, last.id),
        ).fetchone()
        return chosen, remaining

    def _rows(self, rest: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        rows = self._db.execute(f"SELECT {self._columns} {rest}", tuple(values)).fetchall()
        self.visited += len(rows)
        return rows

    def _grouped(self, rows: Iterable[tuple[Any, ...]]) -> Iterable[_Candidate]:
        """One candidate for a camera that several nodes have."""
        found: dict[str, _Candidate] = {}
        for camera_id, name, latitude, longitude, state, oldest_us, newest_us in rows:
            place = None if latitude is None else Place(latitude, longitude)
            known = found.get(camera_id)
            if known is None:
                found[camera_id] = _Candidate(
                    camera_id, name, place, state == "removed", oldest_us, newest_us
                )
                continue
            known.place = known.place or place
            known.removed = known.removed and state == "removed"
            known.newest_us, before_us = max(known.newest_us, newest_us), known.newest_us
            if newest_us:
                known.oldest_us = min(known.oldest_us, oldest_us) if before_us else oldest_us
        return found.values()

    def planned(self, chosen: Sequence[_Candidate], range_: TimeRange | None) -> list[Planned]:
        """With what each node has, for those chosen only."""
        entries = self._directory.entries([each.id for each in chosen])
        items = []
        for each in chosen:
            of = entries.get(each.id)
            if not of:
                continue
            holders = (
                ()
                if range_ is None
                else tuple(entry.node_id for entry in of if _entry_may_hold(entry, self._stream, range_))
            )
            items.append(Planned(self._directory.camera_view(of), each.distance_m, of, holders))
        return items


def _may_hold(candidate: _Candidate, range_: TimeRange) -> bool:
    return _overlaps(candidate.oldest_us, candidate.newest_us, range_)


def _entry_may_hold(entry: CameraEntry, stream: StreamName, range_: TimeRange) -> bool:
    told = next((each for each in entry.camera.streams if each.kind == stream), None)
    if told is None:
        return False
    newest_us = FOREVER_US if told.state is StreamState.RECORDING else told.newest_us
    return _overlaps(told.oldest_us, newest_us, range_)


def _overlaps(oldest_us: int, newest_us: int, range_: TimeRange) -> bool:
    """Whether there may be footage: too generous where a deletion was not told yet, never too strict."""
    return bool(newest_us) and newest_us + _SLACK_US > range_.start_us and oldest_us < range_.end_us


def _key(candidate: _Candidate, request: FindRequest) -> _Key:
    """Where a camera stands in the order; ends with its id, so that no two are equal."""
    near = math.inf if candidate.distance_m is None else candidate.distance_m
    rest = (near, candidate.name, candidate.id)
    if request.order is FindOrder.NEAREST:
        return rest
    range_ = request.range or TimeRange(0, FOREVER_US)
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
