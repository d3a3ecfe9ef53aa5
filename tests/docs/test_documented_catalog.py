"""What the documents say about the network catalog: all of a page, at a real root, in its order."""

from pathlib import Path

import psycopg
import pytest

from tests.cli.roots import root_of_a_catalog
from tests.docs.running import ALL, run, that_run
from tests.network_catalog.databases import postgres_server
from tests.support.documents import Block, blocks

ABOUT = ("catalog", "catalog_stopped")
PAGES = list(dict.fromkeys(block.page for block in ALL if block.where == "catalog"))


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_blocks_about_the_network_catalog(page: Path, tmp_path: Path) -> None:
    """Each block goes on from what those before it left."""
    settings = next(
        block.text for block in blocks(page) if block.language == "toml" and "[catalog]" in block.text
    )
    with root_of_a_catalog(tmp_path, settings=settings, config_name="gateway.toml") as root:
        replace = {"/var/lib/nvr": str(root.data), "10.0.0.11:7600": root.recorder}
        for block in (block for block in ALL if block.page == page and block.where in ABOUT):
            stopped = block.where == "catalog_stopped"
            if stopped and root.process is not None:
                # Lost with the database, and known to the node.
                root.good("areas", "rename", "38", "Another name")
                root.stop()
            elif not stopped and root.process is None:
                root.start()
                assert root.records("catalog", "status")[0]["state"] == "behind"
            run(block, tmp_path, extra={"NVR_NODE": root.address}, replace=replace)
        assert root.records("catalog", "status")[0]["state"] == "root"
        assert len(root.records("catalog", "history")) > 3


@pytest.mark.parametrize("block", that_run("postgresql"))
def test_blocks_beside_a_postgresql_server(block: Block, tmp_path: Path) -> None:
    with postgres_server() as server:
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "nvr", "PGDATABASE": "nvr"}
        run(block, tmp_path, extra=address, replace={"createdb": str(server.programs / "createdb")})
        with psycopg.connect(f"postgresql://nvr@127.0.0.1:{server.port}/nvr") as connection:
            assert connection.info.encoding == "utf-8"
