"""What happens to a ward in one history: a seed gives the steps; written so, they can be run again."""

import random
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.network.ward import KEEPER, SPARE, WARD, Ward

Kind = Literal["kill", "start", "pause", "resume", "cut", "heal", "slow", "fast"]

_UNDO: dict[Kind, Kind] = {"kill": "start", "pause": "resume", "cut": "heal", "slow": "fast"}
_CABLES = (
    *((name, switch) for name in ("alpha", "beta", SPARE) for switch in ("office", "cams")),
    (KEEPER, "office"),
    (WARD, "office"),
    (WARD, "trunk"),
)
_KILLED = ("alpha", "beta", SPARE, KEEPER, WARD)
_SLOWED = (("alpha", "office"), (KEEPER, "office"), (WARD, "trunk"))
_RATES = ("256kbit", "1mbit")
_MOST_BROKEN = 3
# Long enough to be noticed, as a rule: a silent recorder is dead after 6 s.
_LASTS_S = (3.0, 14.0)
_PAUSE_S = (0.3, 4.0)


@dataclass(frozen=True)
class Step:
    at_s: float
    kind: Kind
    node: str
    cable: str = ""
    rate: str = ""

    def __str__(self) -> str:
        return " ".join(
            part for part in (f"{self.at_s:6.2f}", self.kind, self.node, self.cable, self.rate) if part
        )

    def apply(self, ward: Ward) -> None:
        """Does it. Blocks until a node that is started serves."""
        match self.kind:
            case "kill":
                ward.kill(self.node)
            case "start":
                ward.start(self.node)
            case "pause":
                ward.processes[self.node].send(signal.SIGSTOP)
            case "resume":
                ward.processes[self.node].send(signal.SIGCONT)
            case "cut":
                ward.host(self.node).cables[self.cable].cut()
            case "heal":
                ward.host(self.node).cables[self.cable].heal()
            case "slow" | "fast":
                ward.host(self.node).cables[self.cable].slow(self.rate or None, self.rate or None)


def history(seed: int, seconds: float) -> list[Step]:
    """The steps in order of time; what is broken at the end is mended by its last steps."""
    chance = random.Random(seed)
    steps: list[Step] = []
    broken: list[tuple[float, Step]] = []
    at_s = 0.0
    while True:
        at_s += chance.uniform(*_PAUSE_S)
        for undone_s, step in sorted(broken, key=lambda each: each[0]):
            if undone_s <= at_s or at_s >= seconds:
                undone = min(undone_s, seconds)
                steps.append(Step(undone, _UNDO[step.kind], step.node, step.cable))
                broken.remove((undone_s, step))
        if at_s >= seconds:
            break
        if len(broken) < _MOST_BROKEN:
            step = _fault(chance, at_s)
            taken = {(other.kind == "slow", other.node, other.cable) for _, other in broken}
            dead = {other.node for _, other in broken if other.kind == "kill"}
            if (step.kind == "slow", step.node, step.cable) not in taken and step.node not in dead:
                steps.append(step)
                broken.append((at_s + chance.uniform(*_LASTS_S), step))
    return sorted(steps, key=lambda each: each.at_s)


def _fault(chance: random.Random, at_s: float) -> Step:
    kind = chance.choices(("kill", "pause", "cut", "slow"), (4, 1, 5, 1))[0]
    if kind == "kill":
        return Step(at_s, "kill", chance.choice(_KILLED))
    if kind == "pause":
        return Step(at_s, "pause", chance.choice(_KILLED))
    if kind == "cut":
        return Step(at_s, "cut", *chance.choice(_CABLES))
    return Step(at_s, "slow", *chance.choice(_SLOWED), chance.choice(_RATES))


def told(seed: int, seconds: float, steps: list[Step]) -> Iterator[str]:
    """A history for who has to run it again."""
    yield f"NVR_HISTORY={seed}:{seconds:g} runs this history again:"
    yield from map(str, steps)
