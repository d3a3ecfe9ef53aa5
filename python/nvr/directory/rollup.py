"""Counts by area, for metrics: read from the file on a thread of their own."""

import sqlite3
from collections.abc import Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AreaCounts", "area_counts"]


@dataclass(slots=True)
class AreaCounts:
    """Cameras that stand in an area itself, each counted where it is to be recorded."""

    area: str
    recording: int = 0
    waiting: int = 0
    disabled: int = 0
    away: int = 0
    oldest_us: int | None = None
    """Since when each recorded one has footage."""


def area_counts(database: Path, away: Set[str]) -> Sequence[AreaCounts]:
    """``away``: ids of nodes of which nobody knows what they do now. May block, on any thread."""
    found: dict[str, AreaCounts] = {}
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute(
            "SELECT c.area, n.id, c.state, count(*), max(c.main_oldest) "
            "FROM camera c JOIN node n ON n.key = c.node "
            "WHERE NOT c.gone AND c.assigned AND c.state <> 'removed' GROUP BY c.area, n.id, c.state"
        )
        for area, node_id, state, count, oldest_us in rows:
            counts = found.setdefault(area, AreaCounts(area))
            state = "away" if node_id in away and state != "disabled" else state
            setattr(counts, state, getattr(counts, state) + count)
            if oldest_us and state == "recording":
                counts.oldest_us = max(counts.oldest_us or 0, oldest_us)
    return sorted(found.values(), key=lambda counts: counts.area)
