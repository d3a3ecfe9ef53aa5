"""``nvr areas`` and ``nvr catalog`` against a real root of the network catalog."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.cli.conftest import Run
from tests.cli.roots import Root, root_of_a_catalog
from tests.support.processes import wait_for


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    with root_of_a_catalog(tmp_path) as made:
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


def test_only_the_root_is_written_at(root: Root, run: Run) -> None:
    for arguments in (("areas", "add", "x", "x", "--level", "province"), ("catalog", "history")):
        refused = root(*arguments, at=root.recorder)
        assert (refused.code, "not written at commune-1" in refused.err) == (8, True)
    assert root("areas", "list", at="127.0.0.1:1").code == 5
    none = run("catalog", "status", node=root.recorder)
    assert (none.code, none.out, none.err) == (
        0,
        "catalog: none: areas are the codes that cameras have\n",
        "",
    )
    assert run("catalog", "adopt", "--yes", node=root.recorder).code == 8


def test_areas_in_and_out_of_files(root: Root, tmp_path: Path) -> None:
    (tmp_path / "areas.csv").write_text(
        "code,name,level,parent\n14815,Ba Đình,ward,38-381\n38-381,Bỉm Sơn,district,38\n"
        "38,Thanh Hóa,province,VN\nVN,Việt Nam,country,\n",
        encoding="utf-8",
    )
    dry = root.good("areas", "import", "areas.csv", "--dry-run")
    assert dry.out == "would be version 1: 4 areas of areas.csv: 4 added, 0 changed, 0 taken out\n"
    assert codes(root) == []
    done = root.records("areas", "import", "areas.csv", "--message", "as of 2025")[0]
    assert (done["summary"], done["added"], done["made_version"]) == ("as of 2025", 4, True)
    again = root.good("areas", "import", "areas.csv")
    assert (again.out, again.err) == (
        "nothing changes; the newest version is 1\n",
        "4 of 4 are in the catalog as they are\n",
    )
    exported = root.good("areas", "export", "out.csv")
    assert exported.out == "out.csv: 4 areas\n"
    text = (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert text.splitlines()[1:] == [
        "VN,Việt Nam,country,",
        "38,Thanh Hóa,province,VN",
        "38-381,Bỉm Sơn,district,38",
        "14815,Ba Đình,ward,38-381",
    ]
    taken = root("areas", "export", "out.csv")
    assert (taken.code, "--overwrite" in taken.err) == (2, True)
    assert root.records("areas", "export", "out.csv", "--overwrite")[0]["entries"] == 4

    root.good("areas", "merge", "14815", "--into", "new", "--name", "Mới")
    (tmp_path / "bad.csv").write_text(
        "code,name,level,parent\nok,Được,ward,38-381\nx y,Tên,ward,38\nz,Tên,ward,nowhere\n", encoding="utf-8"
    )
    bad = root("areas", "import", "bad.csv")
    assert bad.code == 2
    assert [line.removeprefix("nvr: ").split(": ")[:2] for line in bad.err.splitlines()] == [
        ["bad.csv:3", "code"],
        ["bad.csv:4", "parent"],
    ]
    former = root("areas", "import", "areas.csv")
    assert former.code == 2
    assert former.err.startswith("nvr: areas.csv:2: ")
    missing = root("areas", "import", "no-such.csv")
    assert (missing.code, "no-such.csv" in missing.err) == (1, True)
    assert root.version() == 2


def test_a_large_import_is_several_versions(root: Root, tmp_path: Path) -> None:
    rows = ["VN,Việt Nam,country,", *(f"a{number},Xã {number},commune,VN" for number in range(12_000))]
    text = "\n".join(["code,name,level,parent", *rows])
    (tmp_path / "many.csv").write_text(text + "\n", encoding="utf-8")
    dry = root.good("areas", "import", "many.csv", "--dry-run")
    assert "12,001 added" in dry.out
    assert "12,001 changes: 3 versions" in dry.err
    assert root.version() == 0
    done = root.good("areas", "import", "many.csv")
    assert [line.split(":")[0] for line in done.out.splitlines()] == ["version 1", "version 2", "version 3"]
    assert "undo: nvr catalog undo 3; nvr catalog undo 2; nvr catalog undo 1" in done.err
    assert "version 2: 10,000 of 12,001 changes" in done.err
    assert root.records("catalog", "status")[0]["areas"] == 12_001
    # What would fail in the last piece fails before the first is sent.
    moved = [f"a{number},Xã {number},commune,a0" for number in range(1, 12_000)]
    (tmp_path / "moved.csv").write_text(
        "\n".join(["code,name,level,parent", *moved, "a0,Xã 0,commune,a11999"]) + "\n", encoding="utf-8"
    )
    refused = root("areas", "import", "moved.csv")
    assert (refused.code, "lie in one another" in refused.err) == (2, True)
    assert root.version() == 3


def test_nodes_and_cameras(root: Root, tmp_path: Path) -> None:
    some_areas(root)
    dry = root.good("catalog", "enroll", "--dry-run")
    assert dry.out.splitlines()[:4] == [
        "node commune-1",
        "node root",
        "camera commune-1/gate",
        "camera commune-1/yard",
    ]
    assert "no area 'elsewhere': 1 cameras" in dry.err
    *entries, made = root.records("catalog", "enroll")
    assert [entry["type"] for entry in entries] == ["node", "node", "camera", "camera"]
    assert made["summary"] == "2 nodes and 2 cameras enrolled"
    assert root.good("catalog", "enroll").out.startswith("nothing changes")
    nodes = {each["name"]: each["node_id"] for each in root.records("catalog", "nodes")[:-1]}
    assert sorted(nodes) == ["commune-1", "root"]
    cameras = {each["name"]: each for each in root.records("catalog", "cameras")[:-1]}
    assert cameras["gate"]["area"] == "14815"
    assert (cameras["gate"]["lat"], cameras["gate"]["owner"]) == (19.9275, "state")
    assert (cameras["yard"]["area"], cameras["yard"]["node"]) == ("", "commune-1")
    within = root.good("catalog", "cameras", "--area", "bim son").out
    assert "gate" in within
    assert "yard" not in within
    assert "commune-1" in root.good("catalog", "nodes").out

    root.good("catalog", "export", "nodes", "nodes.csv")
    table = (tmp_path / "nodes.csv").read_text().replace("commune-1,,", "commune-1,Công an xã,14815")
    (tmp_path / "nodes.csv").write_text(table)
    assert "1 changed" in root.good("catalog", "import", "nodes", "nodes.csv").out
    assert any(each.get("area") == "14815" for each in root.records("catalog", "nodes"))

    for name in ("cameras.csv", "cameras.geojson"):
        root.good("catalog", "export", "cameras", name)
        text = (tmp_path / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(
            re.sub("(Cổng chợ|Chợ cameras.csv)", f"Chợ {name}", text), encoding="utf-8"
        )
        dry = root.good("catalog", "import", "cameras", name, "--dry-run")
        assert dry.out.endswith("0 added, 1 changed, 0 taken out\n")
        root.good("catalog", "import", "cameras", name)
        titles = {each["title"] for each in root.records("catalog", "cameras")[:-1]}
        assert f"Chợ {name}" in titles
    bad = (tmp_path / "cameras.csv").read_text(encoding="utf-8").replace("19.9275", "199.275")
    (tmp_path / "cameras.csv").write_text(bad, encoding="utf-8")
    refused = root("catalog", "import", "cameras", "cameras.csv")
    assert (refused.code, refused.err.startswith("nvr: cameras.csv:2: lat: ")) == (2, True)
    (tmp_path / "cameras.geojson").write_text('{"type": "FeatureCollection",\n  "features": [}')
    refused = root("catalog", "import", "cameras", "cameras.geojson")
    assert (refused.code, "cameras.geojson:2:16: not JSON" in refused.err) == (2, True)
    assert root("catalog", "import", "nodes", "nodes.geojson").code == 2

    # The recorder takes over what the catalog says, and refuses to say otherwise.
    def told() -> bool:
        found = root.records("cameras", "list", at=root.recorder)
        return any(each.get("title") == "Chợ cameras.geojson" for each in found)

    wait_for(told, "the recorder takes the title over", every_s=0.5)
    against = root("cameras", "edit", "gate", "--title", "x", at=root.recorder)
    assert (against.code, "the network catalog says it" in against.err) == (2, True)

    given = ("--camera", "commune-1/gate=e", "--node-part", "commune-1=w")
    root.good("areas", "split", "14815", "--part", "e=Đông", "--part", "w=Tây", *given)
    assert {each["name"]: each["area"] for each in root.records("catalog", "cameras")[:-1]}["gate"] == "e"
    assert root("areas", "split", "e", "--part", "e1=1", "--part", "e2=2", "--camera", "nobody=e1").code == 3
    assert root("areas", "split", "e", "--part", "e1=1", "--part", "e2", "--camera", "gate=e1").code == 2

    early = root("catalog", "remove", "nodes", "commune-1")
    assert early.code == 2, early.err
    assert root.good("catalog", "remove", "cameras", "yard", "commune-1/gate", "--dry-run").out.startswith(
        "would be version"
    )
    gone = root.good("catalog", "remove", "cameras", "yard", "commune-1/gate")
    assert "2 taken out" in gone.out
    root.good("catalog", "remove", "nodes", "commune-1", "--message", "given up")
    assert root("catalog", "remove", "nodes", "commune-1").code == 3


def test_backup_restore_and_adopt(root: Root, tmp_path: Path) -> None:
    some_areas(root)
    saved = root.good("catalog", "backup", "catalog.backup")
    assert saved.out.startswith("catalog.backup: ")
    taken = root("catalog", "backup", "catalog.backup")
    assert (taken.code, "--overwrite" in taken.err) == (2, True)
    root.good("areas", "rename", "14815", "Later")
    running = root("catalog", "restore", "catalog.backup", "--config", "root.toml")
    assert (running.code, "stop it first" in running.err) == (1, True)

    def held() -> bool:
        return bool(root.records("catalog", "status", at=root.recorder)[0]["version"] == 7)

    wait_for(held, "the recorder holds the newest version", every_s=0.2)
    root.stop()
    full = root("catalog", "restore", "catalog.backup", "--config", "root.toml")
    assert (full.code, "has a catalog already" in full.err) == (2, True)
    assert root("catalog", "restore", "catalog.backup", "--config", "root.toml", "--dry-run").code == 2
    root.database.rename(tmp_path / "old.sqlite")
    for beside in ("-wal", "-shm"):
        root.database.with_name(root.database.name + beside).unlink(missing_ok=True)
    (tmp_path / "cut.backup").write_bytes((tmp_path / "catalog.backup").read_bytes()[:-30])
    for dry_run in ((), ("--dry-run",)):
        cut = root("catalog", "restore", "cut.backup", "--config", "root.toml", *dry_run)
        assert (cut.code, "cut.backup" in cut.err) == (7, True)
    dry = root.good("catalog", "restore", "catalog.backup", "--config", "root.toml", "--dry-run")
    assert "is good: version 6 of catalog" in dry.out
    done = root.good("catalog", "restore", "catalog.backup", "--config", "root.toml")
    assert "restored: version 6 of catalog" in done.out
    assert "holds version 7, newer than the backup" in done.err

    root.start()
    behind = root.good("catalog", "status")
    assert "restored from a backup" in behind.out
    assert "version 7" in behind.err
    refused = root("areas", "rename", "14815", "x")
    assert (refused.code, "nvr catalog adopt" in refused.err) == (8, True)
    assert root("catalog", "adopt", "--json").code == 2
    assert root("catalog", "adopt", stdin="n\n").code == 130
    assert root.good("catalog", "adopt", "--dry-run").out.startswith("would be version 8")
    assert root.good("catalog", "adopt", "--yes").out.startswith("version 8: adopted")
    assert root.records("areas", "show", "14815")[0]["name"] == "Ba Đình"
    root.good("areas", "rename", "14815", "After")

    def follows() -> bool:
        found = root.records("areas", "show", "14815", at=root.recorder)
        return bool(found[0]["name"] == "After")

    wait_for(follows, "the recorder follows", every_s=0.2)


def test_a_node_forgets_a_former_root(root: Root) -> None:
    some_areas(root)
    wait_for(
        lambda: root.records("catalog", "status", at=root.recorder)[0]["state"] == "held",
        "the recorder holds a version",
        every_s=0.2,
    )
    at_root = root("catalog", "release", "--yes")
    assert (at_root.code, "where its catalog is written" in at_root.err) == (8, True)
    assert root("catalog", "release", at=root.recorder, stdin="n\n").code == 130
    assert root("catalog", "release", "--json", at=root.recorder).code == 2
    assert "would be forgotten" in root.good("catalog", "release", "--dry-run", at=root.recorder).out
    assert root.good("catalog", "release", "--yes", at=root.recorder).out.rstrip().endswith("forgotten")


def test_an_area_ends_and_is_one_again(root: Root) -> None:
    some_areas(root)
    full = root("areas", "retire", "Bỉm Sơn")
    assert (full.code, "still lie in" in full.err) == (2, True)
    assert "would be version 7: area 14821 retired" in root.good("areas", "retire", "14821", "--dry-run").out
    root.good("areas", "retire", "Ngọc Trạo")
    assert root.records("areas", "show", "14821")[0]["former"]
    elsewhere = ("--parent", "38", "--child", "14818")
    root.good("areas", "restore", "14821", *elsewhere, "--message", "it was needed")
    assert root.records("areas", "show", "14821")[0]["parent"] == "38"
    assert root.records("areas", "show", "14818")[0]["parent"] == "14821"
    assert root("areas", "restore", "14821").code == 2


def test_what_is_said_while_the_database_is_away(root: Root) -> None:
    some_areas(root)
    # Another program has it, for longer than anybody waits.
    other = sqlite3.connect(root.database, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        refused = root("areas", "rename", "14815", "x")
        assert (refused.code, "out of reach" in refused.err) == (5, True)
        away = root.good("catalog", "status")
        assert "its database is away" in away.out
        assert "out of reach" in away.err
        assert codes(root, "--within", "ba dinh") == ["14815"]
    finally:
        other.close()
    root.good("areas", "rename", "14815", "x")
    assert root.records("catalog", "status")[0]["state"] == "root"


def test_completion_of_areas(root: Root) -> None:
    from nvr.cli.complete import area_codes

    class Context:
        params: ClassVar[dict[str, str]] = {"node": root.address}
        parent = None

    some_areas(root)
    assert area_codes(Context(), "38") == [("38", "Thanh Hóa"), ("38-381", "Bỉm Sơn")]  # type: ignore[arg-type]
    Context.params = {"node": "127.0.0.1:1"}
    assert area_codes(Context(), "") == []  # type: ignore[arg-type]
