"""The metrics of an uplink as Prometheus reads them."""

import re

from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from nvr.metrics.uplink_metrics import UplinkMetrics, UplinkState
from tests.metrics.test_node_metrics import documented, promtool_says, samples
from tests.support.skips import needs_program

STATE = UplinkState(
    up=True,
    connects=3,
    sent_bytes={"control": 10, "bulk": 5000},
    queued_bytes={"control": 0, "bulk": 70},
    cap_bits_per_s=4_000_000,
    rate_bits_per_s=3_200_000,
)


def registry(state: UplinkState | None) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(UplinkMetrics(lambda: state))
    return made


def test_an_uplink() -> None:
    found = samples(registry(STATE))
    assert found["nvr_uplink_up{}"] == 1
    assert found["nvr_uplink_sent_bytes_total{priority=bulk}"] == 5000
    assert found["nvr_uplink_queued_bytes{priority=bulk}"] == 70
    assert found["nvr_uplink_cap_bytes_per_second{}"] == 500_000
    assert found["nvr_uplink_rate_bytes_per_second{}"] == 400_000


def test_a_node_without_uplink_has_none() -> None:
    assert generate_latest(registry(None)) == b""


def test_the_document_lists_exactly_these() -> None:
    exposed = re.findall(r"^# TYPE (\w+) (\w+)$", generate_latest(registry(STATE)).decode(), re.MULTILINE)
    assert documented("## Of a node with an uplink") == dict(exposed)


@needs_program("promtool")
def test_promtool_finds_nothing_to_say() -> None:
    done = promtool_says(generate_latest(registry(STATE)))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
