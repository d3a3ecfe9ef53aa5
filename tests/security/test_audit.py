import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from nvr.errors import StoreError
from nvr.security.audit import AuditEntry, AuditLog
from nvr.security.identity import Caller

ENTRY = AuditEntry(
    request_id="r-1",
    method="nvr.v1.FootageService/ReadClip",
    caller=Caller("node", "ab", "ipv4:10.0.0.1:5"),
    peer="ipv4:10.0.0.1:5",
    cameras=("chợ",),
    stream="main",
    start_us=1,
    end_us=2,
    purpose="theft\n at the market",
    case_number="7/2024",
)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text("utf-8").splitlines()]


async def test_a_line_has_all_there_is_to_know(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    await log.opened(ENTRY, durable=True)
    await log.closed(ENTRY, outcome="OK", sent_bytes=77)
    log.close()
    opened, closed = lines(tmp_path)
    assert (opened["event"], closed["event"]) == ("opened", "closed")
    assert closed | {"at": ""} == {
        "at": "",
        "event": "closed",
        "request_id": "r-1",
        "method": "nvr.v1.FootageService/ReadClip",
        "caller": "node:ab",
        "peer": "ipv4:10.0.0.1:5",
        "cameras": ["chợ"],
        "where": "",
        "stream": "main",
        "start_us": 1,
        "end_us": 2,
        "purpose": "theft\n at the market",
        "case_number": "7/2024",
        "outcome": "OK",
        "sent_bytes": 77,
    }
    assert opened["at"].endswith("+00:00")
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_lines_are_synced_before_evidence_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fdatasync
    log = AuditLog(tmp_path)

    def count(descriptor: int) -> None:
        synced.append(len(lines(tmp_path)))
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", count)
    await log.closed(ENTRY, outcome="OK", sent_bytes=0)
    assert synced == []
    await log.opened(ENTRY, durable=True)
    assert synced == [2]
    log.close()


async def test_lines_of_many_calls_do_not_mix(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    await asyncio.gather(*(log.closed(ENTRY, outcome="OK", sent_bytes=n) for n in range(200)))
    log.close()
    assert sorted(line["sent_bytes"] for line in lines(tmp_path)) == list(range(200))


async def test_a_line_torn_by_a_crash_harms_no_other(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    await log.closed(ENTRY, outcome="OK", sent_bytes=1)
    log.close()
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at":"20')
    log = AuditLog(tmp_path)
    await log.closed(ENTRY, outcome="OK", sent_bytes=2)
    log.close()
    first, torn, last = path.read_text("utf-8").splitlines()
    assert json.loads(first)["sent_bytes"] == 1
    assert torn == '{"at":"20'
    assert json.loads(last)["sent_bytes"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
async def test_a_full_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to("/dev/full")
    log = AuditLog(tmp_path)
    with pytest.raises(StoreError, match="nothing is answered"):
        await log.opened(ENTRY, durable=True)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone"):
        AuditLog(tmp_path / "gone")


def test_refused_requests_cannot_fill_the_record() -> None:
    huge = AuditEntry("r" * 9999, "m", None, cameras=("c" * 9999,) * 9999, purpose="p" * 9999).bounded()
    assert len(huge.request_id) == len(huge.purpose) == len(huge.cameras[0]) == 500
    assert len(huge.cameras) == 1000
