import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from nvr.errors import ConfigError, StoreError
from nvr.gateway.config import parse_settings
from nvr.gateway.failover.ledger import Ledger
from nvr.gateway.failover.types import LeaseRecord

RECORD = LeaseRecord("c1", "gate", "a", "b", 4, "a", "taken_over", "a")


def test_what_is_kept_is_there_again_by_group(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.keep("one", [RECORD, replace(RECORD, camera_id="c2", retired=True)])
    ledger.keep("two", [replace(RECORD, epoch=9)])
    ledger.close()
    again = Ledger(tmp_path)
    assert again.records("one") == [RECORD, replace(RECORD, camera_id="c2", retired=True)]
    assert [record.epoch for record in again.records("two")] == [9]
    again.close()


def test_an_epoch_never_goes_down(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.keep("one", [RECORD])
    ledger.keep("one", [replace(RECORD, epoch=3, holder="x")])
    assert ledger.records("one") == [RECORD]
    ledger.keep("one", [replace(RECORD, holder="x")])
    assert ledger.records("one")[0].holder == "x"
    ledger.close()


def test_all_or_none_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with pytest.raises(StoreError):
        ledger.keep("one", [RECORD, replace(RECORD, camera_id="c2", epoch=-1)])
    assert ledger.records("one") == []
    ledger.close()


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    database = sqlite3.connect(tmp_path / "leases.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StoreError, match="later version"):
        Ledger(tmp_path)


NODE = '[node]\nname = "gw"\ndata = "/x"\n'


def test_a_group_of_the_settings() -> None:
    text = NODE + '[[failover.group]]\nname = "ward"\nrecorders = ["a", "b"]\nstandbys = ["s"]\n'
    text += 'dead_after = "3s"\ncapacity_mbps = 400\ngive_back = false\n'
    (settings,) = parse_settings(text).failover.group
    group = settings.group()
    assert group.members == ("a", "b", "s")
    assert (group.dead_after_us, group.heartbeat_ms) == (3_000_000, 1000)
    assert (group.capacity_bps, group.give_back) == (400_000_000, False)


def test_a_recorder_has_one_authority() -> None:
    text = NODE + '[[failover.group]]\nname = "x"\nrecorders = ["a"]\n'
    text += '[[failover.group]]\nname = "x"\nrecorders = ["b", "a"]\nstandby = []\n'
    with pytest.raises(ConfigError) as caught:
        parse_settings(text)
    lines = str(caught.value).splitlines()
    assert lines == [
        "settings: failover.group[2].name: 'x' is also the name of another group",
        "settings: failover.group[2].recorders[2]: the same as in group[1]",
        'settings: failover.group[2].standby: unknown key; did you mean "standbys"?',
    ]
