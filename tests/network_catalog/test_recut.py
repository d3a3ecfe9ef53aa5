"""Areas are cut anew: what was found by a code is found by it, and nothing is lost."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from nvr.errors import AreaNotFound, InvalidArgument
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.recut import Recut
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry, RetiredArea
from tests.network_catalog.trees import PROVINCE, trees


def camera_id(number: int) -> str:
    return f"0192f0c1-7a5e-7000-8000-{number:012x}"


def with_cameras(areas: tuple[Area, ...], retired: tuple[RetiredArea, ...] = ()) -> Catalog:
    """Two cameras and a node in every area."""
    codes = [area.code for area in areas]
    return Catalog(
        areas,
        retired,
        tuple(NodeEntry(f"n-{code}", f"node-{code.lower()}", code) for code in codes),
        tuple(
            CameraEntry(camera_id(2 * number + half), f"cam-{half}", "", f"n-{code}", code)
            for number, code in enumerate(codes)
            for half in (0, 1)
        ),
    )


WHOLE = with_cameras(PROVINCE)


def found(catalog: Catalog, area: str, told: Catalog | None = None) -> set[str]:
    """Ids of the cameras that a question for an area finds, which tell their areas of a catalog."""
    codes = AreaTree(catalog.areas, catalog.retired).codes(area)
    return {camera.camera_id for camera in (told or catalog).cameras if camera.area in codes}


def of(code: str) -> set[str]:
    return {camera.camera_id for camera in WHOLE.cameras if camera.area == code}


def areas_of(catalog: Catalog) -> dict[str, tuple[str, str | None]]:
    return {area.code: (area.name, area.parent) for area in catalog.areas}


# --- each step ------------------------------------------------------------------


def test_an_area_is_added_renamed_and_moved() -> None:
    steps = Recut(WHOLE).put(Area("new", "Xã Mới", "38-394", "commune"))
    steps.put(Area("new", "Phường Mới", "38-381", "ward"))
    catalog = steps.put(Area("38-381", "Thị xã Bỉm Sơn", "01", "district")).done()
    assert Area("new", "Phường Mới", "38-381", "ward") in catalog.areas
    assert found(catalog, "01") == found(WHOLE, "01") | found(WHOLE, "38-381")
    assert found(catalog, "38") == found(WHOLE, "38") - found(WHOLE, "38-381")
    assert len(catalog.areas) == len(PROVINCE) + 1
    assert with_cameras(PROVINCE) == WHOLE


def test_the_first_area_is_the_root() -> None:
    catalog = Recut(Catalog()).put(Area("VN", "Việt Nam", None, "country")).done()
    assert catalog == Catalog((Area("VN", "Việt Nam", None, "country"),))


def test_areas_are_merged_into_one_of_them() -> None:
    catalog = Recut(WHOLE).merge(["14757", "14760"], into="14757").done()
    assert catalog.retired == (RetiredArea("14760", "Phường Đông Thọ", "38-380", "ward", ("14757",)),)
    assert found(catalog, "14757") == of("14757") | of("14760")
    assert {camera.area for camera in catalog.cameras} == {area.code for area in catalog.areas}
    assert {node.area for node in catalog.nodes} == {area.code for area in catalog.areas}
    # And before the recorders say the new code, by the old one's name as well.
    for asked in ("14757", "14760", "Hàm Rồng", "phường đông thọ"):
        assert found(catalog, asked, WHOLE) == of("14757") | of("14760")


def test_areas_are_merged_into_a_new_one_and_what_lay_in_them_lies_in_it() -> None:
    both = Area("38-999", "Thành phố Thanh Hóa", "38", "district")
    catalog = Recut(WHOLE).merge(["38-380", "38-394"], into=both).done()
    tree = AreaTree(catalog.areas, catalog.retired)
    assert {area.code for area in tree.children("38-999")} == {"14757", "14760", "15448", "15457"}
    assert found(catalog, "38-999", WHOLE) == found(WHOLE, "38-380") | found(WHOLE, "38-394")
    assert found(catalog, "Yên Định", WHOLE) == found(catalog, "38-999", WHOLE)


def test_an_area_and_one_within_it_are_merged_together() -> None:
    catalog = Recut(WHOLE).merge(["38-381", "14815"], into="38-380").done()
    assert found(catalog, "38-380", WHOLE) == found(WHOLE, "38-380") | found(WHOLE, "38-381")


def test_the_root_is_given_another_code_by_a_merger() -> None:
    catalog = Recut(WHOLE).merge(["VN"], into=Area("84", "Việt Nam", None, "country")).done()
    root = AreaTree(catalog.areas, catalog.retired).root
    assert root is not None
    assert root.code == "84"
    assert found(catalog, "VN", WHOLE) == found(catalog, "84") == {each.camera_id for each in WHOLE.cameras}


def parts(*codes: str, parent: str | None = "38") -> list[Area]:
    return [Area(code, f"Huyện {code}", parent, "district") for code in codes]


def test_an_area_is_split_and_its_code_counts_to_every_part() -> None:
    here = sorted(of("38-394"))
    catalog = (
        Recut(WHOLE)
        .split(
            "38-394",
            parts("y1", "y2", parent=None),
            children={"15448": "y1", "15457": "y2"},
            cameras={here[0]: "y2"},
            nodes={"n-38-394": "y1"},
        )
        .done()
    )
    told = {camera.camera_id: camera.area for camera in catalog.cameras}
    assert (told[here[0]], told[here[1]]) == ("y2", "38-394")
    assert found(catalog, "y1") == of("15448") | {here[1]}
    assert found(catalog, "y2") == of("15457") | set(here)
    assert found(catalog, "Yên Định") == found(WHOLE, "38-394")
    # While the recorder says the old code of a camera, it may stand in either.
    assert found(catalog, "y1", WHOLE) == of("15448") | set(here)
    assert {node.area for node in catalog.nodes if node.node_id == "n-38-394"} == {"y1"}


def test_a_tier_is_dropped_and_its_codes_find_what_they_found() -> None:
    catalog = Recut(WHOLE).drop_tier("district").done()
    tree = AreaTree(catalog.areas, catalog.retired)
    assert not [area for area in catalog.areas if area.level == "district"]
    assert {area.code for area in tree.children("38")} == {"14757", "14760", "14815", "15448", "15457"}
    for area in PROVINCE:
        if area.level in ("district", "province", "country"):
            assert found(catalog, area.code) == found(WHOLE, area.code)
    # What stood in the district alone may stand in any of its communes.
    assert found(catalog, "15448") == of("15448") | of("38-394")
    # A district without a commune is a part of its province.
    assert found(catalog, "Thanh Trì") == of("01-020")
    assert of("01-020") <= found(catalog, "01")
    assert catalog.cameras == tuple(sorted(WHOLE.cameras, key=lambda camera: camera.camera_id))


def test_tiers_of_one_level_in_one_another_are_dropped_together() -> None:
    areas = tuple(Area(f"a{n}", "A", f"a{n - 1}" if n else None, "x" if 0 < n < 4 else "y") for n in range(6))
    for order in (areas, areas[::-1]):
        catalog = Recut(Catalog(order)).drop_tier("x").done()
        assert areas_of(catalog) == {"a0": ("A", None), "a4": ("A", "a0"), "a5": ("A", "a4")}
        assert AreaTree(catalog.areas, catalog.retired).codes("a1") == {f"a{n}" for n in range(1, 6)}


def test_an_area_is_retired_and_restored() -> None:
    retired = Recut(WHOLE).retire("15457").done()
    assert found(retired, "15457") == of("15457")
    assert found(retired, "Yên Định") == found(WHOLE, "38-394")
    assert Recut(retired).restore("15457").done() == Recut(WHOLE).done()


def test_a_merger_is_undone_but_for_its_cameras() -> None:
    merged = Recut(WHOLE).merge(["14760"], into="14757").done()
    restored = Recut(merged).restore("14760").done()
    assert restored.areas == Recut(WHOLE).done().areas
    assert restored.retired == ()
    assert found(restored, "14757", merged) == of("14757") | of("14760")


def test_a_dropped_district_comes_back_around_its_communes() -> None:
    dropped = Recut(WHOLE).drop_tier("district").done()
    steps = Recut(dropped)
    for area in PROVINCE:
        if area.level == "district":
            steps.restore(area.code, children=[each.code for each in PROVINCE if each.parent == area.code])
    assert steps.done() == Recut(WHOLE).done()


# --- what cannot be -----------------------------------------------------------------

Step = Callable[[Recut], Any]
AFTER = Recut(WHOLE).merge(["14760"], into="14757").drop_tier("township").done()


@pytest.mark.parametrize(
    ("step", "field", "message"),
    [
        (
            lambda cut: cut.put(Area("14760", "A", "VN", "x")),
            "code",
            "Phường Đông Thọ, and never means",
        ),
        (lambda cut: cut.put(Area("a", "A", None, "x")), "parent", "one root"),
        (lambda cut: cut.put(Area("a", "A", "b", "x")), "parent", "no area 'b'"),
        (lambda cut: cut.put(Area("a", "A", "14760", "x")), "parent", "it is now 14757"),
        (lambda cut: cut.put(Area("a", "A", "15448", "x")), "parent", "Quán Lào.*: nothing took over"),
        (lambda cut: cut.put(Area("VN", "A", "38", "x")), "parent", "VN → 38 → VN"),
        (lambda cut: cut.put(Area("38", "A", "14757", "x")), "parent", "38 → 14757 → 38-380 → 38"),
        (lambda cut: cut.put(Area("38", "A", "38", "x")), "parent", "38 → 38"),
        (lambda cut: cut.put(Area("38", "A", None, "x")), "parent", "one root"),
        (lambda cut: cut.put(Area("38", "A", "nowhere", "x")), "parent", "'nowhere'"),
        (lambda cut: cut.remove_node("nobody"), "node_id", "'nobody'"),
        (lambda cut: cut.remove_camera("none"), "camera_id", "'none'"),
        (lambda cut: cut.retire("38-380"), "code", "14757 still lie in 38-380"),
        (lambda cut: cut.retire("VN"), "code", "the root"),
        (lambda cut: cut.restore("38"), "code", "not retired"),
        (lambda cut: cut.restore("14760", parent="nowhere"), "parent", "'nowhere'"),
        (lambda cut: cut.restore("14760", children=["38-380"]), "children", "38-380 cannot lie in 14760"),
        (lambda cut: cut.restore("14760", children=["nowhere"]), "children", "'nowhere'"),
        (lambda cut: cut.merge(["38-380"], into="38-380"), "codes", "nothing to merge"),
        (lambda cut: cut.merge([], into="38-380"), "codes", "nothing to merge"),
        (lambda cut: cut.merge(["nowhere"], into="38"), "codes", "'nowhere'"),
        (lambda cut: cut.merge(["38"], into="nowhere"), "into", "'nowhere'"),
        (lambda cut: cut.merge(["VN"], into="38"), "codes", "new root"),
        (lambda cut: cut.merge(["38"], into="38-380"), "into", "38-380 lies in 38"),
        (lambda cut: cut.merge(["38"], into=Area("a", "A", "38-380", "x")), "into", "a lies in 38"),
        (lambda cut: cut.merge(["38"], into=Area("a", "A", None, "x")), "into", "one root"),
        (lambda cut: cut.merge(["38"], into=Area("01", "A", "VN", "x")), "into", "already"),
        (lambda cut: cut.split("VN", parts("a", "b")), "code", "the root"),
        (lambda cut: cut.split("38-394", parts("a")), "parts", "two new areas"),
        (lambda cut: cut.split("38-394", parts("a", "a")), "parts", "two new areas"),
        (lambda cut: cut.split("38-394", parts("a", "38")), "parts", "already"),
        (lambda cut: cut.split("38-394", parts("a", "b", parent="38-394")), "parts", "cannot lie in 38-394"),
        (lambda cut: cut.split("38-394", parts("a", "b")), "children", "15457"),
        (lambda cut: cut.split("15457", parts("a", "b"), children={"38": "a"}), "children", "'38' is not in"),
        (lambda cut: cut.split("15457", parts("a", "b"), cameras={"x": "a"}), "cameras", "'x' is not in"),
        (
            lambda cut: cut.split("15457", parts("a", "b"), nodes={"n-15457": "c"}),
            "nodes",
            "'c', which is",
        ),
        (
            lambda cut: cut.split("15457", [Area(f"p{n}", "A", "38", "x") for n in range(1001)]),
            "into",
            "at most 1000",
        ),
        (lambda cut: cut.drop_tier("hamlet"), "level", "there are: commune, country, district"),
        (lambda cut: cut.drop_tier("country"), "level", "the root"),
    ],
)
def test_a_step_that_cannot_be_is_refused_and_changes_nothing(step: Step, field: str, message: str) -> None:
    cut = Recut(AFTER)
    with pytest.raises((InvalidArgument, AreaNotFound), match=message) as caught:
        step(cut)
    assert caught.value.field == field
    assert cut.done() == AFTER


def test_nodes_and_cameras_are_changed_between_steps() -> None:
    camera, node = WHOLE.cameras[0], WHOLE.nodes[0]
    cut = (
        Recut(WHOLE)
        .put_node(NodeEntry("new", "new"))
        .put_camera(replace(camera, node_id="new", area="14760"))
    )
    catalog = cut.merge(["14760"], into="14757").remove_camera(WHOLE.cameras[1].camera_id).done()
    assert replace(camera, node_id="new", area="14757") in catalog.cameras
    assert len(catalog.cameras) == len(WHOLE.cameras) - 1
    with pytest.raises(InvalidArgument, match="node_id"):
        cut.remove_node("new").done()
    assert node not in Recut(catalog).remove_node(node.node_id).done().nodes


def test_too_many_tiers_are_refused_in_the_end() -> None:
    chain = tuple(Area(f"a{n}", "A", f"a{n - 1}" if n else None, "x") for n in range(16))
    with pytest.raises(InvalidArgument, match="17th tier"):
        Recut(Catalog(chain)).put(Area("b", "B", "a15", "x")).done()


def test_what_lay_in_an_area_that_is_gone_is_not_restored_without_a_place() -> None:
    cut = Recut(WHOLE).retire("14815").merge(["38-381"], into="38-380")
    with pytest.raises(InvalidArgument, match="say in which") as caught:
        cut.restore("14815")
    assert caught.value.field == "parent"
    assert areas_of(cut.restore("14815", parent="38-380").done())["14815"] == ("Phường Ba Đình", "38-380")


# --- any steps -----------------------------------------------------------------------


KINDS = ["add", "move", "merge", "merge_new", "split", "drop_tier", "retire", "restore"]


@st.composite
def steps(draw: st.DrawFn, catalog: Catalog, number: int) -> tuple[str, Step]:
    """A step that may be refused."""
    areas, gone = [each.code for each in catalog.areas], [each.code for each in catalog.retired]
    # Mostly of what is there, so that most steps are not refused.
    code = st.sampled_from(areas + areas + gone)
    new = [
        Area(f"s{number}-{each}", "Mới", draw(code), draw(st.sampled_from(["x", "y"]))) for each in range(2)
    ]
    of_it = draw(code)
    match draw(
        st.sampled_from(["add", "move", "merge", "merge_new", "split", "drop_tier", "retire", "restore"])
    ):
        case "add":
            return "add", lambda cut: cut.put(new[0])
        case "move":
            moved = replace(new[0], code=draw(st.sampled_from(areas)))
            return "move", lambda cut: cut.put(moved)
        case "merge":
            merged, into = draw(st.lists(code, min_size=1, max_size=3)), draw(code)
            return "merge", lambda cut: cut.merge(merged, into)
        case "merge_new":
            merged = draw(st.lists(code, min_size=1, max_size=3))
            return "merge", lambda cut: cut.merge(merged, new[0])
        case "split":
            within = [each.code for each in catalog.areas if each.parent == of_it]
            here = [each.camera_id for each in catalog.cameras if each.area == of_it]
            part = st.sampled_from([each.code for each in new])
            children = {each: draw(part) for each in within}
            cameras = {each: draw(part) for each in here if draw(st.booleans())}
            return "split", lambda cut: cut.split(of_it, new, children=children, cameras=cameras)
        case "drop_tier":
            tier = draw(st.sampled_from([each.level for each in catalog.areas if each.parent] or ["x"]))
            return "drop_tier", lambda cut: cut.drop_tier(tier)
        case "retire":
            inner = {each.parent for each in catalog.areas}
            leaf = draw(st.sampled_from([each for each in areas if each not in inner]))
            return "retire", lambda cut: cut.retire(leaf)
        case _:
            inside = draw(st.none() | code)
            around, old = draw(st.lists(code, max_size=2)), draw(st.sampled_from(gone or areas))
            return "restore", lambda cut: cut.restore(old, parent=inside, children=around)


@settings(max_examples=300)
@given(st.data())
def test_no_camera_is_lost_by_any_steps(data: st.DataObject) -> None:
    first = with_cameras(tuple(data.draw(trees(most=8))))
    catalog, ever = first, {area.code for area in first.areas}
    for number in range(data.draw(st.integers(1, 6))):
        kind, step = data.draw(steps(catalog, number))
        try:
            after = step(Recut(catalog)).done()
        except (InvalidArgument, AreaNotFound):
            event(f"{kind} refused")
            continue
        event(kind)
        tree = AreaTree(after.areas, after.retired)
        assert tree.root is not None
        ever |= {area.code for area in after.areas}
        # Every code that ever was is one thing: an area, or retired.
        assert {*tree.areas, *tree.retired} == ever
        # From the root every camera is found, whether its recorder knows of the steps or not.
        everything = {camera.camera_id for camera in first.cameras}
        for told in (first, catalog, after):
            assert found(after, tree.root.code, told) == everything
        # By a code that is no area any more all is found that was found by it.
        for gone in {*tree.retired} - {each.code for each in catalog.retired}:
            for told in (first, catalog):
                assert found(catalog, gone, told) <= found(after, gone, told)
            assert found(catalog, gone) <= found(after, gone)
        for code in ever:
            assert code in tree.codes(code)
            assert tree.now(code) <= set(tree.areas)
            assert tree.now(code)
        catalog = after
