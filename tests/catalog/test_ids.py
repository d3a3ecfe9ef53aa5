"""Ids as RFC 9562 has them."""

import time
import uuid

from nvr.catalog.ids import uuid7


def test_version_variant_and_time() -> None:
    before_ms = time.time_ns() // 1_000_000
    minted = uuid.UUID(uuid7())
    after_ms = time.time_ns() // 1_000_000
    assert minted.version == 7
    assert minted.variant == uuid.RFC_4122
    assert before_ms <= minted.int >> 80 <= after_ms


def test_ids_are_lower_case_and_differ() -> None:
    ids = {uuid7() for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(text == str(uuid.UUID(text)) for text in ids)
