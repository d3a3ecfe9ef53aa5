"""What earlier versions left on disk is read right: footage, cameras with their passwords, catalogs.

Each archive was written by that version's own code, with what it answered then (:mod:`make`).
"""

import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import nvr
from nvr._core import Store
from nvr.catalog.catalog import Catalog
from nvr.security.node_key import NodeKey
from tests.upgrade.asking import STREAMS, answers
from tests.upgrade.make import LOGIN, catalog_answers, gateway_settings, node, recorder_settings

HERE = Path(__file__).parent
VERSIONS = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))


@dataclass(frozen=True)
class Fixture:
    version: str
    folder: Path
    expected: dict[str, Any]


@pytest.fixture(params=VERSIONS)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fixture]:
    folder = tmp_path / "fixture"
    with tarfile.open(HERE / f"{request.param}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    yield Fixture(request.param, folder, json.loads((folder / "expected.json").read_text()))
    shutil.rmtree(folder)


def test_there_is_a_fixture_of_each_release() -> None:
    assert {"v0.1.0", "v0.2.0"} <= set(VERSIONS)


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
