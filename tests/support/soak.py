"""Tests that take longer than ``make test`` may: marked ``soak``, deselected unless ``make soak`` runs."""

import os

import pytest

SOAK = bool(os.environ.get("NVR_SOAK"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "soak: runs in `make soak` only (NVR_SOAK=1)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SOAK:
        return
    left_out = [item for item in items if item.get_closest_marker("soak") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("soak") is None]
