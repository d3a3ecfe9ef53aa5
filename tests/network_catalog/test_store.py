"""Versions in a database: what is written is read, at any version, and taken back."""

import threading
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvr.errors import CatalogAway, CatalogConflict, ConfigError, NotFound
from nvr.footage.types import OwnerKind, Place, View
from nvr.network_catalog.store.store import NOTHING_YET, CatalogStore
from nvr.network_catalog.types import Area, CameraEntry, Catalog, NodeEntry, RetiredArea
from nvr.network_catalog.versions import (
    Version,
    catalog_of,
    difference,
    entries_of,
    taking_back,
    with_changes,
)

NODE = "0123456789abcdef" * 4
CAMERA = "0190b3a0-0000-7000-8000-{:012d}"
FULL = Catalog(
    areas=(
        Area("38", "Thanh Hóa", None, "province"),
        Area("38-380", "Thành phố Thanh Hóa", "38", "district"),
    ),
    retired=(RetiredArea("38-999", "Đông Sơn", "38", "district", ("38-380",)),),
    nodes=(NodeEntry(NODE, "commune-1", "38-380", "Công an xã"),),
    cameras=(
        CameraEntry(CAMERA.format(1), "gate"),
        CameraEntry(
            CAMERA.format(2),
            "market",
            title="Chợ Vườn Hoa",
            node_id=NODE,
            area="38-380",
            place=Place(19.8067, 105.7852),
            height_m=4.25,
            view=View(270.0, 75.5, 40.0),
            owner=OwnerKind.HOUSEHOLD,
        ),
    ),
)


def write(store: CatalogStore, content: Catalog, summary: str = "change") -> Version:
    newest, before = store.read()
    changes = difference(entries_of(before), entries_of(content))
    number = newest.number + 1
    version = Version(number, f"{number:032x}", 1_700_000_000_000_000 + number, "local", summary, "r-1")
    store.write(newest.number, version, changes)
    return version


def test_nothing_is_there_at_first(store: CatalogStore) -> None:
    assert store.read() == (NOTHING_YET, Catalog())
    assert store.versions(10) == []
    assert len(store.catalog_id) == 32


def test_all_fields_are_read_as_they_were_written(store: CatalogStore) -> None:
    version = write(store, FULL)
    newest, content = store.read()
    assert newest == version
    assert content == FULL
    assert store.versions(10) == [version]
    assert store.version(1) == version


def test_it_is_there_after_it_is_opened_again(store: CatalogStore, database: str) -> None:
    write(store, FULL)
    again = CatalogStore(database)
    again.open()
    try:
        assert again.catalog_id == store.catalog_id
        assert again.read()[1] == FULL
    finally:
        again.close()


def test_a_version_that_is_not_there(store: CatalogStore) -> None:
    for ask in (store.version, store.read_at, store.changes_of):
        with pytest.raises(NotFound, match="no version 7"):
            ask(7)


_area = st.builds(
    lambda name, level: Area("38-1", name, "38", level), st.sampled_from(["A", "Ă", "Â"]), st.just("ward")
)
_contents = st.lists(
    st.builds(
        lambda cameras, area: catalog_of((*FULL.areas, *FULL.nodes, *cameras.values(), *area)),
        st.dictionaries(
            st.integers(0, 5),
            st.builds(
                lambda title: CameraEntry(CAMERA.format(0), "c", title=title), st.text("ab", max_size=2)
            ),
        ).map(
            lambda found: {
                n: replace(each, camera_id=CAMERA.format(n), name=f"c-{n}") for n, each in found.items()
            }
        ),
        st.lists(_area, max_size=1),
    ),
    min_size=1,
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=_contents)
def test_any_version_is_read_and_taken_back(store: CatalogStore, contents: list[Catalog]) -> None:
    written = {store.newest().number: store.read()[1]}
    for content in contents:
        written[write(store, content).number] = content
    for number, content in written.items():
        if number:
            assert store.read_at(number) == content
    # From the newest back, each version undone gives the state before it.
    numbers = sorted(written, reverse=True)
    entries = entries_of(store.read()[1])
    for number, before in pairwise(numbers):
        back = taking_back(entries, store.changes_of(number), numbers[0])
        entries = with_changes(entries, back)
        assert catalog_of(entries.values()) == written[before]


def test_what_was_changed_again_is_not_taken_back(store: CatalogStore) -> None:
    write(store, FULL)
    gate = replace(FULL.cameras[0], title="Cổng")
    write(store, replace(FULL, cameras=(gate, FULL.cameras[1])))
    with pytest.raises(CatalogConflict, match="changed again since"):
        taking_back(entries_of(store.read()[1]), store.changes_of(1), 2)


def test_a_change_of_an_older_version_is_refused(store: CatalogStore) -> None:
    write(store, FULL)
    late = Version(1, "f" * 32, 1, "local", "late")
    with pytest.raises(CatalogConflict) as refused:
        store.write(0, late, [])
    assert refused.value.facts == {"version": "1"}
    assert store.read()[1] == FULL


def test_of_two_who_write_at_once_one_is_told(store: CatalogStore, database: str) -> None:
    others = [CatalogStore(database) for _ in range(4)]
    barrier = threading.Barrier(len(others))
    outcomes: list[str] = []

    def run(number: int, other: CatalogStore) -> None:
        other.open()
        version = Version(1, f"{number:032x}", 1, "local", "")
        barrier.wait(timeout=60)
        try:
            other.write(0, version, difference({}, entries_of(FULL)))
            outcomes.append("written")
        except CatalogConflict:
            outcomes.append("conflict")
        finally:
            other.close()

    threads = [threading.Thread(target=run, args=(n, other)) for n, other in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert sorted(outcomes) == ["conflict", "conflict", "conflict", "written"]
    assert store.read()[1] == FULL


def test_facts_are_kept(store: CatalogStore) -> None:
    assert store.recall("held") is None
    store.remember("held", "1")
    store.remember("held", "2")
    assert store.recall("held") == "2"


def test_a_database_out_of_reach_is_told_without_its_password() -> None:
    store = CatalogStore("postgresql://nvr:geheim@127.0.0.1:1/nvr")
    with pytest.raises(CatalogAway) as away:
        store.open()
    assert "127.0.0.1:1" in str(away.value)
    assert "geheim" not in str(away.value)
    store.close()


@pytest.mark.parametrize("text", ["", "mysql://root:geheim@host/db", "postgresql://a:geheim@host:port/x"])
def test_an_address_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        CatalogStore(text)
    assert "geheim" not in str(refused.value)
