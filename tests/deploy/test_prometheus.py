"""Rules, their tests and the dashboard say what they should, of metrics that there are."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.metrics.test_node_metrics import documented
from tests.support.processes import REPOSITORY
from tests.support.skips import needs_program

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "nvr.json"
# What the issue of a network's operation names; each has an alert.
ALERTS = {
    "NvrCameraSilent",
    "NvrGapGrowing",
    "NvrCameraClockOff",
    "NvrNodeClockOff",
    "NvrDiskDaysLeft",
    "NvrNodeDown",
    "NvrLinkDown",
    "NvrLeaseTakenOver",
    "NvrQueryPartial",
}


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )


@needs_program("promtool")
def test_the_rules_pass_their_tests() -> None:
    for arguments in (
        ("check", "rules", "nvr.rules.yml"),
        ("test", "rules", "nvr.tests.yml"),
        ("check", "config", "prometheus.yml"),
    ):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_there_and_tested() -> None:
    rules, tests = ((PROMETHEUS / name).read_text() for name in ("nvr.rules.yml", "nvr.tests.yml"))
    alerts = set(re.findall(r"^\s+- alert: (\w+)$", rules, re.MULTILINE))
    assert alerts >= ALERTS
    fires = set(re.findall(r"alertname: (\w+)\n\s+eval_time: \w+\n\s+exp_alerts:\n", tests))
    assert fires == alerts, "an alert that no test sees firing"


def used(text: str) -> set[str]:
    """Names of metrics in expressions, those of histograms without their suffix."""
    names = set(re.findall(r"\b(nvr_\w+)", text))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def recorded() -> set[str]:
    return set(re.findall(r"record: (nvr:\S+)", (PROMETHEUS / "nvr.rules.yml").read_text()))


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "query") and isinstance(inner, str):
                yield inner
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def test_rules_and_dashboard_speak_of_metrics_that_there_are() -> None:
    headings = ("## Of a recorder", "## Of a node with an uplink", "## Of a gateway")
    known = set().union(*map(documented, headings))
    rules = "\n".join(
        line for line in (PROMETHEUS / "nvr.rules.yml").read_text().splitlines() if "action:" not in line
    )
    board = "\n".join(expressions(json.loads(DASHBOARD.read_text())))
    assert used(rules) <= known
    assert used(board) <= known
    assert set(re.findall(r"\bnvr:[\w:]+", rules + board)) <= recorded()


@needs_program("promtool")
def test_every_panel_asks_what_prometheus_understands(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    # promtool checks the syntax of rules: each expression becomes one.
    lines = ["groups:", "- name: panels", "  rules:"]
    for number, panel in enumerate(panels):
        assert panel["title"]
        for target in panel["targets"]:
            expression = re.sub(r"\$(instance|area)", ".*", target["expr"])
            lines += [
                f"  - record: panel:{number}{target['refId'].lower()}",
                f"    expr: {json.dumps(expression)}",
            ]
    rules = tmp_path / "panels.yml"
    rules.write_text("\n".join(lines) + "\n")
    done = promtool("check", "rules", str(rules))
    assert done.returncode == 0, done.stdout + done.stderr
