"""What is missing from an answer is said on the command line, to people and to programs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from nvr.cli.exit_codes import ExitCode
from nvr.footage.time import format_instant
from nvr.footage.types import Event
from tests.acceptance.world import SECOND
from tests.cli.conftest import Outcome, Run
from tests.gateway.tree import Served, gateway, served_gateway, serving
from tests.gateway.twins import GATE, WHOLE, ZERO_US, Twin
from tests.support.processes import ChildProcess, wait_for

START, END = format_instant(WHOLE.start_us), format_instant(WHOLE.end_us)
# Both have it; the second one's is shown.
BOTH = format_instant(ZERO_US + 18 * SECOND)
INCOMPLETE = int(ExitCode.INCOMPLETE)


class District:
    """Two nodes that have one camera below a gateway, of which the second does not answer."""

    def __init__(self, run: Run, address: str, first: Twin, lost: Served) -> None:
        self._run = run
        self.address, self.first, self.lost = address, first, lost

    async def run(self, *arguments: str) -> Outcome:
        """Runs ``nvr …``."""
        return await asyncio.to_thread(self._run, *arguments, node=self.address)


@pytest.fixture
async def district(run: Run) -> AsyncIterator[District]:
    first, second = Twin("first", "1", took_over=False), Twin("second", "2", took_over=True)
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(serving(twin)) for twin in (first, second)]
        made = await stack.enter_async_context(gateway("district", [each.address for each in served]))
        top = await stack.enter_async_context(served_gateway(made))
        yield District(run, top.address, first, served[1])


@pytest.mark.parametrize(
    "command",
    [
        ("snapshot", GATE.name, BOTH),
        ("coverage", GATE.name, START, END),
        ("clip", GATE.name, START, END, "--dry-run"),
        ("clip", GATE.name, START, END),
        ("cameras", "list"),
        ("find", START, END),
        ("collect", START, END, "--output", "case"),
        ("sheet", GATE.name, START, END, "--count", "3", "--width", "80"),
    ],
    ids=" ".join,
)
async def test_a_node_that_is_away_is_named(district: District, command: tuple[str, ...]) -> None:
    await district.lost.stop()
    shown = await district.run(*command)
    # A picture is a whole answer, though another node may have a better one.
    expected = 0 if command[0] == "snapshot" else INCOMPLETE
    assert shown.code == expected, shown.err
    assert "warning: node_unreachable (second):" in shown.err
    assert ("the answer is incomplete" in shown.err) == bool(expected)
    told = await district.run(*command, *(("--overwrite",) if command[:1] == ("clip",) else ()), "--json")
    assert (told.code, told.err) == (expected, "")
    warnings = [warning for record in told.records for warning in record.get("warnings", ())]
    assert {(warning["code"], warning["node"]) for warning in warnings} == {("node_unreachable", "second")}
    refused = await district.run(*command, "--partial", "refuse", "--json")
    assert refused.code == INCOMPLETE
    error = json.loads(refused.err)["error"]
    assert (error["reason"], error["node"]) == ("INCOMPLETE", "second")
    assert refused.out == ""


@pytest.mark.parametrize("as_json", [False, True])
async def test_events_tell_at_once_of_a_node_that_goes_away(district: District, as_json: bool) -> None:
    arguments = ("events", *(("--json",) if as_json else ()))
    watch = ChildProcess(["-m", "nvr", *arguments], environment={"NVR_NODE": district.address})
    try:
        event = Event(ZERO_US, "stream_waiting", GATE.id, "main", "refused", "", "first")
        await district.first.events.put(event)
        await asyncio.to_thread(watch.wait_line, lambda line: "stream_waiting" in line)
        # Nothing happens after it.
        await district.lost.stop()
        if as_json:
            said = await asyncio.to_thread(watch.wait_line, lambda line: "node_unreachable" in line)
            record = json.loads(said)
            assert (record["type"], record["node"]) == ("warning", "second")
        else:
            await asyncio.to_thread(
                wait_for,
                lambda: any("warning: node_unreachable (second)" in line for line in watch.errors),
                "the node is named",
            )
    finally:
        await asyncio.to_thread(watch.stop)


async def test_a_limit_says_what_it_cuts(district: District, tmp_path: Path) -> None:
    shown = await district.run("find", "--limit", "1")
    assert shown.code == 0
    assert "2 more: --cursor" in shown.err
    record = (await district.run("find", "--limit", "1", "--json")).records[-1]
    assert (record["complete"], record["remaining"]) == (True, 2)
    rest = await district.run("find", "--cursor", record["cursor"], "--json")
    assert (len(rest.records), rest.records[-1]["remaining"]) == (3, 0)
