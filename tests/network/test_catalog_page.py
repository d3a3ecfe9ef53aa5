"""The page of the network catalog, typed from its top to its end at the root of a running network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nvr
from tests.docs.running import ALL, run
from tests.network.tree import Network, network
from tests.support.documents import ROOT

PAGE = ROOT / "docs" / "catalog.md"
AREAS = {"commune-1": ("gate", "14815"), "commune-2": ("yard", "14818")}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path / "network", root='[catalog]\ndatabase = "sqlite"\n') as made:
        for node, (camera, area) in AREAS.items():
            with nvr.connect(made.grpc[node]) as net:
                net.camera(camera).update(area=area)
        yield made


@pytest.mark.timeout(600)
def test_the_page_of_the_catalog(tree: Network, tmp_path: Path) -> None:
    folder = tmp_path / "officer"
    folder.mkdir()
    (folder / "gateway.toml").write_text(tree.settings("province").read_text())
    blocks = [block for block in ALL if block.page == PAGE and block.where is not None]
    assert {block.where for block in blocks} == {"catalog", "catalog_stopped"}
    for block in blocks:
        if block.where == "catalog_stopped":
            tree.processes.pop("province").stop()
        extra = {"NVR_NODE": tree.grpc["province"]}
        run(block, folder, extra=extra, replace={"/var/lib/nvr": str(tree.data("province"))})
        if block.where == "catalog_stopped":
            tree.start("province")
