"""``nvr areas`` and ``nvr catalog`` against a real root of the network catalog."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.roots import Root, root_of_a_catalog


@pytest.fixture
def root(tmp_path: Path, run: Run) -> Iterator[Root]:
    with root_of_a_catalog(tmp_path, run) as made:
        yield made


def some_areas(root: Root) -> None:
    """Việt Nam, a province, a district and three wards."""
    root.good("areas", "add", "VN", "Việt Nam", "--level", "country")
    root.good("areas", "add", "38", "Thanh Hóa", "--parent", "VN", "--level", "province")
    root.good("areas", "add", "38-381", "Bỉm Sơn", "--parent", "38", "--level", "district")
    for code, name in (("14815", "Ba Đình"), ("14818", "Lam Sơn"), ("14821", "Ngọc Trạo")):
        root.good("areas", "add", code, name, "--parent", "bim son", "--level", "ward")


def codes(root: Root, *options: str) -> list[str]:
    return [each["code"] for each in root.records("areas", "list", *options)[:-1]]


def test_areas_from_the_first_to_a_re_cut(root: Root) -> None:
    assert root.records("catalog", "status")[0]["state"] == "root"
    early = root("areas", "rename", "VN", "x")
    assert (early.code, "VN" in early.err) == (3, True)
    some_areas(root)
    shown = root.good("areas", "list").out
    assert "\n    38-381" in shown
    assert "\n      14815" in shown
    assert codes(root, "--within", "thi xa bim son") == ["38-381", "14815", "14818", "14821"]
    for arguments, says in (
        (("add", "38", "x", "--parent", "VN", "--level", "province"), "already"),
        (("add", "x", "x", "--level", "province"), "--parent"),
        (("add", "x", "x", "--parent", "VN"), "--level"),
        (("add", "x y", "x", "--parent", "VN", "--level", "province"), "code"),
        (("move", "38", "--to", "14815"), "lie in"),
    ):
        refused = root("areas", *arguments)
        assert (refused.code, says in refused.err) == (2, True), refused.err

    dry = root.good("areas", "rename", "Ba Đình", "Ba Đình mới", "--dry-run")
    assert dry.out == "would be version 7: area 14815 (Ba Đình mới): 0 added, 1 changed, 0 taken out\n"
    assert root.version() == 6
    renamed = root.good("areas", "rename", "14815", "Ba Đình mới", "--message", "a new name")
    assert renamed.out.startswith("version 7: a new name: ")
    assert renamed.err == "undo: nvr catalog undo 7\n"
    assert root.good("areas", "rename", "14815", "Ba Đình mới").out == (
        "nothing changes; the newest version is 7\n"
    )
    assert root.records("areas", "show", "14815")[0]["name"] == "Ba Đình mới"

    merged = root.records("areas", "merge", "14815", "14818", "--into", "14816", "--name", "Bỉm Sơn Đông")[0]
    assert (merged["number"], merged["added"], merged["removed"]) == (8, 3, 2)
    found = root.records("areas", "show", "14816")[0]
    assert (found["level"], found["parent"]) == ("ward", "38-381")
    assert found["former_codes"] == ["14815", "14818"]
    old = root.records("areas", "show", "14815")[0]
    assert (old["former"], old["counts_to"]) == (True, ["14816"])
    assert "counts to: 14816" in root.good("areas", "show", "14815").out
    assert codes(root, "--within", "14818") == ["14816"]
    assert codes(root, "--within", "14818", "--former") == ["14816", "14815", "14818"]
    into_one = root.good("areas", "merge", "14821", "--into", "Bỉm Sơn Đông")
    assert "1 changed" not in into_one.out
    again = root("areas", "rename", "14821", "x")
    assert (again.code, "it is now 14816" in again.err) == (3, True)
    unnamed = root("areas", "merge", "14816", "--into", "new")
    assert (unnamed.code, "say its --name" in unnamed.err) == (3, True)

    split = root.good("areas", "split", "14816", "--part", "a=Phần A", "--part", "b=Phần B")
    assert "version 10" in split.out
    assert codes(root, "--within", "38-381") == ["38-381", "a", "b"]
    root.good("areas", "add", "h", "Xóm", "--parent", "a", "--level", "hamlet")
    unsaid = root("areas", "split", "a", "--part", "a1=1", "--part", "a2=2")
    assert (unsaid.code, "in which part" in unsaid.err) == (2, True)
    root.good("areas", "split", "a", "--part", "a1=1", "--part", "a2=2", "--child", "h=a2")
    assert root.records("areas", "show", "h")[0]["parent"] == "a2"
    root.good("areas", "move", "h", "--to", "b")
    assert root.records("areas", "show", "h")[0]["parent"] == "b"

    root.good("areas", "drop-level", "district", "--message", "no districts any more")
    assert codes(root) == ["VN", "38", "a1", "a2", "b", "h"]
    assert "38-381" in root.good("areas", "list", "--former").out
    newest = root.version()
    assert root.good("catalog", "undo", str(newest), "--dry-run").out.startswith("would be version")
    undone = root.good("catalog", "undo", str(newest))
    assert f"undo: nvr catalog undo {newest + 1}" in undone.err
    assert "38-381" in codes(root)
    conflict = root("catalog", "undo", "7")
    assert (conflict.code, "changed again since" in conflict.err) == (8, True)
    assert root("catalog", "undo", "999").code == 3
    *history, end = root.records("catalog", "history", "--limit", "2")
    assert [each["number"] for each in history] == [newest + 1, newest]
    assert (history[0]["undoes"], history[1]["summary"]) == (newest, "no districts any more")
    assert history[0]["actor"] == "local"
    assert end["type"] == "end"
    assert "no districts any more" in root.good("catalog", "history").out


def test_only_the_root_is_written_at(root: Root) -> None:
    for arguments in (("areas", "add", "x", "x", "--level", "province"), ("catalog", "history")):
        refused = root(*arguments, at=root.recorder)
        assert (refused.code, "not written at commune-1" in refused.err) == (8, True)
    assert root("areas", "list", at="127.0.0.1:1").code == 5
