"""Cuts areas anew: what a reform does to the map, without touching footage.

A code is never given to another area. One that no longer is an area is kept with
what took over from it, so that recorders which still tell it are found as before
(:mod:`nvr.network_catalog.areas` says how).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nvr.errors import AreaNotFound, InvalidArgument
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.types import Area, Catalog, RetiredArea, check_catalog

__all__ = ["Recut"]

_SHOWN = 10


class Recut:
    """Steps from one catalog to another: ``Recut(catalog).merge(["a", "b"], into="c").done()``.

    Each step raises :exc:`InvalidArgument` (its field is the step's parameter) or
    :exc:`AreaNotFound` where it cannot be, and changes nothing then. The catalog that
    was given stays as it is. Any number of steps costs one look at the whole.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._areas = {area.code: area for area in catalog.areas}
        self._retired = {gone.code: gone for gone in catalog.retired}
        self._nodes = {node.node_id: node for node in catalog.nodes}
        self._cameras = {camera.camera_id: camera for camera in catalog.cameras}
        self._children: dict[str, dict[str, None]] = {}
        for area in catalog.areas:
            if area.parent is not None:
                self._children.setdefault(area.parent, {})[area.code] = None
        self._cameras_in: dict[str, dict[str, None]] = {}
        for camera in catalog.cameras:
            self._cameras_in.setdefault(camera.area, {})[camera.camera_id] = None

    def done(self) -> Catalog:
        """The catalog after all steps, in the order of codes and ids.

        Raises :exc:`InvalidArgument` where the whole is none any more: too many tiers.
        """
        catalog = Catalog(
            tuple(area for _, area in sorted(self._areas.items())),
            tuple(gone for _, gone in sorted(self._retired.items())),
            tuple(node for _, node in sorted(self._nodes.items())),
            tuple(camera for _, camera in sorted(self._cameras.items())),
        )
        _check(catalog)
        return catalog

    # --- one area ------------------------------------------------------------------

    def add(self, area: Area) -> "Recut":
        """A new area in one that is there; the first of all is the root, in none."""
        self._check_new(area)
        if area.parent is None and self._areas:
            raise InvalidArgument(
                f"parent: {area.code} would lie in none, as {self._root().code} does: there is one root",
                field="parent",
            )
        if area.parent is not None:
            self._area(area.parent, "parent")
        self._put(area)
        return self

    def rename(self, code: str, name: str, *, level: str | None = None) -> "Recut":
        """Another name, and another level where one is given: a commune that becomes a ward."""
        area = self._area(code)
        self._areas[code] = replace(area, name=name, level=area.level if level is None else level)
        return self

    def move(self, code: str, parent: str) -> "Recut":
        """Into another area, with all that lies in it."""
        area = self._area(code)
        if area.parent is None:
            raise InvalidArgument(f"code: {code} is the root: it lies in none", field="code")
        self._area(parent, "parent")
        if self._lies_in(parent, code):
            raise InvalidArgument(
                f"parent: {code} would lie in itself: {' → '.join(self._way(parent, code))}", field="parent"
            )
        self._put(replace(area, parent=parent))
        return self

    def retire(self, code: str) -> "Recut":
        """No area any more, and nothing takes over: what bears the code counts to the area around."""
        area = self._area(code)
        self._check_not_root(area, "code")
        within = sorted(self._children.get(code, ()))
        if within:
            raise InvalidArgument(
                f"code: {_listed(within)} still lie in {code}: move or merge them first", field="code"
            )
        self._drop(code)
        self._retired[code] = _retired(area, [])
        return self

    def restore(self, code: str, *, parent: str | None = None, children: Iterable[str] = ()) -> "Recut":
        """A retired code as an area again, in ``parent`` (None: where it lay), around ``children``.

        Cameras that were given to what took over stay there.
        """
        gone = self._retired.get(code)
        if gone is None:
            raise InvalidArgument(f"code: {code[:80]!r} is not retired", field="code")
        if parent is None:
            parent = gone.parent
            if parent is not None and parent not in self._areas:
                raise InvalidArgument(
                    f"parent: {code} lay in {parent}, which is no area any more: say in which it shall lie",
                    field="parent",
                )
        if parent is None:
            raise InvalidArgument(
                f"parent: {code} lay in none: say in which area it shall lie", field="parent"
            )
        self._area(parent, "parent")
        children = list(children)
        for child in children:
            self._area(child, "children")
            if self._lies_in(parent, child):
                raise InvalidArgument(
                    f"children: {code} is to lie in {parent}, so {child} cannot lie in {code}",
                    field="children",
                )
        del self._retired[code]
        self._put(Area(code, gone.name, parent, gone.level))
        for child in children:
            self._put(replace(self._areas[child], parent=code))
        return self

    # --- several at once -------------------------------------------------------------

    def merge(self, codes: Sequence[str], into: str | Area) -> "Recut":
        """Several areas into one: of them, another, or a new one.

        What lies in them comes to lie in it; their cameras and nodes are given to it.
        """
        target = into if isinstance(into, str) else into.code
        merged = [code for code in dict.fromkeys(codes) if code != target]
        if not merged:
            raise InvalidArgument(f"codes: nothing to merge into {target}", field="codes")
        areas = [self._area(code, "codes") for code in merged]
        around: str | None = target
        if isinstance(into, Area):
            self._check_new(into)
            around = into.parent
            if around is None and self._root() not in areas:
                raise InvalidArgument(
                    f"into: {target} would lie in none, as {self._root().code} does: there is one root",
                    field="into",
                )
        else:
            for area in areas:
                self._check_not_root(area, "codes")
        if around is not None:
            self._area(around, "into")
        for code in merged:
            if around is not None and self._lies_in(around, code):
                raise InvalidArgument(
                    f"into: {target} lies in {code}, which would be no area any more: move it first",
                    field="into",
                )
        for code in merged:
            self._drop(code)
        if isinstance(into, Area):
            self._put(into)
        for area in areas:
            for child in list(self._children.get(area.code, ())):
                self._put(replace(self._areas[child], parent=target))
            self._retired[area.code] = _retired(area, [target])
            self._give_cameras(area.code, target)
        gone = set(merged)
        for node in list(self._nodes.values()):
            if node.area in gone:
                self._nodes[node.node_id] = replace(node, area=target)
        return self

    def split(
        self,
        code: str,
        parts: Sequence[Area],
        *,
        children: Mapping[str, str] | None = None,
        cameras: Mapping[str, str] | None = None,
        nodes: Mapping[str, str] | None = None,
    ) -> "Recut":
        """One area into several new ones, where it lay.

        ``children``: of each area that lies in it the part that it comes to lie in; all
        must be named. ``cameras`` and ``nodes``: of ids the part that each stands in;
        those that are not named keep the old code, and are found in every part.
        """
        area = self._area(code)
        self._check_not_root(area, "code")
        names = [part.code for part in parts]
        if len(names) < 2 or len(set(names)) < len(names):
            raise InvalidArgument("parts: two new areas or more, each with a code of its own", field="parts")
        for new in parts:
            self._check_new(new, "parts")
            if new.parent is None or self._lies_in(self._area(new.parent, "parts").code, code):
                raise InvalidArgument(
                    f"parts: {new.code} cannot lie in {new.parent or 'none'}; {code} lies in {area.parent}",
                    field="parts",
                )
        gone = _retired(area, names)
        children, cameras, nodes = children or {}, cameras or {}, nodes or {}
        within = self._children.get(code, {})
        left = sorted(set(within) - set(children))
        if left:
            raise InvalidArgument(
                f"children: in which part do they come to lie? {_listed(left)}", field="children"
            )
        here = {
            "children": (children, set(within)),
            "cameras": (cameras, set(self._cameras_in.get(code, ()))),
            "nodes": (nodes, {node.node_id for node in self._nodes.values() if node.area == code}),
        }
        for field, (given, known) in here.items():
            for each, part in given.items():
                if each not in known:
                    raise InvalidArgument(f"{field}: {each[:80]!r} is not in {code}", field=field)
                if part not in names:
                    raise InvalidArgument(
                        f"{field}: {each} is given to {part[:80]!r}, which is no part", field=field
                    )
        for new in parts:
            self._put(new)
        for child, part in children.items():
            self._put(replace(self._areas[child], parent=part))
        self._drop(code)
        self._retired[code] = gone
        for camera_id, part in cameras.items():
            self._give_camera(camera_id, part)
        for node_id, part in nodes.items():
            self._nodes[node_id] = replace(self._nodes[node_id], area=part)
        return self

    def drop_tier(self, level: str) -> "Recut":
        """All areas of a level are none any more; what lay in them lies in the area around.

        A dropped code counts to the areas that lay right in it, so that a question for
        it finds what it found; cameras that bear it keep it.
        """
        dropped = [area for area in self._areas.values() if area.level == level]
        if not dropped:
            known = ", ".join(sorted({area.level for area in self._areas.values()}))
            raise InvalidArgument(
                f"level: no area is a {level[:80]!r}; there are: {known[:300]}", field="level"
            )
        for area in dropped:
            self._check_not_root(area, "level")
        # Made before anything is changed: one may count to too many.
        gone = [_retired(area, sorted(self._children.get(area.code, ()))) for area in dropped]
        for area in dropped:
            parent = self._areas[area.code].parent
            for child in list(self._children.get(area.code, ())):
                self._put(replace(self._areas[child], parent=parent))
            self._drop(area.code)
        self._retired |= {each.code: each for each in gone}
        return self

    # --- inside ------------------------------------------------------------------------

    def _root(self) -> Area:
        return next(area for area in self._areas.values() if area.parent is None)

    def _area(self, code: str, field: str = "code") -> Area:
        found = self._areas.get(code)
        if found is not None:
            return found
        gone = self._retired.get(code)
        if gone is None:
            raise AreaNotFound(f"{field}: there is no area {code[:80]!r}", field=field)
        now = f"it is now {_listed(gone.into)}" if gone.into else "nothing took over"
        raise AreaNotFound(
            f"{field}: {code} ({gone.name}) is no area any more: {now}",
            field=field,
            facts={"into": ",".join(gone.into)},
        )

    def _check_new(self, area: Area, field: str = "code") -> None:
        if area.code in self._areas:
            raise InvalidArgument(f"{field}: there is an area {area.code} already", field=field)
        if area.code in self._retired:
            raise InvalidArgument(
                f"{field}: {area.code} was the code of {self._retired[area.code].name}, and never means "
                "another area: restore it, or take another code",
                field=field,
            )

    @staticmethod
    def _check_not_root(area: Area, field: str) -> None:
        if area.parent is None:
            raise InvalidArgument(
                f"{field}: {area.code} is the root: it can only be merged into a new root", field=field
            )

    def _lies_in(self, code: str, top: str) -> bool:
        """Whether an area lies in another, at any depth, or is it."""
        return top in self._way(code, top)

    def _way(self, code: str, top: str) -> list[str]:
        """From an area up to another, or to the root."""
        way = [code]
        while way[-1] != top and (parent := self._areas[way[-1]].parent) is not None:
            way.append(parent)
        return way

    def _put(self, area: Area) -> None:
        before = self._areas.get(area.code)
        if before is not None and before.parent is not None:
            self._children[before.parent].pop(area.code, None)
        self._areas[area.code] = area
        if area.parent is not None:
            self._children.setdefault(area.parent, {})[area.code] = None

    def _drop(self, code: str) -> None:
        area = self._areas.pop(code)
        if area.parent is not None:
            self._children[area.parent].pop(code, None)

    def _give_cameras(self, code: str, to: str) -> None:
        for camera_id in list(self._cameras_in.get(code, ())):
            self._give_camera(camera_id, to)

    def _give_camera(self, camera_id: str, to: str) -> None:
        camera = self._cameras[camera_id]
        self._cameras_in[camera.area].pop(camera_id)
        self._cameras_in.setdefault(to, {})[camera_id] = None
        self._cameras[camera_id] = replace(camera, area=to)


def _check(catalog: Catalog) -> None:
    AreaTree(catalog.areas, catalog.retired)
    check_catalog(catalog)


def _retired(area: Area, into: Sequence[str]) -> RetiredArea:
    return RetiredArea(area.code, area.name, area.parent, area.level, tuple(into))


def _listed(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
    return ", ".join(codes[:_SHOWN]) + more
