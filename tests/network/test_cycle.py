"""Two gateways that were told to ask each other: found out, named with its path, and repaired."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import nvr
from nvr.footage.time import to_datetime
from tests.footage.memory import memory_world
from tests.support.node import memory_node
from tests.support.processes import ChildProcess, free_port, wait_for

GATE = memory_world().gate
START, END = to_datetime(GATE.start_us), to_datetime(GATE.end_us)


class Pair:
    """``upper`` and ``lower``, each in a process of its own; the lower one has a recorder."""

    def __init__(self, folder: Path, recorder: str) -> None:
        self._folder = folder
        self._recorder = recorder
        self.grpc = {name: f"127.0.0.1:{free_port()}" for name in ("upper", "lower")}
        self.processes: dict[str, ChildProcess] = {}

    def start(self, name: str, *below: str) -> None:
        """A gateway over a node of the pair, or the recorder."""
        children = [self.grpc.get(each, self._recorder) for each in below]
        text = f'[node]\nname = "{name}"\ndata = "{self._folder / name}"\ngrpc = "{self.grpc[name]}"\n'
        text += "".join(f'[[child]]\naddress = "{child}"\n' for child in children)
        settings = self._folder / f"{name}.toml"
        settings.write_text(text)
        self.processes[name] = ChildProcess(["-m", "nvr", "gateway", "--config", str(settings), "--json"])
        self.processes[name].wait_line(lambda line: line.startswith("{"))

    def stop(self, *names: str) -> None:
        for name in names or tuple(self.processes):
            self.processes.pop(name).stop()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        made = Pair(tmp_path, stack.enter_context(memory_node()))
        stack.callback(made.stop)
        yield made


def found(address: str) -> tuple[set[str], bool, set[str]]:
    """Cameras with footage, whether that is all, and the codes of warnings."""
    with nvr.connect(address) as net:
        answer = net.find(start=START, end=END)
        cameras = {each.camera.name for each in answer if each.spans}
        return cameras, bool(answer.complete), {warning.code for warning in answer.warnings}


def test_two_gateways_that_ask_each_other(pair: Pair) -> None:
    pair.start("lower", "recorder", "upper")
    pair.start("upper", "lower")

    def refused() -> list[str]:
        """What the nodes that refuse the other say of it."""
        said = [line for process in pair.processes.values() for line in process.errors]
        return [line for line in said if "a cycle: " in line]

    wait_for(lambda: bool(refused()), "the cycle is found out", every_s=0.05)
    assert all("node_lied" in line for line in refused())
    assert any(
        path in line for line in refused() for path in ("upper → lower → upper", "lower → upper → lower")
    ), refused()
    # What is recorded is found, once, and the answer says whose is not there.
    wait_for(lambda: "market-gate" in found(pair.grpc["lower"])[0], "the recorder is asked", every_s=0.1)
    cameras, _, codes = found(pair.grpc["lower"])
    assert cameras == {"market-gate", "yard"}
    assert codes <= {"node_lied"}
    # The lower one asks no longer upwards: the upper one takes it again by itself.
    pair.stop("lower")
    pair.start("lower", "recorder")
    wait_for(
        lambda: found(pair.grpc["upper"]) == ({"market-gate", "yard"}, True, set()),
        "the tree is whole",
        within_s=120,
        every_s=0.2,
    )


def test_a_gateway_that_asks_itself(pair: Pair) -> None:
    pair.start("upper", "upper", "recorder")
    process = pair.processes["upper"]
    wait_for(lambda: any("a cycle: upper → upper" in line for line in process.errors), "it is found out")
    wait_for(lambda: bool(found(pair.grpc["upper"])[0]), "the recorder is asked", every_s=0.1)
    cameras, complete, codes = found(pair.grpc["upper"])
    assert (cameras, complete, codes) == ({"market-gate", "yard"}, False, {"node_lied"})
