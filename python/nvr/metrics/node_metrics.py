"""A node's metrics, by the naming rules of Prometheus (prometheus.io/docs/practices/naming).

Most are read from the core when they are asked for, so that recording pays
nothing for them. Labels are bounded: cameras and their streams that are set up
now, reasons and methods of a fixed list, store roots of the settings. No label
holds an address, a caller or a free text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

__all__ = ["CallMetrics", "IoHistogram", "NodeMetrics", "build_info", "node_registry"]

_US = 1e6
_RPC_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
# The reasons that the core writes; any other is counted as "other".
_REASONS = frozenset(
    {
        "not_recorded",
        "refused",
        "unreachable",
        "auth_failed",
        "no_such_path",
        "codec_not_supported",
        "silent",
        "no_keyframe",
        "protocol_error",
        "disconnected",
        "disabled",
        "removed",
        "recorder_stopped",
        "recorder_crashed",
        "clock_step",
        "overload",
        "disk_full",
        "disk_error",
        "parameters_changed",
        "parameter_flood",
        "yielded",
        "expired",
        "damaged",
        "pending",
        "future",
    }
)
_OTHER = "other"
_STREAM = ("camera", "stream")

IoHistogram = tuple[Sequence[float], Sequence[int], float]
"""Upper bounds in seconds, a count for each bucket and one for what is above, and the sum in seconds."""


class _Status(Protocol):
    """What is read of ``nvr._core.StreamStatus``."""

    @property
    def camera_id(self) -> str: ...
    @property
    def stream(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def last_frame_us(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def lost_packets(self) -> int: ...
    @property
    def recorded_us(self) -> int: ...
    @property
    def camera_clock_offset_us(self) -> int | None: ...
    @property
    def reconnects(self) -> Mapping[str, int]: ...
    @property
    def gap_us(self) -> Mapping[str, int]: ...


class _Usage(Protocol):
    """What is read of ``nvr._core.DiskUsage``."""

    @property
    def root(self) -> str: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...
    @property
    def footage_bytes(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def oldest_us(self) -> int | None: ...
    @property
    def trouble(self) -> tuple[str, str] | None: ...


class _Scrub(Protocol):
    """What is read of ``nvr.recorder.scrub.ScrubCounts``."""

    @property
    def bytes(self) -> int: ...
    @property
    def damaged_fragments(self) -> int: ...
    @property
    def passes(self) -> int: ...


class _Report(Protocol):
    """What is read of ``nvr.footage.calls.CallReport``."""

    @property
    def service(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def seconds(self) -> float: ...


def _reason(text: str) -> str:
    return text if text in _REASONS else _OTHER


def _by_reason(values: Mapping[str, int]) -> dict[str, int]:
    summed: dict[str, int] = {}
    for reason, value in values.items():
        summed[_reason(reason)] = summed.get(_reason(reason), 0) + value
    return summed


def build_info(version: str) -> Metric:
    """The version of the software, as Prometheus has it: a label of a gauge that is always 1."""
    build = GaugeMetricFamily("nvr_build_info", "Version of the software; always 1.", labels=["version"])
    build.add_metric([version], 1)
    return build


class NodeMetrics(Collector):
    """Streams, stores and disks. The functions given may block: scrapes run on threads of their own."""

    def __init__(
        self,
        *,
        version: str,
        status: Callable[[], Sequence[_Status]],
        disk_usage: Callable[[], Sequence[_Usage]],
        io_histograms: Callable[[], Mapping[str, IoHistogram]],
        scrub: Callable[[], _Scrub],
        camera_name: Callable[[str], str],
    ) -> None:
        self._version = version
        self._status = status
        self._disk_usage = disk_usage
        self._io_histograms = io_histograms
        self._scrub = scrub
        self._camera_name = camera_name

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known without asking the core."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them, read now."""
        yield build_info(self._version)
        yield from self._streams()
        yield from self._io()
        yield from self._disks()
        yield from self._scrubs()

    def _streams(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "nvr_stream_up", "1 while pictures arrive and are recorded, else 0.", labels=_STREAM
        )
        recorded = CounterMetricFamily(
            "nvr_stream_recorded_seconds",
            "Length of the footage recorded since the node started.",
            labels=_STREAM,
        )
        gaps = CounterMetricFamily(
            "nvr_stream_gap_seconds",
            "Length of the finished gaps since the node started, by their reason.",
            labels=(*_STREAM, "reason"),
        )
        last = GaugeMetricFamily(
            "nvr_stream_last_frame_timestamp_seconds",
            "When the newest picture arrived, Unix time; absent before the first.",
            labels=_STREAM,
        )
        offset = GaugeMetricFamily(
            "nvr_stream_camera_clock_offset_seconds",
            "The camera's clock minus the recorder's, by RTCP sender reports; absent without.",
            labels=_STREAM,
        )
        received = CounterMetricFamily(
            "nvr_stream_received_bytes", "Pictures and sound received since the node started.", labels=_STREAM
        )
        frames = CounterMetricFamily(
            "nvr_stream_frames", "Pictures received since the node started.", labels=_STREAM
        )
        lost = CounterMetricFamily(
            "nvr_stream_lost_packets",
            "RTP packets lost on their way, or without sense, since the node started.",
            labels=_STREAM,
        )
        reconnects = CounterMetricFamily(
            "nvr_stream_reconnects",
            "New attempts to connect since the node started, by why the last one ended.",
            labels=(*_STREAM, "reason"),
        )
        for status in self._status():
            labels = [self._camera_name(status.camera_id), status.stream]
            up.add_metric(labels, status.state == "recording")
            recorded.add_metric(labels, status.recorded_us / _US)
            for reason, length_us in _by_reason(status.gap_us).items():
                gaps.add_metric([*labels, reason], length_us / _US)
            if status.last_frame_us:
                last.add_metric(labels, status.last_frame_us / _US)
            if status.camera_clock_offset_us is not None:
                offset.add_metric(labels, status.camera_clock_offset_us / _US)
            received.add_metric(labels, status.bytes)
            frames.add_metric(labels, status.frames)
            lost.add_metric(labels, status.lost_packets)
            for reason, count in _by_reason(status.reconnects).items():
                reconnects.add_metric([*labels, reason], count)
        yield from (up, recorded, gaps, last, offset, received, frames, lost, reconnects)

    def _io(self) -> Iterator[Metric]:
        histograms = self._io_histograms()
        for key, name, text in (
            (
                "write",
                "nvr_segment_write_seconds",
                "Duration of each write of a fragment to its segment.",
            ),
            ("sync", "nvr_store_sync_seconds", "Duration of each pass that syncs footage to disk."),
        ):
            bounds, counts, sum_s = histograms.get(key, ((), (0,), 0.0))
            family = HistogramMetricFamily(name, text)
            family.add_metric([], _buckets(bounds, counts), sum_value=sum_s)
            yield family

    def _disks(self) -> Iterator[Metric]:
        labels = ("store",)
        total = GaugeMetricFamily("nvr_store_total_bytes", "Size of the store's disk.", labels=labels)
        free = GaugeMetricFamily("nvr_store_free_bytes", "Free space on the store's disk.", labels=labels)
        footage = GaugeMetricFamily("nvr_store_footage_bytes", "Footage in the store.", labels=labels)
        held = GaugeMetricFamily(
            "nvr_store_held_bytes", "Footage in the store that retention must not delete.", labels=labels
        )
        oldest = GaugeMetricFamily(
            "nvr_store_oldest_timestamp_seconds",
            "Start of the oldest footage in the store, Unix time; absent without footage.",
            labels=labels,
        )
        trouble = GaugeMetricFamily(
            "nvr_store_trouble",
            "1: the disk is full or failed, for this reason; streams go to another store, or lose footage.",
            labels=[*labels, "reason"],
        )
        for usage in self._disk_usage():
            if usage.trouble is not None:
                trouble.add_metric([usage.root, usage.trouble[0]], 1)
            total.add_metric([usage.root], usage.total_bytes)
            free.add_metric([usage.root], usage.free_bytes)
            footage.add_metric([usage.root], usage.footage_bytes)
            held.add_metric([usage.root], usage.held_bytes)
            if usage.oldest_us is not None:
                oldest.add_metric([usage.root], usage.oldest_us / _US)
        yield from (total, free, footage, held, oldest, trouble)

    def _scrubs(self) -> Iterator[Metric]:
        counts = self._scrub()
        for name, text, value in (
            ("nvr_scrub_read_bytes", "Footage read again to find what is damaged.", counts.bytes),
            ("nvr_scrub_damaged_fragments", "Fragments found damaged.", counts.damaged_fragments),
            ("nvr_scrub_passes", "Times that all footage was read again.", counts.passes),
        ):
            family = CounterMetricFamily(name, text)
            family.add_metric([], value)
            yield family


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    total, buckets = 0, []
    for bound, count in zip((*map(repr, map(float, bounds)), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


class CallMetrics(Collector):
    """Durations of finished RPCs: an observer of calls, called on the event loop."""

    def __init__(self, methods: Iterable[str]) -> None:
        """``methods``: those that exist; a call of any other is counted as ``other``."""
        self._methods = frozenset(methods)
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._sums_s: dict[tuple[str, str], float] = {}

    def __call__(self, report: _Report) -> None:
        """Counts a call."""
        name = f"{report.service}/{report.method}"
        key = (name if name in self._methods else _OTHER, report.status)
        counts = self._counts.setdefault(key, [0] * (len(_RPC_BOUNDS_S) + 1))
        bucket = sum(1 for bound in _RPC_BOUNDS_S if bound < report.seconds)
        counts[bucket] += 1
        self._sums_s[key] = self._sums_s.get(key, 0.0) + report.seconds

    def describe(self) -> Iterable[Metric]:
        """Nothing: as above."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The histogram, by method and gRPC status code."""
        family = HistogramMetricFamily(
            "nvr_rpc_seconds",
            "Duration of finished gRPC calls, streams until their end.",
            labels=("method", "code"),
        )
        # Scrapes run on other threads.
        for key, counts in list(self._counts.items()):
            family.add_metric(list(key), _buckets(_RPC_BOUNDS_S, list(counts)), self._sums_s.get(key, 0.0))
        yield family


def node_registry(node: NodeMetrics, calls: CallMetrics) -> CollectorRegistry:
    """A registry of exactly these: nothing of the process that others might add."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(node)
    registry.register(calls)
    return registry
