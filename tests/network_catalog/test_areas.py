"""The tree of areas and the codes that a question means."""

import unicodedata
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import AreaAmbiguous, AreaNotFound, InvalidArgument
from nvr.network_catalog import names
from nvr.network_catalog.areas import AreaTree
from nvr.network_catalog.types import Area, RetiredArea
from tests.network_catalog.trees import PROVINCE, trees

TREE = AreaTree(PROVINCE)


def within(areas: Iterable[Area], top: str) -> set[str]:
    """The slow way: all whose way up passes an area."""
    parents = {area.code: area.parent for area in areas}

    def ways(code: str | None) -> Iterable[str]:
        while code is not None:
            yield code
            code = parents[code]

    return {code for code in parents if top in ways(code)}


# --- the tree -----------------------------------------------------------------


@given(trees())
def test_a_tree_is_what_its_parents_say(areas: list[Area]) -> None:
    tree = AreaTree(areas)
    assert next(iter(tree)).code == "a0"
    assert {area.code for area in tree} == {area.code for area in areas}
    for area in areas:
        assert {each.code for each in tree.children(area.code)} == {
            each.code for each in areas if each.parent == area.code
        }
        assert {each.code for each in tree.descendants(area.code)} | {area.code} == within(areas, area.code)
        assert tree.codes(area.code) == within(areas, area.code)
        way = [step.code for step in tree.path(area.code)]
        assert way[0] == "a0"
        assert way[-1] == area.code


def test_there_may_be_no_area_at_all() -> None:
    tree = AreaTree()
    assert tree.root is None
    assert len(tree) == 0
    with pytest.raises(AreaNotFound):
        tree.codes("Thanh Hóa")


def area(code: str, parent: str | None) -> Area:
    return Area(code, f"Area {code}", parent, "commune")


def retired(code: str, *into: str, parent: str | None = "r") -> RetiredArea:
    return RetiredArea(code, f"Area {code}", parent, "commune", into)


@pytest.mark.parametrize(
    ("areas", "gone", "message"),
    [
        ([area("r", None), area("s", None)], [], "2 areas lie in none"),
        ([area("r", None), area("a", "nowhere")], [], "a .* lies in 'nowhere', which is no area$"),
        ([area("r", None), area("a", "old")], [retired("old", "r")], "which is no area any more"),
        ([area("a", "a")], [], "a → a"),
        ([area("r", None), area("a", "c"), area("b", "a"), area("c", "b")], [], "a → c → b → a"),
        ([area("r", None), area("x", "a"), area("a", "b"), area("b", "a")], [], "a → b → a|b → a → b"),
        ([area("r", None), area("r", None)], [], "r is there twice"),
        ([area("r", None)], [retired("r", "r2")], "r is there twice"),
        ([area("r", None)], [retired("old", "nowhere")], "old counts to 'nowhere', which never was"),
        ([area("r", None)], [retired("old", parent="nowhere")], "old counts to 'nowhere'"),
        ([area("r", None)], [retired("old", "r", parent="nowhere")], "old counts to 'nowhere'"),
        ([area("r", None)], [retired("old", parent=None)], "old counts to nothing"),
        ([area("r", None)], [retired("a", "b"), retired("b", "a")], "a → b → a|b → a → b"),
        ([area("r", None)], [retired("a", parent="b"), retired("b", "a")], "in a circle"),
        ([area("r", None), *(area(f"t{n}", f"t{n - 1}" if n else "r") for n in range(16))], [], "17th tier"),
    ],
)
def test_what_is_no_tree_is_refused(areas: Sequence[Area], gone: Sequence[RetiredArea], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        AreaTree(areas, gone)


def test_a_circle_of_thousands_is_told_in_a_line() -> None:
    ring = [area(f"a{n}", f"a{(n + 1) % 5000}") for n in range(5000)]
    with pytest.raises(InvalidArgument, match="…") as caught:
        AreaTree([area("r", None), *ring])
    assert len(str(caught.value)) < 400


def test_a_chain_of_mergers_is_followed_however_long() -> None:
    gone = [retired(f"o{n}", f"o{n + 1}") for n in range(20_000)] + [retired("o20000", "r")]
    tree = AreaTree([area("r", None)], gone)
    assert tree.now("o0") == {"r"}
    assert len(tree.codes("o0")) == 20_002


def test_retired_codes_that_multiply_are_refused_before_they_fill_memory() -> None:
    parts = [area(f"p{n}", "r") for n in range(1000)]
    gone = [retired(f"o{n}", *(part.code for part in parts)) for n in range(1200)]
    with pytest.raises(InvalidArgument, match="1,000,000"):
        AreaTree([area("r", None), *parts], gone)


# --- codes that no longer are areas ---------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Area], list[RetiredArea]]:
    areas = draw(trees(most=10))
    gone: list[RetiredArea] = []
    for number in range(draw(st.integers(0, 8))):
        codes = [*(each.code for each in areas), *(each.code for each in gone)]
        into = draw(st.lists(st.sampled_from(codes), max_size=3, unique=True))
        parent = draw(st.sampled_from(codes))
        gone.append(RetiredArea(f"o{number}", "Old", parent, "commune", tuple(into)))
    return areas, draw(st.permutations(gone))


@given(histories())
def test_what_bears_an_old_code_is_found_from_all_that_it_counts_to(
    history: tuple[list[Area], list[RetiredArea]],
) -> None:
    areas, gone = history
    old = {each.code: each for each in gone}
    tree = AreaTree(areas, gone)

    def goals(code: str) -> list[str]:
        gone = old[code]
        return list(gone.into) or [str(gone.parent)]

    def counts_to(code: str) -> set[str]:
        return set().union(*map(counts_to, goals(code))) if code in old else {code}

    def reaches(code: str, goal: str) -> bool:
        return code == goal or (code in old and any(reaches(each, goal) for each in goals(code)))

    def asked(code: str) -> set[str]:
        if code not in old:
            below = within(areas, code)
            return below | {each for each in old if counts_to(each) & below}
        if old[code].into:
            return set().union(*map(asked, old[code].into))
        return {each for each in old if reaches(each, code)}

    for code in (*(each.code for each in areas), *old):
        assert tree.now(code) == counts_to(code)
        found = tree.codes(code)
        assert found == asked(code)
        assert code in found
    assert tree.codes("a0") == {each.code for each in areas} | set(old)


# --- names ------------------------------------------------------------------------


CITY_OR_PROVINCE = {
    "38 (Tỉnh Thanh Hóa, Việt Nam)",
    "38-380 (Thành phố Thanh Hóa, Tỉnh Thanh Hóa, Việt Nam)",
}


def code_of(text: str) -> str:
    return TREE.find(text).code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("38-381", "38-381"),
        (" 38 ", "38"),
        ("Thị xã Bỉm Sơn", "38-381"),
        ("Bỉm Sơn", "38-381"),
        ("bim son", "38-381"),
        ("BIM-SON", "38-381"),
        ("  bim \t son ", "38-381"),
        ("TX. Bỉm Sơn", "38-381"),
        ("thi xa bim son", "38-381"),
        (unicodedata.normalize("NFD", "Bỉm Sơn"), "38-381"),
        ("dong tho", "14760"),
        ("Ðông Thọ", "14760"),  # with the letter eth, as old fonts had it
        ("P.Đông Thọ", "14760"),
        ("Tỉnh Thanh Hoá", "38"),
        ("Tỉnh Thanh Hóa", "38"),
        ("tp thanh hoa", "38-380"),
        ("TP. Thanh Hóa", "38-380"),
        ("Thanh Hóa, Thanh Hóa", "38-380"),
        ("Quan Ba Dinh", "01-001"),
        ("ba dinh, bim son", "14815"),
        ("Ba Đình, Thanh Hóa", "14815"),
        ("Ba Đình, tỉnh Thanh Hóa, Việt Nam", "14815"),
        ("Ba Đình, Hà Nội", "01-001"),
        ("Phúc Xá, Ba Đình, Hà Nội", "00001"),
        ("Hà Nội", "01"),
    ],
)
def test_an_area_is_found_as_people_write_it(text: str, code: str) -> None:
    assert code_of(text) == code


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        (
            "Thanh Hóa",
            {"38 (Tỉnh Thanh Hóa, Việt Nam)", "38-380 (Thành phố Thanh Hóa, Tỉnh Thanh Hóa, Việt Nam)"},
        ),
        (
            "thanh hoa, viet nam",
            {"38 (Tỉnh Thanh Hóa, Việt Nam)", "38-380 (Thành phố Thanh Hóa, Tỉnh Thanh Hóa, Việt Nam)"},
        ),
        (
            "ba dinh",
            {
                "01-001 (Quận Ba Đình, Thành phố Hà Nội, Việt Nam)",
                "14815 (Phường Ba Đình, Thị xã Bỉm Sơn, Tỉnh Thanh Hóa, Việt Nam)",
            },
        ),
    ],
)
def test_a_name_of_several_areas_is_an_error_that_lists_them(text: str, candidates: set[str]) -> None:
    with pytest.raises(AreaAmbiguous) as caught:
        TREE.codes(text)
    assert set(caught.value.facts["candidates"].split("; ")) == candidates
    assert caught.value.field == "where.area"
    # Each can be asked for as it is told.
    for candidate in candidates:
        code, _, way = candidate.rstrip(")").partition(" (")
        assert code_of(code) == code
        assert code_of(way) == code


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("Bỉn Sơn", "38-381"),
        ("Quan Lao xx", "15448"),
        ("Hàm Rông", "14757"),
        ("hamrong", "14757"),
        ("Ba Dinh, Yen Dinh", None),
        ("Quận Bỉm Sơn, Hà Nội", None),
        ("thành phố Bỉm Sơn", None),
    ],
)
def test_what_is_like_a_name_that_is_not_there_is_told(text: str, near: str | None) -> None:
    with pytest.raises(AreaNotFound, match="did you mean") as caught:
        TREE.codes(text)
    if near is not None:
        assert near in caught.value.facts["near"].split(",")


@pytest.mark.parametrize("text", ["", ",", " , ,", "!", "xã", "zzzzzz", "x" * 100_000, "a," * 100_000])
def test_what_is_like_nothing_is_not_found(text: str) -> None:
    with pytest.raises(AreaNotFound) as caught:
        TREE.codes(text)
    assert len(str(caught.value)) < 600


def test_accents_in_a_question_count() -> None:
    both = AreaTree(
        [area("r", None), Area("1", "Xã Tân Lập", "r", "commune"), Area("2", "Xã Tấn Lập", "r", "commune")]
    )
    assert both.find("Tân Lập").code == "1"
    assert both.find("xa Tấn Lập").code == "2"
    with pytest.raises(AreaAmbiguous):
        both.find("tan lap")
    one = AreaTree([area("r", None), Area("1", "Xã Tân Lập", "r", "commune")])
    assert one.find("tan lap").code == "1"
    # A syllable without an accent stands for any.
    assert one.find("tan Lập").code == "1"
    with pytest.raises(AreaNotFound, match="did you mean 1 "):
        one.find("Tấn Lập")


@pytest.mark.parametrize(
    ("name", "level", "asked", "found"),
    [
        ("Xã Bản Qua", "commune", ["Bản Qua", "ban qua", "xã bản qua", "x. Bản Qua"], True),
        ("Bản Qua", "commune", ["Bản Qua", "qua", "xã Bản Qua"], True),
        ("Xã Xà Bang", "commune", ["Xà Bang", "xa bang", "xã Xà Bang"], True),
        ("Xà Bang", "commune", ["Xà Bang", "xa bang"], True),
        ("Xã Bang", "commune", ["Xà Bang"], False),
        ("Phường 01", "ward", ["phường 1", "P1", "p.01", "1", "Phuong 1"], True),
        ("Quận 1", "district", ["Phường 1", "11"], False),
        ("Huyện Ea H'leo", "district", ["ea hleo", "Ea H’Leo", "EA H`LEO"], True),
        ("Tỉnh Đắk Lắk", "province", ["Đắk Lắk", "dak lak", "đắk-lắk", "Đak Lak"], True),
        ("Tỉnh Đắk Lắk", "province", ["Đăk Lăk", "Đắc Lắc"], False),
        ("Xã Dông Sơn", "commune", ["đông son", "đong son"], False),
        ("Thanh Hóa", "province", ["tỉnh Thanh Hóa", "thanh pho thanh hoa"], True),
        ("Thanh Hóa", "province", ["xã Thanh Hóa", "huyện thanh hoa"], False),
        ("Thanh Hóa", "tier-1", ["xã Thanh Hóa", "huyện thanh hoa"], True),
        ("Xã", "commune", ["xã", "xa"], True),
    ],
)
def test_the_word_for_its_kind_may_stand_before_a_name(
    name: str, level: str, asked: list[str], found: bool
) -> None:
    tree = AreaTree([area("r", None), Area("it", name, "r", level)])
    for text in asked:
        if found:
            assert tree.find(text).code == "it"
        else:
            with pytest.raises(AreaNotFound):
                tree.find(text)


def test_a_name_of_an_area_counts_before_that_of_a_retired_one() -> None:
    """As when communes are merged into one that keeps the name of one of them."""
    old = RetiredArea("1", "Xã Quảng Thọ", "r", "commune", ("3",))
    other = RetiredArea("2", "Xã Quảng Vinh", "r", "commune", ("3",))
    tree = AreaTree([area("r", None), Area("3", "Phường Quảng Thọ", "r", "ward")], [old, other])
    assert tree.find("Quảng Thọ").code == "3"
    assert tree.find("Xã Quảng Thọ").code == "1"
    assert tree.find("quang vinh").code == "2"
    assert tree.codes("quang vinh") == {"1", "2", "3"}


def test_retired_codes_of_one_name_can_be_asked_for_as_they_are_told() -> None:
    gone = [RetiredArea(code, "Xã Tân Lập", parent, "commune") for code, parent in (("1", "b"), ("2", "c"))]
    tree = AreaTree([area("r", None), area("b", "r"), area("c", "r")], gone)
    with pytest.raises(AreaAmbiguous) as caught:
        tree.find("tan lap")
    told = caught.value.facts["candidates"].split("; ")
    assert told == ["1 (Xã Tân Lập, Area b, Area r) [former]", "2 (Xã Tân Lập, Area c, Area r) [former]"]
    for each in told:
        code, _, way = each.removesuffix(") [former]").partition(" (")
        assert tree.find(way).code == code


def test_a_former_district_still_narrows_a_name() -> None:
    district = RetiredArea("d1", "Huyện Yên Định", "r", "district", ("1",))
    tree = AreaTree(
        [area("r", None), Area("1", "Xã Yên Thọ", "r", "commune"), Area("2", "Xã Yên Thọ", "r", "commune")],
        [district],
    )
    assert tree.find("Yên Thọ, Yên Định").code == "1"
    with pytest.raises(AreaAmbiguous):
        tree.find("Yên Thọ")


def test_a_code_that_no_longer_is_an_area_says_what_it_is_now() -> None:
    tree = AreaTree([area("r", None), area("b", "r")], [retired("a", "b"), retired("c")])
    with pytest.raises(
        AreaNotFound, match=r"a \(Area a, Area r\) \[former\] .* it is now b \(Area b"
    ) as caught:
        tree.area("a")
    assert caught.value.facts == {"into": "b"}
    with pytest.raises(AreaNotFound, match="nothing took over"):
        tree.area("c")
    assert tree.codes("c") == {"c"}
    assert tree.codes("b") == {"a", "b"}
    assert tree.codes("r") == {"a", "b", "c", "r"}


def test_a_name_is_looked_up_and_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = AreaTree(
        [area("r", None), *(Area(f"c{n}", f"Xã Số {n}", "r", "commune") for n in range(20_000))]
    ).prepared()
    parsed: list[str] = []
    compared: list[names.AreaName] = []
    parse, asks_for = names.AreaName.parse, names.AreaName.asks_for

    def counted_parse(text: str) -> names.AreaName:
        parsed.append(text)
        return parse(text)

    def counted_asks_for(self: names.AreaName, other: names.AreaName) -> bool:
        compared.append(other)
        return asks_for(self, other)

    monkeypatch.setattr(names.AreaName, "parse", counted_parse)
    monkeypatch.setattr(names.AreaName, "asks_for", counted_asks_for)
    assert tree.codes("xa so 12345, area r") == {"c12345"}
    assert len(parsed) == 2
    assert len(compared) == 2
    # And the codes of all are counted out once.
    assert tree.codes("r") is tree.codes("Area R")
