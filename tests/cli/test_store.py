"""``nvr store`` on folders that a node uses, or used."""

from pathlib import Path

from nvr.node.folder_lock import FolderLocks
from tests.cli.conftest import Run


def test_a_store_in_use_is_not_rebuilt(run: Run, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with FolderLocks([store], "station-1"):
        refused = run("store", "rebuild", str(store))
        assert refused.code == 1
        assert "station-1" in refused.err
        assert run("store", "check", str(store)).code == 0
    assert run("store", "rebuild", str(store)).code == 0


def test_a_store_in_use_is_not_scrubbed(run: Run, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with FolderLocks([store], "station-1"):
        refused = run("store", "scrub", str(store))
        assert refused.code == 1
        assert "station-1" in refused.err
    assert run("store", "scrub", str(store), "--rate", "20MB", "--again").code == 0
    assert run("store", "scrub", str(store), "--rate", "fast").code == 2
