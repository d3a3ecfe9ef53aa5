from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nvr.catalog.catalog import Catalog
from nvr.catalog.leases import LeaseBook, Prepared
from nvr.errors import DamagedError, LeaseStale, StoreError
from nvr.security.node_key import NodeKey

CAMERA = "0192f0a0-0000-7000-8000-000000000001"
TAKER, OTHER = "a" * 64, "b" * 64


@pytest.fixture
def key(tmp_path: Path) -> NodeKey:
    return NodeKey.load_or_create(tmp_path)


@pytest.fixture
def book(tmp_path: Path, key: NodeKey) -> Iterator[LeaseBook]:
    Catalog(tmp_path, key).close()
    opened = LeaseBook(tmp_path, key, now_us=lambda: 5)
    yield opened
    opened.close()


def again(tmp_path: Path, key: NodeKey) -> LeaseBook:
    return LeaseBook(tmp_path, key)


def test_what_is_taken_is_held_after_a_restart(tmp_path: Path, key: NodeKey, book: LeaseBook) -> None:
    assert book.take(CAMERA, 3).since_us == 5
    assert book.take(CAMERA, 3).held
    other = again(tmp_path, key)
    lease = other.leases()[CAMERA]
    other.close()
    assert (lease.epoch, lease.held) == (3, True)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_lower_epoch_is_stale(book: LeaseBook, epoch: int) -> None:
    book.take(CAMERA, 3)
    refusals: list[Callable[[], object]] = [
        lambda: book.take(CAMERA, epoch),
        lambda: book.give_up(CAMERA, epoch, TAKER),
        lambda: book.give_up(CAMERA, 3, TAKER),
    ]
    for refused in refusals:
        with pytest.raises(LeaseStale) as caught:
            refused()
        assert caught.value.facts == {"epoch": "3"}
    assert book.leases()[CAMERA].held


def test_an_epoch_that_another_took_is_not_this_nodes(book: LeaseBook) -> None:
    book.take(CAMERA, 3)
    assert not book.give_up(CAMERA, 4, TAKER).held
    assert book.give_up(CAMERA, 4, TAKER).taker_id == TAKER
    with pytest.raises(LeaseStale, match="which another node took"):
        book.take(CAMERA, 4)
    assert book.take(CAMERA, 5).held


def test_marking_changes_nothing(book: LeaseBook) -> None:
    book.mark(CAMERA)
    assert (book.leases()[CAMERA].epoch, book.leases()[CAMERA].held) == (0, True)


def test_prepared_settings_are_sealed_on_disk(tmp_path: Path, key: NodeKey, book: LeaseBook) -> None:
    prepared = Prepared(CAMERA, OTHER, "rtsp://admin:geheim@192.0.2.1/", 7)
    assert "geheim" not in repr(prepared)
    book.prepare(prepared)
    assert book.prepared() == {CAMERA: prepared}
    for path in tmp_path.glob("catalog.sqlite*"):
        assert b"geheim" not in path.read_bytes()
    stranger_folder = tmp_path / "stranger"
    stranger_folder.mkdir()
    stranger = LeaseBook(tmp_path, NodeKey.load_or_create(stranger_folder))
    with pytest.raises(DamagedError):
        stranger.prepared()
    stranger.close()
    lease = book.forget(CAMERA)
    assert not lease.held
    assert book.prepared() == {}


def test_without_the_catalogs_tables_it_says_so(tmp_path: Path, key: NodeKey) -> None:
    book = LeaseBook(tmp_path, key)
    with pytest.raises(StoreError, match="no such table"):
        book.leases()
    book.close()
