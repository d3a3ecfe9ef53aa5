"""Where an instant lies, by the index: the same by name and on a handle."""

import random

import pytest

from nvr import _core
from nvr.errors import Closed, InvalidArgument
from tests.format.conftest import SECOND, Recorded

MODES = (None, "at", "next", "previous")


def same(one: _core.Fragment | None, other: _core.Fragment | None) -> bool:
    if one is None or other is None:
        return one is other
    names = [name for name in dir(one) if not name.startswith("_")]
    assert {"segment", "offset", "run_id", "start_us", "camera_id", "stream"} <= set(names)
    return all(getattr(one, name) == getattr(other, name) for name in names)


def test_a_handle_finds_what_the_name_finds(recorded: Recorded) -> None:
    store = _core.Store([str(recorded.root)], read_only=True)
    try:
        for recording in recorded.recordings:
            handle = store.stream(recording.camera, recording.stream)
            start_us, end_us = store.range(recording.camera, recording.stream) or (0, 0)
            choose = random.Random(3)
            instants = [choose.randrange(start_us - SECOND, end_us + SECOND) for _ in range(200)]
            found = 0
            for at_us in (*instants, start_us - 1, start_us, end_us - 1, end_us):
                for mode in MODES:
                    on_handle = handle.locate_us(at_us, mode)
                    assert same(
                        on_handle, store.locate(recording.camera, recording.stream, at_us, mode or "at")
                    )
                    found += on_handle is not None
            assert found > 400
            shown = handle.locate_us(start_us)
            assert shown is not None
            assert (shown.camera_id, shown.stream) == (recording.camera, recording.stream)
            assert shown.start_us <= start_us < shown.start_us + shown.duration_us
            assert b"moof" in store.read_fragment(shown)
    finally:
        store.close()


def test_a_handle_of_what_is_not_there(recorded: Recorded) -> None:
    store = _core.Store([str(recorded.root)], read_only=True)
    handle = store.stream("0193143f-0000-7000-8000-0000000000ff", "sub")
    assert handle.locate_us(0, "next") is None
    with pytest.raises(InvalidArgument):
        handle.locate_us(0, "near")
    with pytest.raises(InvalidArgument):
        store.stream("no id", "main")
    store.close()
    with pytest.raises(Closed):
        handle.locate_us(0)
