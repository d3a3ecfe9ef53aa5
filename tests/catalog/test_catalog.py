"""The catalog: its cameras, its secrets, its schema, and that nothing acknowledged is lost."""

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvr.catalog.catalog import Catalog
from nvr.catalog.schema import MIGRATIONS, migrate, version
from nvr.errors import CameraExists, CameraNotFound, DamagedError, InvalidArgument, StoreError
from nvr.footage.admin import CameraSettings
from nvr.footage.types import Camera, OwnerKind, Place, View
from nvr.security.node_key import NodeKey

GATE = CameraSettings(
    name="market-gate",
    main_url="rtsp://admin:geheim@10.0.0.7/main",
    sub_url="rtsp://admin:geheim@10.0.0.7/sub?pwd=geheim",
    title="Cổng chợ",
    place=Place(19.9275, 105.8571),
    height_m=4.5,
    view=View(120, 90, 60),
    area="38-381.a_b",
    owner=OwnerKind.HOUSEHOLD,
)


@pytest.fixture
def key(tmp_path: Path) -> NodeKey:
    return NodeKey.load_or_create(tmp_path)


@pytest.fixture
def catalog(tmp_path: Path, key: NodeKey) -> Iterator[Catalog]:
    opened = Catalog(tmp_path, key)
    yield opened
    opened.close()


def files_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("catalog.sqlite*"))


def test_a_camera_lasts(tmp_path: Path, key: NodeKey, catalog: Catalog) -> None:
    added = catalog.add(GATE)
    catalog.close()
    again = Catalog(tmp_path, key)
    assert again.cameras() == [added]
    assert again.camera(added.id).settings == GATE
    again.close()


def test_no_password_on_disk_or_in_repr(tmp_path: Path, catalog: Catalog) -> None:
    camera = catalog.add(GATE)
    assert b"geheim" not in files_of(tmp_path)
    assert b"10.0.0.7" in files_of(tmp_path), "the masked address helps who lost the key"
    assert "geheim" not in repr(camera)


def test_the_file_is_private(tmp_path: Path, catalog: Catalog) -> None:
    assert (tmp_path / "catalog.sqlite").stat().st_mode & 0o077 == 0


def test_addresses_open_only_for_their_own_camera_and_node(
    tmp_path: Path, catalog: Catalog, key: NodeKey
) -> None:
    first, second = catalog.add(GATE), catalog.add(CameraSettings("b", "rtsp://u:other@10.0.0.8/"))
    with sqlite3.connect(tmp_path / "catalog.sqlite") as raw:
        raw.execute(
            "UPDATE camera SET main_sealed = (SELECT main_sealed FROM camera WHERE id = ?) WHERE id = ?",
            (second.id, first.id),
        )
    raw.close()
    with pytest.raises(DamagedError):
        catalog.camera(first.id)
    (tmp_path / "other").mkdir()
    stranger = Catalog(tmp_path, NodeKey.load_or_create(tmp_path / "other"))
    with pytest.raises(DamagedError):
        stranger.camera(second.id)
    stranger.close()


def test_names_are_unique_until_removed(catalog: Catalog) -> None:
    first = catalog.add(GATE)
    with pytest.raises(CameraExists):
        catalog.add(GATE)
    removed = catalog.remove(first.id)
    second = catalog.add(GATE)
    assert second.id != first.id
    assert removed.removed_us is not None
    assert removed.settings.main_url == removed.settings.sub_url == ""
    assert removed.settings.title == GATE.title
    assert [camera.id for camera in catalog.cameras()] == [second.id]
    assert {camera.id for camera in catalog.cameras(removed=True)} == {first.id, second.id}


def test_removing_twice_changes_nothing(catalog: Catalog) -> None:
    camera = catalog.add(GATE)
    assert catalog.remove(camera.id) == catalog.remove(camera.id)
    with pytest.raises(CameraNotFound):
        catalog.update(camera.id, GATE)
    with pytest.raises(CameraNotFound):
        catalog.remove("0" * 36)


def test_update_replaces_and_keeps_the_id(catalog: Catalog) -> None:
    camera = catalog.add(GATE)
    other = catalog.add(CameraSettings("b", "rtsp://10.0.0.8/"))
    changed = catalog.update(camera.id, CameraSettings("gate", "rtsp://u:new@10.0.0.9/", enabled=False))
    assert changed.id == camera.id
    assert changed.created_us == camera.created_us <= changed.changed_us
    assert catalog.camera(camera.id) == changed
    with pytest.raises(CameraExists):
        catalog.update(camera.id, CameraSettings("b", "rtsp://10.0.0.9/"))
    assert catalog.camera(camera.id) == changed
    assert catalog.camera(other.id) == other


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (CameraSettings("Gate", "rtsp://h/"), "name"),
        (CameraSettings("", "rtsp://h/"), "name"),
        (CameraSettings("x" * 64, "rtsp://h/"), "name"),
        (CameraSettings("0190a0a0-0000-7000-8000-000000000000", "rtsp://h/"), "name"),
        (CameraSettings("x", "rtsp://h/", title="a\nb"), "title"),
        (CameraSettings("x", "rtsp://h/", title="a" * 201), "title"),
        (CameraSettings("x", "gopher://h/"), "main_url"),
        (CameraSettings("x", "rtsp://u:***@h/"), "main_url"),
        (CameraSettings("x", "rtsp://h/", "h"), "sub_url"),
        (CameraSettings("x", "rtsp://h/", place=Place(91, 0)), "place"),
        (CameraSettings("x", "rtsp://h/", place=Place(float("nan"), 0)), "place"),
        (CameraSettings("x", "rtsp://h/", height_m=9001), "height_m"),
        (CameraSettings("x", "rtsp://h/", height_m=float("nan")), "height_m"),
        (CameraSettings("x", "rtsp://h/", view=View(361, 90)), "view"),
        (CameraSettings("x", "rtsp://h/", view=View(0, 0)), "view"),
        (CameraSettings("x", "rtsp://h/", view=View(0, 90, float("inf"))), "view"),
        (CameraSettings("x", "rtsp://h/", area="38 381"), "area"),
        (CameraSettings("x", "rtsp://h/", area="a" * 64), "area"),
    ],
)
def test_settings_that_no_camera_can_have(catalog: Catalog, settings: CameraSettings, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        catalog.add(settings)
    assert caught.value.field == field
    assert catalog.cameras() == []


def test_import_happens_once(tmp_path: Path, key: NodeKey, catalog: Catalog) -> None:
    known = catalog.add(GATE)
    other = CameraSettings("b", "rtsp://10.0.0.8/")
    added = catalog.import_once([CameraSettings("market-gate", "rtsp://10.0.0.66/"), other])
    assert added is not None
    assert [camera.settings for camera in added] == [other]
    assert catalog.camera(known.id) == known
    catalog.remove(added[0].id)
    assert catalog.import_once([other]) is None
    catalog.close()
    again = Catalog(tmp_path, key)
    assert again.import_once([other]) is None
    assert [camera.id for camera in again.cameras()] == [known.id]
    again.close()


def test_import_is_all_or_nothing(catalog: Catalog) -> None:
    twice = CameraSettings("b", "rtsp://10.0.0.8/")
    with pytest.raises(CameraExists):
        catalog.import_once([GATE, twice, twice])
    assert catalog.cameras() == []
    assert len(catalog.import_once([GATE]) or []) == 1


# As version 1 of the software wrote it. Never to be changed: it stands for files that exist.
WRITTEN_BY_VERSION_1 = """
CREATE TABLE camera (
    id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, title TEXT NOT NULL,
    main_masked TEXT NOT NULL, main_sealed TEXT NOT NULL, sub_masked TEXT NOT NULL, sub_sealed TEXT NOT NULL,
    latitude REAL, longitude REAL, enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_us INTEGER NOT NULL, changed_us INTEGER NOT NULL, removed_us INTEGER,
    CHECK ((latitude IS NULL) = (longitude IS NULL))
) STRICT;
CREATE UNIQUE INDEX camera_name ON camera (name) WHERE removed_us IS NULL;
CREATE TABLE fact (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO camera VALUES ('0190a0a0-0000-7000-8000-000000000001', 'gate', 'Gate', '', '', '', '',
    19.5, 105.5, 1, 1700000000000000, 1700000000000001, NULL);
INSERT INTO camera VALUES ('0190a0a0-0000-7000-8000-000000000002', 'gate', '', '', '', '', '',
    NULL, NULL, 0, 1600000000000000, 1650000000000000, 1650000000000000);
INSERT INTO fact VALUES ('cameras_imported', '1700000000000000');
PRAGMA user_version = 1;
"""


def test_a_catalog_of_version_1_opens(tmp_path: Path, key: NodeKey) -> None:
    with sqlite3.connect(tmp_path / "catalog.sqlite") as raw:
        raw.executescript(WRITTEN_BY_VERSION_1)
    raw.close()
    catalog = Catalog(tmp_path, key)
    (gate,) = catalog.cameras()
    assert gate.settings == CameraSettings("gate", "", title="Gate", place=Place(19.5, 105.5))
    assert (gate.created_us, gate.changed_us) == (1700000000000000, 1700000000000001)
    removed = catalog.camera("0190a0a0-0000-7000-8000-000000000002")
    assert removed.removed_us == 1650000000000000
    assert catalog.import_once([GATE]) is None
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as raw:
        assert version(raw) == len(MIGRATIONS)
    raw.close()


def test_the_schema_of_version_1_is_what_its_step_makes() -> None:
    def schema(script: str) -> list[tuple[str, ...]]:
        database = sqlite3.connect(":memory:")
        database.executescript(script)
        columns = database.execute(
            'SELECT m.name, c.name, c.type, c."notnull", c.pk '
            "FROM sqlite_master m, pragma_table_info(m.name) c ORDER BY 1, 2"
        ).fetchall()
        database.close()
        return columns

    assert schema(MIGRATIONS[0]) == schema(WRITTEN_BY_VERSION_1)


COPIED = Camera("0190a0a0-0000-7000-8000-00000000000a", "yard", "Sân", Place(19.5, 105.25))


def test_copied_cameras_are_kept_as_their_node_describes_them(tmp_path: Path, key: NodeKey) -> None:
    clock = iter(range(100, 200))
    catalog = Catalog(tmp_path, key, now_us=lambda: next(clock))
    own = catalog.add(GATE)
    kept = catalog.keep_copied(COPIED, "edge-1")
    assert kept is not None
    assert (kept.id, kept.copied_from, kept.removed_us) == (COPIED.id, "edge-1", None)
    assert not kept.held, "a node that keeps a copy would count as the one that is to record it"
    assert kept.settings == CameraSettings("yard", "", title="Sân", place=COPIED.place, enabled=False)
    assert catalog.keep_copied(COPIED, "edge-1") is None
    renamed = catalog.keep_copied(dataclasses.replace(COPIED, name="court", place=None), "edge-2")
    assert renamed is not None
    assert (renamed.settings.name, renamed.settings.place) == ("court", None)
    assert renamed.created_us == kept.created_us < renamed.changed_us
    # A camera of the node's own is not overwritten.
    assert catalog.keep_copied(dataclasses.replace(COPIED, id=own.id), "edge-1") is None
    catalog.close()
    catalog = Catalog(tmp_path, key)
    assert catalog.copied_cameras() == [renamed]
    assert catalog.cameras(removed=True) == [own]
    catalog.close()


@pytest.mark.parametrize(
    ("camera", "node", "field"),
    [
        (dataclasses.replace(COPIED, id="../../etc"), "edge-1", "camera"),
        (dataclasses.replace(COPIED, name="Yard"), "edge-1", "name"),
        (dataclasses.replace(COPIED, title="a\nb"), "edge-1", "title"),
        (dataclasses.replace(COPIED, place=Place(91.0, 0.0)), "edge-1", "place"),
        (COPIED, "", "node"),
    ],
)
def test_what_no_node_can_say_of_a_camera_is_refused(
    tmp_path: Path, key: NodeKey, camera: Camera, node: str, field: str
) -> None:
    catalog = Catalog(tmp_path, key)
    with pytest.raises(InvalidArgument) as caught:
        catalog.keep_copied(camera, node)
    assert caught.value.field == field
    assert catalog.copied_cameras() == []
    catalog.close()


def test_a_step_that_fails_leaves_nothing_behind() -> None:
    database = sqlite3.connect(":memory:", isolation_level=None)
    good, bad = (
        "CREATE TABLE a (x TEXT) STRICT;",
        "CREATE TABLE b (x TEXT) STRICT;\nCREATE TABLE a (x TEXT) STRICT;",
    )
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, [good, bad])
    assert version(database) == 1
    assert [row[0] for row in database.execute("SELECT name FROM sqlite_master")] == ["a"]
    migrate(database, [good, "CREATE TABLE b (x TEXT) STRICT;"])
    assert version(database) == 2
    database.close()


def test_a_catalog_of_a_later_version_is_left_alone(tmp_path: Path, key: NodeKey) -> None:
    with sqlite3.connect(tmp_path / "catalog.sqlite") as raw:
        raw.execute("PRAGMA user_version = 999")
    raw.close()
    with pytest.raises(StoreError, match="later version"):
        Catalog(tmp_path, key)


def test_a_file_that_is_no_database(tmp_path: Path, key: NodeKey) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"\xff" * 4096)
    with pytest.raises(StoreError, match=r"catalog\.sqlite"):
        Catalog(tmp_path, key)


WRITER = """
import sys
from pathlib import Path
from nvr.catalog.catalog import Catalog
from nvr.footage.admin import CameraSettings
from nvr.security.node_key import NodeKey
folder = Path(sys.argv[1])
catalog = Catalog(folder, NodeKey.load_or_create(folder))
for number in range(1_000_000):
    camera = catalog.add(CameraSettings(f"camera-{sys.argv[2]}-{number}", f"rtsp://u:p{number}@10.0.0.7/"))
    if number % 3 == 0:
        catalog.remove(camera.id)
    print(camera.id, "removed" if number % 3 == 0 else camera.settings.name, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(acknowledged)]
        os.kill(writer.pid, signal.SIGKILL)
        lines += writer.stdout.readlines()
    acked = dict(line.split() for line in lines if line.endswith("\n"))
    assert len(acked) >= acknowledged
    catalog = Catalog(tmp_path, NodeKey.load_or_create(tmp_path))
    for camera_id, name in acked.items():
        camera = catalog.camera(camera_id)
        if name == "removed":
            assert camera.removed_us is not None
        else:
            assert camera.settings.name == name
            assert camera.settings.main_url
    catalog.close()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
