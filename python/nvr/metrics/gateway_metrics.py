"""A gateway's metrics: links to the nodes below, roll-ups by area, and what its answers lacked.

A province has 136,000 cameras: thirty series for each would be four million. So
a gateway tells of areas and of its own children, and a recorder of its cameras.
Labels are bounded: areas of the catalog, children of the settings, states and
reasons of a fixed list.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from nvr.footage.calls import OMISSIONS
from nvr.metrics.node_metrics import CallMetrics, build_info

__all__ = ["AreaRollup", "GatewayMetrics", "LinkState", "QueryMetrics", "gateway_registry"]

_US = 1e6
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class AreaRollup:
    """Cameras of an area, those of the areas within it not counted; each camera once.

    ``away``: the node that is to record it has no connection, so that nobody knows.
    ``oldest_us``: start of the footage of the camera whose footage reaches back least.
    """

    area: str
    recording: int = 0
    waiting: int = 0
    disabled: int = 0
    away: int = 0
    oldest_us: int | None = None


@dataclass(frozen=True, slots=True)
class LinkState:
    """A node that this one asks directly."""

    node: str
    up: bool
    uplink: bool
    """It dialled us."""
    seen_us: int = 0
    clock_offset_us: int | None = None
    received_bytes: Mapping[str, int] = field(default_factory=dict)
    """Of an uplink, by class: control, live, clips, bulk."""
    cap_bits_per_s: int = 0
    """Of an uplink; 0: none."""
    rate_bits_per_s: int = 0
    """Of an uplink, as last measured; 0: not yet."""


class QueryMetrics(Collector):
    """What questions cost and lacked. Counted on the event loop, read by scrapes on other threads."""

    def __init__(self) -> None:
        self._queries = 0
        self._partial = 0
        self._contacted = 0
        self._omissions: dict[str, int] = {}
        self._leases: dict[str, int] = {}

    def query(self, contacted: int, omissions: Iterable[str]) -> None:
        """A question was answered by asking so many nodes; ``omissions``: codes of what was left out."""
        codes = list(omissions)
        self._queries += 1
        self._partial += bool(codes)
        self._contacted += contacted
        for code in codes:
            known = code if code in OMISSIONS else _OTHER
            self._omissions[known] = self._omissions.get(known, 0) + 1

    def lease(self, change: str) -> None:
        """A lease went to another node: ``taken_over``, ``given_back`` or ``moved``."""
        self._leases[change] = self._leases.get(change, 0) + 1

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known without asking."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield CounterMetricFamily(
            "nvr_queries", "Questions answered over the nodes below, since the node started.", self._queries
        )
        yield CounterMetricFamily(
            "nvr_queries_partial", "Those whose answer lacked something.", self._partial
        )
        yield CounterMetricFamily(
            "nvr_query_contacted_nodes", "Nodes asked for all of them together.", self._contacted
        )
        omissions = CounterMetricFamily(
            "nvr_query_omissions", "What answers lacked, by the warning's code.", labels=("reason",)
        )
        for reason, count in list(self._omissions.items()):
            omissions.add_metric([reason], count)
        yield omissions
        leases = CounterMetricFamily(
            "nvr_lease_changes",
            "Leases that went to another node since the node started: taken_over, given_back, moved.",
            labels=("change",),
        )
        for change, count in list(self._leases.items()):
            leases.add_metric([change], count)
        yield leases


class GatewayMetrics(Collector):
    """Links and areas. The functions given may block: scrapes run on threads of their own."""

    def __init__(
        self,
        *,
        version: str,
        links: Callable[[], Sequence[LinkState]],
        areas: Callable[[], Sequence[AreaRollup]],
        catalog: Callable[[], Mapping[str, float]] = dict,
        leases: Callable[[], Mapping[tuple[str, str], int]] = dict,
    ) -> None:
        """``catalog``: ``version`` of the catalog that the node has; at its root also ``up`` (1, 0).

        ``leases``: how many of each failover group stand how.
        """
        self._version = version
        self._links = links
        self._areas = areas
        self._catalog = catalog
        self._leases = leases

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are known without asking."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All of them, read now."""
        yield build_info(self._version)
        yield from self._of_links()
        yield from self._of_areas()
        catalog = self._catalog()
        up = GaugeMetricFamily("nvr_catalog_up", "1 while the catalog's database answers, else 0.")
        version = GaugeMetricFamily("nvr_catalog_version", "Version of the catalog that this node has.")
        for name, gauge in (("up", up), ("version", version)):
            if name in catalog:
                gauge.add_metric([], catalog[name])
        yield from (up, version)
        leases = GaugeMetricFamily(
            "nvr_leases",
            "Cameras of a failover group by how their lease stands: steady, taking, yielding, uncovered "
            "(nobody can record it), retired.",
            labels=("group", "state"),
        )
        for (group, state), count in self._leases().items():
            leases.add_metric([group, state], count)
        yield leases

    def _of_links(self) -> Iterator[Metric]:
        labels = ("node", "via")
        up = GaugeMetricFamily(
            "nvr_link_up", "1 while there is a connection to a node below, else 0.", labels=labels
        )
        seen = GaugeMetricFamily(
            "nvr_link_seen_timestamp_seconds",
            "When a node below was last heard of, Unix time; absent before the first time.",
            labels=labels,
        )
        offset = GaugeMetricFamily(
            "nvr_link_clock_offset_seconds",
            "The clock of a node below minus this node's; absent before it is measured.",
            labels=labels,
        )
        received = CounterMetricFamily(
            "nvr_link_received_bytes",
            "Answers that came over an uplink since the node started, by class.",
            labels=(*labels, "priority"),
        )
        cap = GaugeMetricFamily(
            "nvr_link_cap_bytes_per_second",
            "What a node that dials this one may send in this hour, by its settings; absent without a cap.",
            labels=labels,
        )
        rate = GaugeMetricFamily(
            "nvr_link_rate_bytes_per_second",
            "What its line carried lately when there was enough to carry; absent before that.",
            labels=labels,
        )
        for link in self._links():
            of = [link.node, "uplink" if link.uplink else "dial"]
            up.add_metric(of, link.up)
            if link.seen_us:
                seen.add_metric(of, link.seen_us / _US)
            if link.clock_offset_us is not None:
                offset.add_metric(of, link.clock_offset_us / _US)
            for priority, count in link.received_bytes.items():
                received.add_metric([*of, priority], count)
            if link.cap_bits_per_s:
                cap.add_metric(of, link.cap_bits_per_s / 8)
            if link.rate_bits_per_s:
                rate.add_metric(of, link.rate_bits_per_s / 8)
        yield from (up, seen, offset, received, cap, rate)

    def _of_areas(self) -> Iterator[Metric]:
        cameras = GaugeMetricFamily(
            "nvr_area_cameras",
            "Cameras of an area, by what their main stream does: recording, waiting, disabled, or away (its "
            "node has no connection).",
            labels=("area", "state"),
        )
        oldest = GaugeMetricFamily(
            "nvr_area_oldest_timestamp_seconds",
            "Since when every recorded camera of an area has footage, Unix time; absent without footage.",
            labels=("area",),
        )
        for area in self._areas():
            for state in ("recording", "waiting", "disabled", "away"):
                cameras.add_metric([area.area, state], getattr(area, state))
            if area.oldest_us is not None:
                oldest.add_metric([area.area], area.oldest_us / _US)
        yield from (cameras, oldest)


def gateway_registry(gateway: GatewayMetrics, queries: QueryMetrics, calls: CallMetrics) -> CollectorRegistry:
    """A registry of exactly these: nothing of the process that others might add."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(gateway)
    registry.register(queries)
    registry.register(calls)
    return registry
