"""A gateway's metrics as Prometheus reads them."""

import re
import subprocess

from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from nvr.metrics.gateway_metrics import AreaRollup, GatewayMetrics, LinkState, QueryMetrics, gateway_registry
from nvr.metrics.node_metrics import CallMetrics
from tests.metrics.test_node_metrics import Report, documented, promtool_says, samples
from tests.support.skips import needs_program

LINKS = (
    LinkState("commune-1", up=True, uplink=False, seen_us=1_800_000_000_500_000, clock_offset_us=-1_500_000),
    LinkState(
        "house-7",
        up=False,
        uplink=True,
        received_bytes={"control": 10, "clips": 4000},
        cap_bits_per_s=4_000_000,
        rate_bits_per_s=3_200_000,
    ),
)
AREAS = (
    AreaRollup("38-1", recording=60, waiting=2, disabled=1, oldest_us=1_700_000_000_000_000),
    AreaRollup("", away=5),
)


def registry() -> CollectorRegistry:
    queries = QueryMetrics()
    queries.query(3, [])
    queries.query(5, ["deadline", "node_unreachable", "deadline", "evil\nreason"])
    queries.lease("taken_over")
    calls = CallMetrics(["nvr.v1.FootageService/Find"])
    calls(Report(method="Find"))
    gateway = GatewayMetrics(
        version="0.2.0",
        links=lambda: LINKS,
        areas=lambda: AREAS,
        catalog=lambda: {"up": 1, "version": 17},
        leases=lambda: {("ward", "steady"): 20, ("ward", "uncovered"): 1},
    )
    return gateway_registry(gateway, queries, calls)


def test_links() -> None:
    found = samples(registry())
    assert found["nvr_link_up{node=commune-1,via=dial}"] == 1
    assert found["nvr_link_up{node=house-7,via=uplink}"] == 0
    assert found["nvr_link_clock_offset_seconds{node=commune-1,via=dial}"] == -1.5
    assert found["nvr_link_seen_timestamp_seconds{node=commune-1,via=dial}"] == 1_800_000_000.5
    assert not [key for key in found if "house-7" in key and ("seen" in key or "offset" in key)]


def test_an_uplink() -> None:
    found = samples(registry())
    assert found["nvr_link_received_bytes_total{node=house-7,priority=clips,via=uplink}"] == 4000
    assert found["nvr_link_cap_bytes_per_second{node=house-7,via=uplink}"] == 500_000
    assert found["nvr_link_rate_bytes_per_second{node=house-7,via=uplink}"] == 400_000


def test_areas_and_no_camera() -> None:
    found = samples(registry())
    assert found["nvr_area_cameras{area=38-1,state=recording}"] == 60
    assert found["nvr_area_cameras{area=,state=away}"] == 5
    assert found["nvr_area_oldest_timestamp_seconds{area=38-1}"] == 1_700_000_000
    assert not [key for key in found if "camera=" in key]


def test_questions() -> None:
    found = samples(registry())
    assert found["nvr_queries_total{}"] == 2
    assert found["nvr_queries_partial_total{}"] == 1
    assert found["nvr_query_contacted_nodes_total{}"] == 8
    assert found["nvr_query_omissions_total{reason=deadline}"] == 2
    assert found["nvr_query_omissions_total{reason=other}"] == 1
    assert found["nvr_lease_changes_total{change=taken_over}"] == 1
    assert found["nvr_catalog_version{}"] == 17
    assert found["nvr_leases{group=ward,state=uncovered}"] == 1


def test_the_document_lists_exactly_these() -> None:
    exposed = re.findall(r"^# TYPE (\w+) (\w+)$", generate_latest(registry()).decode(), re.MULTILINE)
    assert documented("## Of a gateway") == dict(exposed)


@needs_program("promtool")
def test_promtool_finds_nothing_to_say() -> None:
    done: subprocess.CompletedProcess[bytes] = promtool_says(generate_latest(registry()))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
