"""Which nodes and cameras of a directory a catalog lacks."""

from nvr.cli.enrolment import Told, enrolment
from nvr.directory.types import CameraEntry as ToldCamera
from nvr.directory.types import NodeEntry as ToldNode
from nvr.footage.types import Camera, Place
from nvr.network_catalog.changes import PutCamera, PutNode
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry, RetiredArea

A, B = "a" * 64, "b" * 64
NODES = (ToldNode(B, "commune-b"), ToldNode(A, "commune-a"))


def camera_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012d}"


def told(number: int, name: str, node: str = A, *, assigned: bool = True, epoch: int = 0) -> ToldCamera:
    camera = Camera(camera_id(number), name, place=Place(19.9, 105.8), area="old")
    return ToldCamera(node, camera, assigned=assigned, epoch=epoch)


def test_nodes_come_before_their_cameras() -> None:
    found = enrolment(Catalog(), Told(NODES, (told(1, "yard", B), told(2, "gate"))))
    assert [each.name for each in found.nodes] == ["commune-a", "commune-b"]
    assert [(each.node_id, each.name) for each in found.cameras] == [(A, "gate"), (B, "yard")]
    assert [type(each) for each in found.changes] == [PutNode, PutNode, PutCamera, PutCamera]


def test_a_cameras_home_is_who_is_to_record_it_of_the_higher_epoch() -> None:
    cameras = (
        told(1, "gate", B, epoch=1),
        told(1, "gate", A, epoch=2),
        told(2, "yard", B, assigned=False, epoch=9),
    )
    found = enrolment(Catalog(), Told(NODES, cameras))
    assert [(each.node_id, each.name) for each in found.cameras] == [(A, "gate")]


def test_what_the_catalog_has_stays_as_it_is() -> None:
    areas = (Area("VN", "Việt Nam", None, "country"),)
    retired = (RetiredArea("old", "Cũ", "VN", "ward"),)
    known = Catalog(
        areas, retired, (NodeEntry(A, "renamed"),), (CameraEntry(camera_id(1), "gate", node_id=A),)
    )
    cameras = (told(1, "other-name"), told(2, "gate"), told(3, "yard"))
    found = enrolment(known, Told(NODES, cameras))
    assert [each.name for each in found.nodes] == ["commune-b"]
    # A former code is one that the catalog knows.
    assert [(each.camera_id, each.area) for each in found.cameras] == [(camera_id(3), "old")]
    (warning,) = found.warnings
    assert warning.startswith("renamed/gate: left out: the catalog has another camera of this name")


def test_an_area_that_the_catalog_has_not_is_left_out() -> None:
    found = enrolment(Catalog(), Told(NODES, (told(1, "gate"), told(2, "yard"))))
    assert {each.area for each in found.cameras} == {""}
    assert found.warnings == [
        "the catalog has no area 'old': 2 cameras that are in it are enrolled without an area"
    ]
