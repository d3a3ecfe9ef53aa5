"""What a recorder opens first."""

from pathlib import Path

import pytest

from nvr.errors import StoreError
from nvr.recorder.config import parse_settings
from nvr.recorder.node import RecorderNode
from nvr.recorder.opening import Opening


def settings_of(store: Path) -> str:
    return f"""
        [node]
        name = "first"
        stores = ["{store}"]
        grpc = "127.0.0.1:0"
    """


def test_a_store_that_nobody_takes_is_let_go(tmp_path: Path) -> None:
    settings = parse_settings(settings_of(tmp_path / "store"))
    for _ in range(2):
        # Meanwhile nobody else has the folder.
        with Opening(settings), pytest.raises(StoreError, match="process"):
            Opening(settings)
    with Opening(settings) as opening:
        store = opening.store()
        assert store.streams() == []
    # Who takes it closes it.
    store.sync()
    store.close()


def test_what_cannot_be_opened_is_told_and_let_go(tmp_path: Path) -> None:
    settings = parse_settings(settings_of(tmp_path / "store"))
    (tmp_path / "store").touch()
    with pytest.raises(StoreError):
        Opening(settings)
    (tmp_path / "store").unlink()
    with Opening(settings) as opening:
        opening.store().close()


async def test_a_node_takes_what_was_begun_for_it(tmp_path: Path) -> None:
    settings = parse_settings(settings_of(tmp_path / "store"))
    with Opening(settings) as opening:
        async with RecorderNode(settings, opening) as node:
            assert (await node.footage.node()).name == "first"
            with pytest.raises(StoreError):
                Opening(settings)
    # All of it is let go: it opens again.
    async with RecorderNode(settings):
        pass
