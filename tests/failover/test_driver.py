"""The driver's own promises: what is handed out is on disk, and nobody is let down by a disk that fails."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import grpc

from nvr.errors import StoreError
from nvr.footage.types import Event
from nvr.gateway.failover.driver import Driver
from nvr.gateway.failover.ledger import Ledger
from nvr.gateway.failover.types import Group, LeaseEvent, LeaseRecord, Outcome, Take

GROUP = Group("g", ("a",), ("s",))
RECORD = LeaseRecord("c1", "gate", "a", "s", 1, "a")
DONE = Outcome([RECORD], [Take("c1", "s", 1)], [LeaseEvent("lease_taken_over", "c1", "gate", "from a to s")])


class FailingLedger(Ledger):
    """Its disk says no some times."""

    def __init__(self, folder: Path, failures: int) -> None:
        super().__init__(folder)
        self.failures = failures

    def keep(self, group: str, records: Iterable[LeaseRecord]) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("no space left")
        super().keep(group, records)


async def test_nothing_is_handed_out_that_is_not_on_disk(tmp_path: Path) -> None:
    ledger = FailingLedger(tmp_path, failures=1)
    kept_when_dialled: list[list[LeaseRecord]] = []
    told: list[Event] = []
    dialled = asyncio.Event()

    def channel_of(name: str) -> grpc.aio.Channel | None:
        kept_when_dialled.append(ledger.records("g"))
        dialled.set()
        return None

    driver = Driver(GROUP, ledger=ledger, channel_of=channel_of, on_event=told.append, node="gw")
    await driver.step(lambda _now_us: DONE)
    await dialled.wait()
    assert kept_when_dialled[0] == [RECORD]
    assert ledger.failures == 0
    assert [(event.kind, event.camera_id, event.node) for event in told] == [("lease_taken_over", "c1", "gw")]
    ledger.close()
