"""``nvr store`` on folders that a node uses, or used."""

import shutil
from pathlib import Path

import pytest

from nvr import _core
from nvr.errors import StoreError
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


def test_a_new_disk_in_the_place_of_another_is_said_to_be_one(run: Run, tmp_path: Path) -> None:
    store, beside = tmp_path / "store", tmp_path / "data"
    beside.mkdir()
    _core.Store([str(store)], beside=[str(beside)]).close()
    shutil.rmtree(store)
    assert _core.Store.missing([str(store)], beside=[str(beside)]) == [store]
    with pytest.raises(StoreError, match="nvr store init"):
        _core.Store([str(store)], beside=[str(beside)])
    assert not store.exists()
    assert run("store", "init", str(store)).code == 0
    assert _core.Store.missing([str(store)], beside=[str(beside)]) == []
    _core.Store([str(store)], beside=[str(beside)]).close()
