"""What pages say of the network catalog, typed from top to end at the root of a running network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import nvr
from tests.docs.running import ALL, run
from tests.network.tree import Network, network

WHERE = ("catalog", "catalog_stopped")
PAGES = dict.fromkeys(block.page for block in ALL if block.where in WHERE)
AREAS = {"commune-1": ("gate", "14815"), "commune-2": ("yard", "14818")}


assert PAGES, "no block is marked"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Network]:
    with network(tmp_path / "network", root='[catalog]\ndatabase = "sqlite"\n') as made:
        for node, (camera, area) in AREAS.items():
            with nvr.connect(made.grpc[node]) as net:
                net.camera(camera).update(area=area)
        yield made


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_a_page_of_the_catalog(page: Path, tree: Network, tmp_path: Path) -> None:
    folder = tmp_path / "officer"
    folder.mkdir()
    (folder / "gateway.toml").write_text(tree.settings("province").read_text())
    blocks = [block for block in ALL if block.page == page and block.where in WHERE]
    for block in blocks:
        if block.where == "catalog_stopped":
            tree.processes.pop("province").stop()
        extra = {"NVR_NODE": tree.grpc["province"]}
        replace = {"/var/lib/nvr": str(tree.data("province")), "10.0.0.11:7600": tree.grpc["district"]}
        run(block, folder, extra=extra, replace=replace)
        if block.where == "catalog_stopped":
            tree.start("province")
