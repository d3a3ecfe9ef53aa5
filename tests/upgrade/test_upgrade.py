"""What earlier versions left on disk is read right: footage, cameras with their passwords, catalogs.

Each archive was written by that version's own code, with what it answered then (:mod:`make`).
"""

import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import nvr
from nvr._core import Store
from nvr.catalog.catalog import Catalog
from nvr.security.node_key import NodeKey
from tests.format.reader import read_segment
from tests.support.processes import REPOSITORY
from tests.upgrade.asking import STREAMS, answers
from tests.upgrade.make import HOLD, LOGIN, catalog_answers, gateway_settings, node, recorder_settings

HERE = Path(__file__).parent
FIXTURES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))
KILLED = [name for name in FIXTURES if name.endswith("-killed")]
VERSIONS = [name for name in FIXTURES if name not in KILLED]


@dataclass(frozen=True)
class Fixture:
    version: str
    folder: Path
    expected: dict[str, Any]


@contextmanager
def extracted(name: str, tmp_path: Path) -> Iterator[Fixture]:
    folder = tmp_path / "fixture"
    with tarfile.open(HERE / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    yield Fixture(name, folder, json.loads((folder / "expected.json").read_text()))
    shutil.rmtree(folder)


@pytest.fixture(params=VERSIONS)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fixture]:
    """What a recorder left that was stopped."""
    with extracted(request.param, tmp_path) as found:
        yield found


@pytest.fixture(params=KILLED)
def killed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fixture]:
    """What a recorder left that was killed while it recorded."""
    with extracted(request.param, tmp_path) as found:
        yield found


def released() -> list[str]:
    """By the headings of the changelog: ``## 0.1.0 – 2026-11-25``; what is not released has no date."""
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    return [f"v{version}" for version in re.findall(r"^## (\S+) – \d{4}-\d\d-\d\d$", text, re.MULTILINE)]


def test_there_is_a_fixture_of_each_release() -> None:
    assert {"v0.1.0", "v0.2.0"} <= set(released())
    assert set(released()) <= set(VERSIONS), "make it: see tests/upgrade/make.py"
    # None was made of what was killed before.
    assert set(released()) - {"v0.1.0"} <= {name.removesuffix("-killed") for name in KILLED}


def test_a_killed_recorders_footage_reads_as_it_did(killed: Fixture) -> None:
    store = killed.folder / "store"
    left = [read_segment(path.read_bytes()) for path in store.glob("*/*/*/*.mp4")]
    # There is something to put right: of each stream the segment that was being written.
    assert sum(segment.footer is None for segment in left) == 3
    start_us, end_us = killed.expected["range_us"]
    with node("recorder", recorder_settings(killed.folder, 9)) as address, nvr.connect(address) as net:
        now = answers(net, start_us, end_us)
    assert now == killed.expected["footage"]
    gate = now["gate"]["streams"]["main"]
    assert len({run for run, *_ in gate["fragments"]}) == 2
    assert gate["coverage"][-1][2] == "recorder_crashed"
    report = Store.check([str(store)], digests=True)
    assert report.problems == []
    assert report.fragments == sum(len(segment.fragments) for segment in left)


def test_what_was_held_stays_held(killed: Fixture) -> None:
    root = killed.folder / "store"
    store = Store([str(root)])
    try:
        held = {each: store.holds(*each) for each in store.streams()}
        assert all((HOLD in holds) == (killed.version != "v0.2.0-killed") for holds in held.values())
        before = {each: sorted(root.joinpath(*each).glob("*/*.mp4")) for each in held}
        assert {len(paths) for paths in before.values()} == {2}
        store.enforce_retention(max_age_us=1)
        for each, paths in before.items():
            assert sorted(root.joinpath(*each).glob("*/*.mp4")) == (paths[:1] if held[each] else [])
    finally:
        store.close()


def test_a_scrub_finds_nothing(left: Fixture) -> None:
    store = Store([str(left.folder / "store")])
    try:
        found = list(iter(store.scrub_next, None))
    finally:
        store.close()
    assert len(found) > 3
    assert not any(step.damaged or step.problems or step.repaired for step in found)


def test_footage_reads_as_it_did(left: Fixture) -> None:
    start_us, end_us = left.expected["range_us"]
    with node("recorder", recorder_settings(left.folder, 9)) as address, nvr.connect(address) as net:
        now = answers(net, start_us, end_us)
        titles = {name: net.camera(name).settings().title for name in STREAMS}
    assert now == left.expected["footage"]
    assert titles == {"gate": "", "yard": "Sân sau"}
    # There was something to read: two runs with a gap between, sound, and a camera switched off.
    gate = now["gate"]["streams"]["main"]
    assert len({run for run, *_ in gate["fragments"]}) == 2
    assert "disconnected" in {reason for *_, reason in gate["coverage"]} or any(
        reason != "recorded" for *_, reason in gate["coverage"][1:-1]
    )
    assert now["yard"]["streams"]["main"]["coverage"][-1][2] == "disabled"


def test_every_byte_of_footage_holds_its_digest(left: Fixture) -> None:
    report = Store.check([str(left.folder / "store")], digests=True)
    assert report.problems == []
    assert report.fragments == sum(
        len(stream["fragments"])
        for camera in left.expected["footage"].values()
        for stream in camera["streams"].values()
    )


def test_passwords_of_cameras_are_unsealed(left: Fixture) -> None:
    folder = left.folder / "data"
    catalog = Catalog(folder, NodeKey.load_or_create(folder))
    try:
        cameras = {camera.settings.name: camera for camera in catalog.cameras()}
    finally:
        catalog.close()
    assert {name: camera.id for name, camera in cameras.items()} == {
        name: camera["id"] for name, camera in left.expected["footage"].items()
    }
    user, password = LOGIN
    for camera in cameras.values():
        assert f"{user}:" in camera.settings.main_url
        assert nvr_password(camera.settings.main_url) == password


def nvr_password(url: str) -> str:
    return unquote(urlsplit(url).password or "")


def test_the_audit_record_goes_on(left: Fixture) -> None:
    """What was written stays as it is, and the next record stands behind it."""
    path = left.folder / "data" / "audit.jsonl"
    before = path.read_bytes()
    assert before.count(b"\n") > 3
    with node("recorder", recorder_settings(left.folder, 9)) as address, nvr.connect(address) as net:
        net.cameras()
        start_us, end_us = left.expected["range_us"]
        answers(net, start_us, end_us)
    after = path.read_bytes()
    assert after.startswith(before)
    assert len(after) > len(before)
    for line in after.splitlines():
        json.loads(line)


def test_the_network_catalog_reads_as_it_did(left: Fixture) -> None:
    if left.version == "v0.1.0":
        assert "catalog" not in left.expected
        return
    with node("gateway", gateway_settings(left.folder)) as address:
        assert catalog_answers(address) == left.expected["catalog"]
