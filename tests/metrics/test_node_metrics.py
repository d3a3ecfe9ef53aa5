"""Metrics as Prometheus reads them."""

import http.client
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import CollectorRegistry

from nvr.errors import ConfigError
from nvr.metrics.http import MetricsServer
from nvr.metrics.node_metrics import CallMetrics, IoHistogram, NodeMetrics, node_registry
from nvr.recorder.scrub import ScrubCounts
from tests.support.skips import needs_program

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
CAMERA = "0190a0a0-0000-7000-8000-000000000001"


# Values of the shapes that the core gives; the core itself is behind the metrics in tests/recorder.
@dataclass(frozen=True)
class Status:
    camera_id: str = CAMERA
    stream: str = "main"
    state: str = "recording"
    last_frame_us: int = 1_800_000_000_500_000
    frames: int = 150
    bytes: int = 2_000_000
    lost_packets: int = 3
    recorded_us: int = 10_500_000
    camera_clock_offset_us: int | None = -250_000
    reconnects: Mapping[str, int] = field(
        default_factory=lambda: {"refused": 2, "evil\nreason": 1, "later": 4}
    )
    gap_us: Mapping[str, int] = field(default_factory=lambda: {"silent": 1_500_000})


@dataclass(frozen=True)
class Usage:
    root: str = "/srv/a"
    total_bytes: int = 1000
    free_bytes: int = 400
    footage_bytes: int = 500
    held_bytes: int = 0
    oldest_us: int | None = 1_700_000_000_000_000
    trouble: tuple[str, str] | None = None


@dataclass(frozen=True)
class Report:
    service: str = "nvr.v1.FootageService"
    method: str = "ReadClip"
    outcome: str = "OK"
    status: str = "OK"
    seconds: float = 0.02
    sent_bytes: int = 10


def registry(
    status: Sequence[Status] = (Status(),),
    usage: Sequence[Usage] = (Usage(),),
    calls: Sequence[Report] = (Report(),),
) -> CollectorRegistry:
    histogram: IoHistogram = ((0.001, 0.01, 1.0), (3, 2, 1, 4), 12.5)
    node = NodeMetrics(
        version="0.1.0",
        status=lambda: status,
        disk_usage=lambda: usage,
        io_histograms=lambda: {"write": histogram, "sync": histogram},
        scrub=lambda: ScrubCounts(bytes=5_000, damaged_fragments=2, passes=1),
        camera_name={CAMERA: "market-gate"}.__getitem__,
    )
    counted = CallMetrics(["nvr.v1.FootageService/ReadClip"])
    for call in calls:
        counted(call)
    return node_registry(node, counted)


def samples(source: CollectorRegistry) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(generate_latest(source).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            assert f"{sample.name}{{{labels}}}" not in found
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_values_are_in_base_units_and_named() -> None:
    found = samples(registry())
    of = "camera=market-gate"
    assert found["nvr_build_info{version=0.1.0}"] == 1
    assert found[f"nvr_stream_up{{{of},stream=main}}"] == 1
    assert found[f"nvr_stream_recorded_seconds_total{{{of},stream=main}}"] == 10.5
    assert found[f"nvr_stream_gap_seconds_total{{{of},reason=silent,stream=main}}"] == 1.5
    assert found[f"nvr_stream_last_frame_timestamp_seconds{{{of},stream=main}}"] == 1_800_000_000.5
    assert found[f"nvr_stream_camera_clock_offset_seconds{{{of},stream=main}}"] == -0.25
    assert found[f"nvr_stream_received_bytes_total{{{of},stream=main}}"] == 2_000_000
    assert found[f"nvr_stream_frames_total{{{of},stream=main}}"] == 150
    assert found[f"nvr_stream_lost_packets_total{{{of},stream=main}}"] == 3
    assert found[f"nvr_stream_reconnects_total{{{of},reason=refused,stream=main}}"] == 2
    assert found["nvr_store_free_bytes{store=/srv/a}"] == 400
    assert found["nvr_store_oldest_timestamp_seconds{store=/srv/a}"] == 1_700_000_000
    assert found["nvr_scrub_read_bytes_total{}"] == 5_000
    assert found["nvr_scrub_damaged_fragments_total{}"] == 2
    assert found["nvr_scrub_passes_total{}"] == 1


def test_reasons_that_are_not_known_share_one_label() -> None:
    found = samples(registry())
    assert found["nvr_stream_reconnects_total{camera=market-gate,reason=other,stream=main}"] == 5
    reasons = {match[1] for key in found if (match := re.search("reason=([^,}]*)", key))}
    assert reasons == {"refused", "silent", "other"}


def test_histograms_are_cumulative() -> None:
    found = samples(registry())
    for name in ("nvr_segment_write_seconds", "nvr_store_sync_seconds"):
        counts = [found[f"{name}_bucket{{le={bound}}}"] for bound in ("0.001", "0.01", "1.0", "+Inf")]
        assert counts == [3, 5, 6, 10]
        assert found[f"{name}_count{{}}"] == 10
        assert found[f"{name}_sum{{}}"] == 12.5


def test_calls_by_method_and_code() -> None:
    calls = [
        Report(),
        Report(seconds=0.025),
        Report(seconds=1e9),
        Report(status="NOT_FOUND"),
        Report(method="x" * 99),
    ]
    found = samples(registry(calls=calls))
    name = "method=nvr.v1.FootageService/ReadClip"
    assert found[f"nvr_rpc_seconds_bucket{{code=OK,le=0.01,{name}}}"] == 0
    assert found[f"nvr_rpc_seconds_bucket{{code=OK,le=0.025,{name}}}"] == 2
    assert found[f"nvr_rpc_seconds_count{{code=OK,{name}}}"] == 3
    assert found[f"nvr_rpc_seconds_count{{code=NOT_FOUND,{name}}}"] == 1
    assert found["nvr_rpc_seconds_count{code=OK,method=other}"] == 1


def test_a_failed_disk_is_told_with_its_reason() -> None:
    found = samples(registry([], [Usage(trouble=("disk_full", "write …: No space left on device"))], []))
    assert found["nvr_store_trouble{reason=disk_full,store=/srv/a}"] == 1
    assert not [key for key in samples(registry()) if "trouble" in key]


def test_what_is_not_known_is_absent() -> None:
    silent = Status(state="waiting", last_frame_us=0, camera_clock_offset_us=None, reconnects={}, gap_us={})
    found = samples(registry([silent], [Usage(oldest_us=None)], []))
    assert found["nvr_stream_up{camera=market-gate,stream=main}"] == 0
    gone = ("last_frame", "clock_offset", "reconnects", "gap_seconds", "oldest", "rpc")
    assert not [key for key in found if any(word in key for word in gone)]


def test_the_document_lists_exactly_these() -> None:
    exposed = re.findall(r"^# TYPE (\w+) (\w+)$", generate_latest(registry()).decode(), re.MULTILINE)
    assert documented("## Of a recorder") == dict(exposed)


def documented(heading: str) -> dict[str, str]:
    """Name and type of each metric of a section of the document."""
    section = DOCUMENT.read_text().partition(heading + "\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(nvr_\w+)` \| (\w+) \|", section, re.MULTILINE))


def promtool_says(text: bytes) -> subprocess.CompletedProcess[bytes]:
    promtool = shutil.which("promtool")
    assert promtool is not None
    return subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)


@needs_program("promtool")
def test_promtool_finds_nothing_to_say() -> None:
    done = promtool_says(generate_latest(registry()))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@needs_program("promtool")
def test_promtool_would_say_something() -> None:
    bad = generate_latest(registry()).replace(b"nvr_stream_frames_total", b"nvr_stream_frames")
    assert promtool_says(bad).returncode != 0


@contextmanager
def served(*, healthy: bool = True, source: CollectorRegistry | None = None) -> Iterator[MetricsServer]:
    server = MetricsServer("127.0.0.1", 0, source or registry(), lambda: healthy)
    server.start()
    try:
        yield server
    finally:
        server.close()


def get(server: MetricsServer, path: str, method: str = "GET", **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type") or "", answer.read()
    finally:
        connection.close()


def test_over_http() -> None:
    with served() as server:
        status, content_type, body = get(server, "/metrics?x=1")
        assert (status, content_type.partition(";")[0]) == (200, "text/plain")
        assert b"nvr_stream_up{" in body
        _, content_type, body = get(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text")
        assert body.endswith(b"# EOF\n")
        assert get(server, "/healthz")[0] == 200
        assert get(server, "/../etc/passwd")[0] == 404
        assert get(server, "/metrics", "POST")[0] == 501


def test_a_stopping_node_is_not_healthy() -> None:
    with served(healthy=False) as server:
        assert get(server, "/healthz")[0] == 503


def test_a_failing_collector_is_logged_and_told_without_details(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> list[Status]:
        raise OSError("secret path")

    broken = CollectorRegistry(auto_describe=False)
    broken.register(
        NodeMetrics(
            version="1",
            status=fails,
            disk_usage=list,
            io_histograms=dict,
            scrub=ScrubCounts,
            camera_name=str,
        )
    )
    with caplog.at_level(logging.ERROR, "nvr.metrics"), served(source=broken) as server:
        status, _, body = get(server, "/metrics")
    assert (status, body) == (500, b"see the node's log\n")
    assert "the metrics cannot be read" in caplog.text


def test_an_address_that_is_taken() -> None:
    with served() as server, pytest.raises(ConfigError, match=r"node\.metrics: cannot listen"):
        MetricsServer("127.0.0.1", server.port, registry(), lambda: True)
