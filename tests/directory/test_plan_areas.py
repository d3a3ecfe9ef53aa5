"""Questions by area: by names with and without accents, and after areas were cut anew."""

import sqlite3
from collections.abc import Callable

import pytest

from nvr.directory.directory import Directory
from nvr.directory.plan import plan
from nvr.directory.types import CameraEntry
from nvr.errors import AreaAmbiguous, AreaNotFound
from nvr.footage.places import FindRequest, InArea
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.held import HeldAreas
from nvr.network_catalog.recut import Recut
from nvr.network_catalog.types import Area, Catalog
from tests.directory.entries import camera, node
from tests.network_catalog.trees import PROVINCE

# Of cameras 1, 2, …: what their recorders tell, whatever becomes of the areas.
TOLD = ["14757", "14757", "14760", "38-380", "14815", "15448", "01-001", "", "40-7"]


def directory() -> Directory:
    made = Directory(None, node("top"))
    made.put_cameras(CameraEntry("", camera(n, area=area)) for n, area in enumerate(TOLD, 1))
    return made


def asking(catalog: Catalog) -> Callable[[str], list[int]]:
    """Asks for the numbers of an area's cameras."""
    cameras, areas = directory(), AreaTree(catalog.areas, catalog.retired)

    def ask(area: str) -> list[int]:
        planned = plan(cameras, FindRequest(InArea(area)), HeldAreas(cameras, lambda: areas))
        return sorted(int(each.camera.id.rpartition("-")[2], 16) for each in planned.items)

    return ask


@pytest.mark.parametrize(
    ("area", "numbers"),
    [
        ("14757", [1, 2]),
        ("Phường Hàm Rồng", [1, 2]),
        ("ham rong", [1, 2]),
        ("TP Thanh Hoá", [1, 2, 3, 4]),
        ("thanh pho thanh hoa", [1, 2, 3, 4]),
        ("tỉnh Thanh Hóa", [1, 2, 3, 4, 5, 6]),
        ("Ba Đình, Thanh Hóa", [5]),
        ("quận Ba Đình", [7]),
        ("VIET NAM", [1, 2, 3, 4, 5, 6, 7]),
        ("Phúc Xá", []),
        ("40-7", [9]),  # in no catalog, and a recorder tells it
    ],
)
def test_cameras_of_an_area_by_its_name(area: str, numbers: list[int]) -> None:
    assert asking(Catalog(PROVINCE))(area) == numbers


def test_a_name_of_several_areas_or_of_none_is_no_plan() -> None:
    ask = asking(Catalog(PROVINCE))
    with pytest.raises(AreaAmbiguous, match="14815"):
        ask("ba dinh")
    with pytest.raises(AreaNotFound, match="did you mean 14757"):
        ask("Hàm Rộng")


def test_cameras_are_found_after_a_merger_while_they_tell_their_old_areas() -> None:
    new = Area("14999", "Phường Đông Sơn", "38-380", "ward")
    ask = asking(Recut(Catalog(PROVINCE)).merge(["14757", "14760"], into=new).done())
    for area in ("14999", "Đông Sơn", "dong son", "14757", "Hàm Rồng", "ham rong"):
        assert ask(area) == [1, 2, 3]
    assert ask("TP Thanh Hóa") == [1, 2, 3, 4]


def test_cameras_are_found_after_the_districts_are_gone() -> None:
    ask = asking(Recut(Catalog(PROVINCE)).drop_tier("district").done())
    assert ask("tỉnh Thanh Hóa") == [1, 2, 3, 4, 5, 6]
    assert ask("thành phố Thanh Hóa") == [1, 2, 3, 4]
    assert ask("Bỉm Sơn") == [5]
    # One that only told its district may stand in any of its wards.
    assert ask("Hàm Rồng") == [1, 2, 4]


def test_cameras_of_a_split_area_are_found_in_each_part() -> None:
    parts = [Area(code, f"Phường {code}", None, "ward") for code in ("b1", "b2")]
    ask = asking(Recut(Catalog(PROVINCE)).split("14815", parts).done())
    assert ask("b1") == ask("b2") == ask("Ba Đình, Bỉm Sơn") == [5]


def test_a_code_that_is_in_no_catalog_is_found_though_it_is_like_a_name() -> None:
    cameras, tree = directory(), AreaTree(PROVINCE)
    areas = HeldAreas(cameras, lambda: tree)
    assert areas.codes("ham-rong") == {"14757"}
    told = [camera(20, area="ham-rong"), camera(21, area="ba-dinh")]
    cameras.put_cameras(CameraEntry("", each) for each in told)
    assert areas.codes("ham-rong") == {"14757", "ham-rong"}
    assert areas.codes("Hàm Rồng") == {"14757"}
    # A name of several areas, and the code of cameras.
    assert areas.codes("ba-dinh") == {"ba-dinh"}
    with pytest.raises(AreaAmbiguous):
        areas.codes("Ba Đình")


def test_a_newer_catalog_counts_from_the_next_question_on() -> None:
    cameras = directory()
    trees = [AreaTree()]
    areas = HeldAreas(cameras, lambda: trees[-1])
    assert areas.codes("14757") == {"14757"}
    with pytest.raises(AreaNotFound, match="no camera below top"):
        areas.codes("Hàm Rồng")
    trees.append(AreaTree(PROVINCE))
    assert areas.codes("Hàm Rồng") == {"14757"}


def test_an_area_of_a_hundred_thousand_codes_is_one_value_of_a_query() -> None:
    cameras = directory()
    cameras.database.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 100)
    hamlets = (Area(f"14757-{n}", f"Thôn {n}", "14757", "hamlet") for n in range(99_000))
    tree = AreaTree([*PROVINCE, *hamlets])
    areas = HeldAreas(cameras, lambda: tree)
    found = plan(cameras, FindRequest(InArea("38"), limit=2), areas)
    assert (len(found.items), found.remaining, found.visited) == (2, 4, 2)
