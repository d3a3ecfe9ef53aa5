"""Values of the network catalog to protobuf and back. Raises :exc:`InvalidArgument` for what is none."""

from collections.abc import Callable, Iterable

from nvr.errors import InvalidArgument
from nvr.footage import convert
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.changes import (
    Change,
    DropLevel,
    MergeAreas,
    PutArea,
    PutCamera,
    PutNode,
    RemoveCamera,
    RemoveNode,
    RestoreArea,
    RetireArea,
    SplitArea,
)
from nvr.network_catalog.types import (
    Area,
    CameraEntry,
    Catalog,
    NodeEntry,
    RetiredArea,
    check_catalog,
)
from nvr.network_catalog.versions import Version, catalog_of
from nvr.v1 import catalog_pb2


def area_to_pb(value: Area | RetiredArea) -> catalog_pb2.Area:
    """An area."""
    return catalog_pb2.Area(code=value.code, name=value.name, parent=value.parent or "", level=value.level)


def area_from_pb(value: catalog_pb2.Area) -> Area:
    """An area."""
    return Area(value.code, value.name, value.parent or None, value.level)


def record_to_pb(value: Area | RetiredArea) -> catalog_pb2.AreaRecord:
    """An area, or a former one."""
    record = catalog_pb2.AreaRecord(area=area_to_pb(value))
    if isinstance(value, RetiredArea):
        record.former = True
        record.into.extend(value.into)
    return record


def record_from_pb(value: catalog_pb2.AreaRecord) -> Area | RetiredArea:
    """An area, or a former one."""
    area = area_from_pb(value.area)
    if not value.former:
        return area
    return RetiredArea(area.code, area.name, area.parent, area.level, tuple(value.into))


def node_to_pb(value: NodeEntry) -> catalog_pb2.CatalogNode:
    """A node."""
    return catalog_pb2.CatalogNode(node_id=value.node_id, name=value.name, title=value.title, area=value.area)


def node_from_pb(value: catalog_pb2.CatalogNode) -> NodeEntry:
    """A node."""
    return NodeEntry(value.node_id, value.name, area=value.area, title=value.title)


def camera_to_pb(value: CameraEntry) -> catalog_pb2.CatalogCamera:
    """A camera."""
    return catalog_pb2.CatalogCamera(
        camera_id=value.camera_id,
        node_id=value.node_id,
        name=value.name,
        title=value.title,
        area=value.area,
        place=None if value.place is None else convert.place_to_pb(value.place),
        height_m=value.height_m,
        view=None if value.view is None else convert.view_to_pb(value.view),
        owner=convert.owner_to_pb(value.owner),
    )


def camera_from_pb(value: catalog_pb2.CatalogCamera) -> CameraEntry:
    """A camera."""
    return CameraEntry(
        value.camera_id,
        value.name,
        title=value.title,
        node_id=value.node_id,
        area=value.area,
        place=convert.place_from_pb(value.place) if value.HasField("place") else None,
        height_m=value.height_m if value.HasField("height_m") else None,
        view=convert.view_from_pb(value.view) if value.HasField("view") else None,
        owner=convert.owner_from_pb(value.owner),
    )


def change_to_pb(value: Change) -> catalog_pb2.CatalogChange:
    """A change."""
    match value:
        case PutArea(area):
            return catalog_pb2.CatalogChange(put_area=area_to_pb(area))
        case MergeAreas(codes, into):
            merge = catalog_pb2.MergeAreas(codes=codes, into=area_to_pb(into))
            return catalog_pb2.CatalogChange(merge_areas=merge)
        case SplitArea(code, parts, children, cameras, nodes):
            split = catalog_pb2.SplitArea(
                code=code,
                parts=map(area_to_pb, parts),
                children=children,
                cameras=cameras,
                nodes=nodes,
            )
            return catalog_pb2.CatalogChange(split_area=split)
        case DropLevel(level):
            return catalog_pb2.CatalogChange(drop_level=catalog_pb2.DropLevel(level=level))
        case PutNode(node):
            return catalog_pb2.CatalogChange(put_node=node_to_pb(node))
        case RemoveNode(node_id):
            return catalog_pb2.CatalogChange(remove_node=node_id)
        case PutCamera(camera):
            return catalog_pb2.CatalogChange(put_camera=camera_to_pb(camera))
        case RemoveCamera(camera_id):
            return catalog_pb2.CatalogChange(remove_camera=camera_id)
        case RetireArea(code):
            return catalog_pb2.CatalogChange(retire_area=code)
        case RestoreArea(code, parent, children):
            restore = catalog_pb2.RestoreArea(code=code, parent=parent or "", children=children)
            return catalog_pb2.CatalogChange(restore_area=restore)


def change_from_pb(value: catalog_pb2.CatalogChange) -> Change:
    """A change. Raises :exc:`InvalidArgument` for one of a newer version of the contract, or none."""
    make = _CHANGES.get(value.WhichOneof("kind") or "")
    if make is None:
        raise InvalidArgument("a change of a kind that this node does not know, or of none")
    return make(value)


_CHANGES: dict[str, Callable[[catalog_pb2.CatalogChange], Change]] = {
    "put_area": lambda value: PutArea(area_from_pb(value.put_area)),
    "merge_areas": lambda value: MergeAreas(
        tuple(value.merge_areas.codes), area_from_pb(value.merge_areas.into)
    ),
    "split_area": lambda value: SplitArea(
        value.split_area.code,
        tuple(map(area_from_pb, value.split_area.parts)),
        dict(value.split_area.children),
        dict(value.split_area.cameras),
        dict(value.split_area.nodes),
    ),
    "drop_level": lambda value: DropLevel(value.drop_level.level),
    "put_node": lambda value: PutNode(node_from_pb(value.put_node)),
    "remove_node": lambda value: RemoveNode(value.remove_node),
    "put_camera": lambda value: PutCamera(camera_from_pb(value.put_camera)),
    "remove_camera": lambda value: RemoveCamera(value.remove_camera),
    "retire_area": lambda value: RetireArea(value.retire_area),
    "restore_area": lambda value: RestoreArea(
        value.restore_area.code, value.restore_area.parent or None, tuple(value.restore_area.children)
    ),
}


def version_to_pb(value: Version) -> catalog_pb2.CatalogVersion:
    """A version."""
    return catalog_pb2.CatalogVersion(
        number=value.number,
        made_us=value.made_us,
        actor=value.actor,
        summary=value.summary,
        request_id=value.request_id,
        undoes=value.undoes,
        added=value.added,
        changed=value.changed,
        removed=value.removed,
    )


def version_from_pb(value: catalog_pb2.CatalogVersion) -> Version:
    """A version; its id does not travel."""
    return Version(
        value.number,
        "",
        value.made_us,
        value.actor,
        value.summary,
        value.request_id,
        value.undoes,
        value.added,
        value.changed,
        value.removed,
    )


def held_to_pb(
    catalog_id: str, version: Version, content: Catalog, cameras: Iterable[CameraEntry]
) -> catalog_pb2.HeldCatalog:
    """The part of a version that a node holds."""
    return catalog_pb2.HeldCatalog(
        catalog_id=catalog_id,
        version=version.number,
        version_id=version.id,
        made_us=version.made_us,
        areas=[*map(record_to_pb, content.areas), *map(record_to_pb, content.retired)],
        nodes=map(node_to_pb, content.nodes),
        cameras=map(camera_to_pb, cameras),
    )


def held_from_pb(value: catalog_pb2.HeldCatalog) -> tuple[Version, Catalog, AreaTree]:
    """A version and what a node holds of it. Raises :exc:`InvalidArgument` where it does not fit together."""
    content = catalog_of(
        [
            *map(record_from_pb, value.areas),
            *map(node_from_pb, value.nodes),
            *map(camera_from_pb, value.cameras),
        ]
    )
    check_catalog(content)
    return (
        Version(value.version, value.version_id, value.made_us, "", ""),
        content,
        AreaTree(content.areas, content.retired).prepared(),
    )
