"""Entries of the network's catalog: what is not well-formed does not come to be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nvr.errors import InvalidArgument
from nvr.footage.types import Place, View
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry, RetiredArea, check_catalog

CAMERA = "0192f0c1-7a5e-7000-8000-00000000000{}"
NFD = "Thanh Ho\N{LATIN SMALL LETTER A}\N{COMBINING ACUTE ACCENT}"


def camera(number: int = 1, **fields: Any) -> CameraEntry:
    return CameraEntry(**({"camera_id": CAMERA.format(number), "name": f"cam-{number}"} | fields))


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Area("a b", "A", None, "x"), "code"),
        (lambda: Area("", "A", None, "x"), "code"),
        (lambda: Area("a" * 64, "A", None, "x"), "code"),
        (lambda: Area("a\n", "A", None, "x"), "code"),
        (lambda: Area("a", "", None, "x"), "name"),
        (lambda: Area("a", " \t ", None, "x"), "name"),
        (lambda: Area("a", "Ba Đình, Hà Nội", None, "x"), "name"),
        (lambda: Area("a", "Bell\x07", None, "x"), "name"),
        (lambda: Area("a", "\u202eturned", None, "x"), "name"),
        (lambda: Area("a", "x" * 101, None, "x"), "name"),
        (lambda: Area("a", "x " * 1_000_000, None, "x"), "name"),
        (lambda: Area("a", "A", "b/c", "x"), "parent"),
        (lambda: Area("a", "A", None, "Ward"), "level"),
        (lambda: Area("a", "A", None, ""), "level"),
        (lambda: RetiredArea("a", "A", None, "x", ("b c",)), "into"),
        (lambda: RetiredArea("a", "A", None, "x", ("a",)), "into"),
        (lambda: RetiredArea("a", "A", None, "x", ("b", "b")), "into"),
        (lambda: RetiredArea("a", "A", None, "x", tuple(f"b{n}" for n in range(1001))), "into"),
        (lambda: NodeEntry("", "n"), "node_id"),
        (lambda: NodeEntry("n" * 65, "n"), "node_id"),
        (lambda: NodeEntry("1", "Not A Slug"), "name"),
        (lambda: NodeEntry("1", "n", area="a b"), "area"),
        (lambda: NodeEntry("1", "n", title="x" * 201), "title"),
        (lambda: CameraEntry("gate", "gate"), "camera_id"),
        (lambda: camera(name="Gate"), "name"),
        (lambda: camera(title="\x00"), "title"),
        (lambda: camera(node_id="a/b"), "node_id"),
        (lambda: camera(area="ñ"), "area"),
        (lambda: camera(place=Place(91, 0)), "place.latitude"),
        (lambda: camera(place=Place(float("nan"), 0)), "place.latitude"),
        (lambda: camera(place=Place(0, -180.1)), "place.longitude"),
        (lambda: camera(height_m=9001.0), "height_m"),
        (lambda: camera(view=View(361, 90)), "view.direction_deg"),
        (lambda: camera(view=View(0, 0)), "view.angle_deg"),
        (lambda: camera(view=View(0, 90, -1)), "view.reach_m"),
    ],
)
def test_what_is_not_well_formed_is_refused_by_field(make: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert caught.value.field == field
    assert len(str(caught.value)) < 400


def test_a_name_is_kept_in_one_form() -> None:
    area = Area("38", f"  Tỉnh \t {NFD} ", None, "province")
    assert area.name == "Tỉnh Thanh Hoá"
    assert replace(area, code="39").name == area.name


WHOLE = Catalog(
    areas=(Area("r", "R", None, "province"), Area("c", "C", "r", "commune")),
    retired=(RetiredArea("old", "Old", "r", "commune", ("c",)),),
    nodes=(NodeEntry("n1", "one", "c"), NodeEntry("n2", "two", "old")),
    cameras=(camera(1, node_id="n1", area="c"), camera(2, node_id="n2", area="old"), camera(3)),
)


def test_a_catalog_whose_entries_fit_together_is_accepted() -> None:
    check_catalog(WHOLE)
    check_catalog(Catalog())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"areas": WHOLE.areas + WHOLE.areas[:1]}, "areas.code"),
        ({"retired": (RetiredArea("c", "C", "r", "commune"),)}, "areas.code"),
        ({"nodes": (*WHOLE.nodes, NodeEntry("n1", "three"))}, "nodes.node_id"),
        ({"nodes": (*WHOLE.nodes, NodeEntry("n3", "three", "nowhere"))}, "nodes.area"),
        ({"cameras": (*WHOLE.cameras, camera(1, name="other"))}, "cameras.camera_id"),
        ({"cameras": (*WHOLE.cameras, camera(4, name="cam-1", node_id="n1"))}, "cameras.name"),
        ({"cameras": (camera(1, area="nowhere"),)}, "cameras.area"),
        ({"cameras": (camera(1, node_id="nobody"),)}, "cameras.node_id"),
    ],
)
def test_entries_that_do_not_fit_together_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_catalog(replace(WHOLE, **change))
    assert caught.value.field == field


def test_too_many_areas_are_refused() -> None:
    areas = tuple(Area(str(n), "A", None if n == 0 else "0", "x") for n in range(100_001))
    with pytest.raises(InvalidArgument, match="100,001"):
        check_catalog(Catalog(areas=areas))
