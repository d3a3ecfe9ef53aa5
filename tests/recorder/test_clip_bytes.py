"""Bytes of a clip, as a recorder's own source reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nvr.footage.types import ClipData, ClipHead, ClipRequest, ReadContext, TimeRange
from nvr.recorder import local_footage as module
from nvr.recorder.read_pool import ReadPool
from tests.acceptance.recorded import GATE, local_footage, record_world

CHUNK_BYTES = 4096


async def test_a_clip_in_the_page_cache_is_read_without_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = 0
    submit = ReadPool.submit

    def counted(pool: ReadPool, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal handed
        handed += 1
        return submit(pool, call, *args, **kwargs)

    monkeypatch.setattr(module, "_CHUNK_BYTES", CHUNK_BYTES)
    with record_world(tmp_path) as recorded:
        async with local_footage(recorded) as source:
            run = recorded.world.gate.runs[0]
            request = ClipRequest(GATE, TimeRange(run.start_us, run.end_us))
            monkeypatch.setattr(ReadPool, "submit", counted)
            steps = [step async for step in source.read_clip(ReadContext(), request)]
    parts = next(step.parts for step in steps if isinstance(step, ClipHead))
    data = [step for step in steps if isinstance(step, ClipData)]
    assert sum(step.size for step in data) == sum(part.size_bytes for part in parts)
    assert len(data) > 20
    # Such as the plan, and the end of each part; none of the bytes.
    assert handed < 5
