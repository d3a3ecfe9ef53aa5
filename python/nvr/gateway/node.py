"""A gateway node: opens everything in order, serves, and closes everything in the reverse order."""

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path

import grpc

from nvr.directory.directory import Directory
from nvr.directory.feed import DIRECTORY_SERVICE, directory_handlers
from nvr.directory.rollup import area_counts
from nvr.directory.types import node_entry
from nvr.errors import InternalError
from nvr.footage.calls import CallRunner
from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.server import FOOTAGE_SERVICE, NODE_SERVICE
from nvr.footage.types import CAPABILITIES, Event, NodeInfo, NodeKind
from nvr.gateway.catalog_flow import CatalogFlow
from nvr.gateway.config import ChildEntry, GatewaySettings
from nvr.gateway.failover.driver import Driver
from nvr.gateway.failover.ledger import Ledger
from nvr.gateway.failover.service import GroupAuthority
from nvr.gateway.fanout import Fanout
from nvr.gateway.federated import FederatedFootage
from nvr.gateway.links import Link, Links, RemoteChild
from nvr.gateway.moving import Mover
from nvr.lease.service import LEASE_AUTHORITY_SERVICE, authority_handlers
from nvr.metrics.gateway_metrics import (
    AreaRollup,
    GatewayMetrics,
    LinkState,
    QueryMetrics,
    gateway_registry,
)
from nvr.metrics.node_metrics import CallMetrics
from nvr.network_catalog.held import HeldAreas
from nvr.network_catalog.holder import CatalogHolder, Held
from nvr.network_catalog.reader import CatalogReader, StandingState
from nvr.network_catalog.root import RootCatalog
from nvr.network_catalog.service import (
    CATALOG_ADMIN_SERVICE,
    CATALOG_HOLDER_SERVICE,
    CATALOG_SERVICE,
    catalog_admin_handlers,
    catalog_handlers,
    catalog_holder_handlers,
)
from nvr.node.data_folder import make_data_folder
from nvr.node.events import EventBus
from nvr.node.folder_lock import FolderLocks
from nvr.node.lifecycle import Node
from nvr.security.audit import AuditLog
from nvr.security.identity import Caller, ServiceCallers
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles
from nvr.uplink.hub import UplinkHub

__all__ = ["GatewayNode"]

logger = logging.getLogger("nvr.gateway")

_STOP_GRACE_S = 5.0
_US_PER_S = 1_000_000


class GatewayNode(Node):
    """``async with GatewayNode(settings) as node: await node.wait()``.

    Within, the nodes below are followed, and their footage is served as one.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        super().__init__(settings.node.name)
        self._settings = settings
        self._footage: FederatedFootage | None = None
        self._links: Links | None = None

    @property
    def footage(self) -> FederatedFootage:
        """The footage of all nodes below, for callers in this process."""
        if self._footage is None:
            raise InternalError("the node is not open")
        return self._footage

    async def _open(self) -> None:
        settings, stack = self._settings, self._stack
        folder = settings.node.data
        make_data_folder(folder)
        stack.enter_context(FolderLocks([folder], f"node {settings.node.name}"))
        key = NodeKey.load_or_create(folder)
        audit = AuditLog(folder)
        stack.callback(audit.close)
        self.info = NodeInfo(
            key.id, settings.node.name, installed_version("nvr"), CAPABILITIES, kind=NodeKind.GATEWAY
        )
        database = folder / "directory.sqlite"
        directory = Directory(database, node_entry(self.info))
        stack.callback(directory.close)
        links = self._links = Links(directory)
        holder = CatalogHolder(folder)
        holder.on_change.append(lambda held: directory.expect(_nodes_of(held)))
        directory.expect(_nodes_of(holder.held))
        root = await self._root_catalog(folder, holder)
        flow = CatalogFlow(holder, directory, root)
        reader = CatalogReader(holder, root)
        mover = Mover(links, directory, holder, root)
        queries = QueryMetrics()
        fanout = Fanout(at_once=settings.query.at_once, timeout_s=settings.query.timeout / _US_PER_S)
        stack.callback(fanout.close)
        self._footage = FederatedFootage(
            node=self.info,
            directory=directory,
            links=links,
            fanout=fanout,
            areas=HeldAreas(directory, lambda: holder.held.tree),
            asked=queries.query,
        )
        drivers = self._authorities(folder, queries, self._footage.own_events)
        calls = CallMetrics(_method_names())
        tls, footage = settings.tls, self._footage
        hub = UplinkHub(key, self.info)

        def make_server(caller: Callable[[], Caller] | None = None) -> NodeServer:
            services: list[Callable[[CallRunner], grpc.GenericRpcHandler]] = [
                lambda runner: directory_handlers(directory, runner),
                lambda runner: authority_handlers(GroupAuthority(drivers), runner),
                lambda runner: catalog_handlers(reader, runner),
                lambda runner: catalog_admin_handlers(root, mover, settings.node.name, runner),
                lambda runner: catalog_holder_handlers(holder, root, runner),
            ]
            own = caller is None
            if own:
                services.append(lambda _runner: hub.handlers())
            return NodeServer(
                footage,
                node=settings.node.name,
                audit=audit,
                services=services,
                policy=ServiceCallers(
                    CATALOG_ADMIN_SERVICE.full_name,
                    frozenset(settings.catalog.writers),
                    ServiceCallers(CATALOG_HOLDER_SERVICE.full_name, frozenset(settings.catalog.parents)),
                ),
                observers=[calls],
                tls=TlsFiles(tls.cert, tls.key, tls.client_ca) if tls is not None and own else None,
                caller=caller,
            )

        server = make_server()
        self._listen(server, settings.node.grpc, tls=tls is not None)
        metrics = GatewayMetrics(
            version=self.info.version,
            links=lambda: _link_states(links, directory),
            areas=lambda: _rollups(database, directory),
            catalog=lambda: _catalog_gauges(reader),
            leases=lambda: {
                (driver.group.name, state): count
                for driver in drivers
                for state, count in driver.counts.items()
            },
        )
        self._serve_metrics(settings.node.metrics, gateway_registry(metrics, queries, calls))
        for child in settings.child:
            self._follow(child, links, directory, flow, hub)
        for driver in drivers:
            self._run(f"failover-{driver.group.name}", driver.run())
        await server.start()
        stack.push_async_callback(server.stop, _STOP_GRACE_S)
        stack.push_async_callback(hub.close)
        self._dial_parent(settings.uplink, tls, make_server)
        await self._serve_rtsp(settings.rtsp, self._footage, audit)

    def _authorities(self, folder: Path, queries: QueryMetrics, events: EventBus) -> list[Driver]:
        """The authorities over the groups of the settings; what they do is published on ``events``."""
        groups = self._settings.failover.group
        if not groups:
            return []
        ledger = Ledger(folder)
        self._stack.callback(ledger.close)

        def on_event(event: Event) -> None:
            events.publish(event)
            if event.kind.startswith("lease_"):
                queries.lease(event.kind.removeprefix("lease_"))

        return [
            Driver(
                group.group(),
                ledger=ledger,
                channel_of=self._channel_of,
                on_event=on_event,
                node=self._settings.node.name,
            )
            for group in groups
        ]

    def _channel_of(self, name: str) -> grpc.aio.Channel | None:
        """The channel to a child, once it has said its name."""
        return next((link.channel for link in self._links or () if link.name == name), None)

    async def _root_catalog(self, folder: Path, holder: CatalogHolder) -> RootCatalog | None:
        """The network catalog, where it is written at this node."""
        database = self._settings.catalog.address(folder)
        if not database:
            return None
        from nvr.network_catalog.store.store import CatalogStore

        store = CatalogStore(database)
        self._stack.callback(store.close)
        root = RootCatalog(store, holder)
        await root.open()
        self._run("network-catalog", root.keep())
        return root

    def _follow(
        self, child: ChildEntry, links: Links, directory: Directory, flow: CatalogFlow, hub: UplinkHub
    ) -> None:
        if child.uplink:
            target = f"uplink {child.node}"
            uplink = hub.expect(str(child.node))
            remote = RemoteChild(uplink.channel, target, uplink=uplink)
        else:
            target = str(child.address)
            channel, files = self._dial(child)
            remote = RemoteChild(channel, target, tls=files)
        link = Link(remote, directory, target=target)
        links.add(link)
        self._run(f"link-{target}", link.run())
        self._run(f"catalog-{target}", flow.run(link))

    def _dial(self, child: ChildEntry) -> tuple[grpc.aio.Channel, TlsFiles | None]:
        tls = self._settings.tls
        files = None
        if tls is not None and child.tls is not False:
            files = TlsFiles(tls.cert, tls.key, tls.ca or tls.client_ca)
        elif child.tls:
            files = TlsFiles()
        channel = dial(str(child.address), files)
        self._stack.push_async_callback(channel.close)
        return channel, files


def _link_states(links: Links, directory: Directory) -> Sequence[LinkState]:
    states = []
    for link in list(links):
        node = directory.node(link.node_id)
        states.append(
            LinkState(
                link.name,
                up=link.up,
                uplink=link.uplink is not None,
                seen_us=0 if node is None else node.seen_us,
                clock_offset_us=None if node is None else node.clock_offset_us,
                received_bytes=_received(link),
                cap_bits_per_s=link.line.cap_bits_per_second,
                rate_bits_per_s=link.line.rate_bits_per_second,
            )
        )
    return states


def _nodes_of(held: Held) -> frozenset[str] | None:
    """Ids of the nodes that the catalog has; None: nobody has put any into it."""
    return frozenset(node.node_id for node in held.content.nodes) or None


def _catalog_gauges(reader: CatalogReader) -> Mapping[str, float]:
    standing = reader.standing()
    gauges: dict[str, float] = {}
    if standing.version:
        gauges["version"] = standing.version
    if standing.state not in (StandingState.NONE, StandingState.HELD):
        gauges["up"] = standing.state is not StandingState.AWAY
    return gauges


def _received(link: Link) -> dict[str, int]:
    uplink = link.uplink
    return {} if uplink is None else {each.name.lower(): size for each, size in uplink.received.items()}


def _rollups(database: Path, directory: Directory) -> Sequence[AreaRollup]:
    return [
        AreaRollup(
            area=counts.area,
            recording=counts.recording,
            waiting=counts.waiting,
            disabled=counts.disabled,
            away=counts.away,
            oldest_us=counts.oldest_us,
        )
        for counts in area_counts(database, directory.away())
    ]


def _method_names() -> list[str]:
    services = (
        *(FOOTAGE_SERVICE, NODE_SERVICE, DIRECTORY_SERVICE, LEASE_AUTHORITY_SERVICE),
        *(CATALOG_SERVICE, CATALOG_ADMIN_SERVICE, CATALOG_HOLDER_SERVICE),
    )
    return [f"{service.full_name}/{method.name}" for service in services for method in service.methods]
