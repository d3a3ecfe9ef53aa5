from collections.abc import Iterator

import pytest

import nvr
from nvr.client import _save
from tests.support.node import memory_node


@pytest.fixture(scope="session", autouse=True)
def quick_retries() -> Iterator[None]:
    """The wait between attempts is not what these tests are about."""
    before, _save._BACKOFF_FIRST_S = _save._BACKOFF_FIRST_S, 0.001
    yield
    _save._BACKOFF_FIRST_S = before


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    with memory_node() as address:
        yield address


@pytest.fixture
def net(address: str) -> Iterator[nvr.Network]:
    with nvr.connect(address) as network:
        yield network
