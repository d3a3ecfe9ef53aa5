"""Cuts areas anew: what a reform does to the map, without touching footage.

A code is never given to another area. One that no longer is an area is kept with
what took over from it, so that recorders which still tell it are found as before
(:mod:`nvr.network_catalog.areas` says how).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from nvr.errors import AreaNotFound, InvalidArgument
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.types import (
    Area,
    CameraEntry,
    Catalog,
    NodeEntry,
    RetiredArea,
    check_catalog,
)

__all__ = ["Recut"]

_SHOWN = 10


class Recut:
    """Steps from one catalog to another: ``Recut(catalog).merge(["a", "b"], into="c").done()``.

    A step raises :exc:`InvalidArgument` (its field is the step's parameter, or a field
    of the entry) or :exc:`AreaNotFound` where it cannot be, and changes nothing then.
    The catalog that was given stays as it is. Whether entries fit together is looked at
    when all is done, not at each step: a thousand of them cost little more than one.
    """

    def __init__(self, catalog: Catalog) -> None:
        """Raises :exc:`InvalidArgument` for what is no catalog."""
        _check(catalog)
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

    def __contains__(self, code: object) -> bool:
        """Whether there is an area of a code now."""
        return code in self._areas

    def done(self) -> Catalog:
        """The catalog after all steps, in the order of codes and ids.

        Raises :exc:`InvalidArgument` where the whole is none: see :class:`AreaTree` and
        :func:`nvr.network_catalog.types.check_catalog`.
        """
        catalog = Catalog(
            tuple(area for _, area in sorted(self._areas.items())),
            tuple(gone for _, gone in sorted(self._retired.items())),
            tuple(node for _, node in sorted(self._nodes.items())),
            tuple(camera for _, camera in sorted(self._cameras.items())),
        )
        _check(catalog)
        return catalog

    # --- nodes and cameras ---------------------------------------------------------

    def put_node(self, node: NodeEntry) -> "Recut":
        """Adds a node, or changes the one with its id."""
        self._nodes[node.node_id] = node
        return self

    def remove_node(self, node_id: str) -> "Recut":
        """Takes a node out; it must be the home of no camera when all is done."""
        if self._nodes.pop(node_id, None) is None:
            raise InvalidArgument(f"node_id: there is no node {node_id[:80]!r}", field="node_id")
        return self

    def put_camera(self, camera: CameraEntry) -> "Recut":
        """Adds a camera, or changes the one with its id."""
        self._forget_camera(camera.camera_id)
        self._cameras[camera.camera_id] = camera
        self._cameras_in.setdefault(camera.area, {})[camera.camera_id] = None
        return self

    def remove_camera(self, camera_id: str) -> "Recut":
        """Takes a camera out."""
        if not self._forget_camera(camera_id):
            raise InvalidArgument(f"camera_id: there is no camera {camera_id[:80]!r}", field="camera_id")
        return self

    # --- one area ------------------------------------------------------------------

    def put(self, area: Area) -> "Recut":
        """Adds an area, or changes the one with its code: its name, level and parent become these.

        What lies in it moves with it. The first of all is the root, which lies in none.
        """
        before = self._areas.get(area.code)
        if before is None:
            self._check_new(area.code, "code")
        is_root = before.parent is None if before is not None else not self._areas
        if area.parent is None and not is_root:
            raise InvalidArgument(
                f"parent: {area.code} would lie in none, as {self._root().code} does: there is one root",
                field="parent",
            )
        if area.parent is not None:
            self._area(area.parent, "parent")
            if self._lies_in(area.parent, area.code):
                way = " → ".join([area.code, *self._way(area.parent, area.code)])
                raise InvalidArgument(f"parent: areas would lie in one another: {way}", field="parent")
        self._set(area)
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
        self._drop(area, [])
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
        self._set(Area(code, gone.name, parent, gone.level))
        for child in children:
            self._set(replace(self._areas[child], parent=code))
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
            self._check_new(into.code, "into")
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
        for area in areas:
            self._drop(area, [target])
        if isinstance(into, Area):
            self._set(into)
        for area in areas:
            for child in list(self._children.get(area.code, ())):
                self._set(replace(self._areas[child], parent=target))
            for camera_id in list(self._cameras_in.get(area.code, ())):
                self.put_camera(replace(self._cameras[camera_id], area=target))
        gone = set(merged)
        for node in list(self._nodes.values()):
            if node.area in gone:
                self.put_node(replace(node, area=target))
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
        """One area into several new ones, each where it lay unless its parent says otherwise.

        ``children``: of each area that lies in it the part that it comes to lie in; all
        must be named. ``cameras`` and ``nodes``: of ids the part that each stands in;
        those that are not named keep the old code, and are found in every part.
        """
        area = self._area(code)
        self._check_not_root(area, "code")
        names = [part.code for part in parts]
        if len(names) < 2 or len(set(names)) < len(names):
            raise InvalidArgument("parts: two new areas or more, each with a code of its own", field="parts")
        made = [replace(part, parent=part.parent or area.parent) for part in parts]
        for new in made:
            self._check_new(new.code, "parts")
            if self._lies_in(self._area(new.parent or "", "parts").code, code):
                raise InvalidArgument(
                    f"parts: {new.code} cannot lie in {new.parent}; {code} lies in {area.parent}",
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
        for new in made:
            self._set(new)
        for child, part in children.items():
            self._set(replace(self._areas[child], parent=part))
        self._remove(area)
        self._retired[code] = gone
        for camera_id, part in cameras.items():
            self.put_camera(replace(self._cameras[camera_id], area=part))
        for node_id, part in nodes.items():
            self.put_node(replace(self._nodes[node_id], area=part))
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
        for each in dropped:
            # One of the level around it may be gone by now.
            area = self._areas[each.code]
            for child in list(self._children.get(area.code, ())):
                self._set(replace(self._areas[child], parent=area.parent))
            self._remove(area)
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

    def _check_new(self, code: str, field: str) -> None:
        if code in self._areas:
            raise InvalidArgument(f"{field}: there is an area {code} already", field=field)
        if code in self._retired:
            raise InvalidArgument(
                f"{field}: {code} was the code of {self._retired[code].name}, and never means another area: "
                "restore it, or take another code",
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

    def _set(self, area: Area) -> None:
        before = self._areas.get(area.code)
        if before is not None and before.parent is not None:
            self._children[before.parent].pop(area.code, None)
        self._areas[area.code] = area
        if area.parent is not None:
            self._children.setdefault(area.parent, {})[area.code] = None

    def _remove(self, area: Area) -> None:
        del self._areas[area.code]
        if area.parent is not None:
            self._children[area.parent].pop(area.code, None)

    def _drop(self, area: Area, into: Sequence[str]) -> None:
        self._remove(area)
        self._retired[area.code] = _retired(area, into)

    def _forget_camera(self, camera_id: str) -> bool:
        camera = self._cameras.pop(camera_id, None)
        if camera is not None:
            del self._cameras_in[camera.area][camera_id]
        return camera is not None


def _check(catalog: Catalog) -> None:
    AreaTree(catalog.areas, catalog.retired)
    check_catalog(catalog)


def _retired(area: Area, into: Sequence[str]) -> RetiredArea:
    return RetiredArea(area.code, area.name, area.parent, area.level, tuple(into))


def _listed(codes: Sequence[str]) -> str:
    more = f" and {len(codes) - _SHOWN} more" if len(codes) > _SHOWN else ""
    return ", ".join(codes[:_SHOWN]) + more
