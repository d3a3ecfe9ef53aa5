"""A recorder node: opens everything in order, serves, and closes everything in the reverse order."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from nvr.catalog.catalog import Catalog
from nvr.catalog.leases import LeaseBook
from nvr.directory.directory import Directory
from nvr.directory.feed import DIRECTORY_SERVICE, directory_handlers
from nvr.directory.types import node_entry
from nvr.errors import InternalError
from nvr.footage.admin import CameraAdmin
from nvr.footage.channel import dial
from nvr.footage.node_server import NodeServer
from nvr.footage.remote import RemoteFootage
from nvr.footage.server import CAMERA_SERVICE, FOOTAGE_SERVICE, NODE_SERVICE
from nvr.footage.types import CAPABILITIES, Event, NodeInfo, NodeKind
from nvr.lease.service import LEASE_SERVICE, lease_handlers
from nvr.metrics.node_metrics import CallMetrics, NodeMetrics, node_registry
from nvr.network_catalog.held import HeldAreas
from nvr.network_catalog.holder import CatalogHolder
from nvr.network_catalog.reader import CatalogReader
from nvr.network_catalog.service import (
    CATALOG_ADMIN_SERVICE,
    CATALOG_HOLDER_SERVICE,
    CATALOG_SERVICE,
    catalog_admin_handlers,
    catalog_handlers,
    catalog_holder_handlers,
)
from nvr.node.events import EventBus
from nvr.node.lifecycle import Node
from nvr.recorder.assigned import AssignedCameras
from nvr.recorder.backfill import Backfill
from nvr.recorder.config import Settings
from nvr.recorder.copies import CopyKeeper
from nvr.recorder.directory import CameraDirectory
from nvr.recorder.disks import DiskWatch
from nvr.recorder.frames import Decoders
from nvr.recorder.leases import LeaseKeeper, with_leases
from nvr.recorder.live import LiveHub
from nvr.recorder.local_footage import LocalFootage
from nvr.recorder.opening import Opening
from nvr.recorder.rate_limit import TokenBucket
from nvr.recorder.read_pool import ReadPool
from nvr.recorder.scrub import Scrubber
from nvr.recorder.supervisor import Supervisor
from nvr.recorder.told import ToldCameras
from nvr.security.audit import AuditLog
from nvr.security.identity import Caller, ServiceCallers
from nvr.security.node_key import NodeKey
from nvr.security.tls import TlsFiles

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["RecorderNode"]

logger = logging.getLogger("nvr.recorder")

_STOP_GRACE_S = 5.0


class RecorderNode(Node):
    """``async with RecorderNode(settings) as node: await node.wait()``.

    Within, cameras are recorded and footage is served. Raises
    :exc:`ConfigError` and :exc:`StoreError` when it cannot be opened; what was
    open by then is closed again.
    """

    def __init__(self, settings: Settings, opening: Opening | None = None) -> None:
        """``opening``: of the same settings, if it was begun before."""
        super().__init__(settings.node.name)
        self._settings = settings
        self._opening = opening
        self._events = EventBus()
        self._supervisor: Supervisor | None = None
        self._footage: LocalFootage | None = None

    @property
    def footage(self) -> LocalFootage:
        """The node's footage, for callers in this process."""
        if self._footage is None:
            raise InternalError("the node is not open")
        return self._footage

    @property
    def cameras(self) -> Supervisor:
        """The administration of the node's cameras, for callers in this process."""
        if self._supervisor is None:
            raise InternalError("the node is not open")
        return self._supervisor

    async def _open(self) -> None:
        settings, stack = self._settings, self._stack
        folder = settings.node.data_folder
        from nvr import _core

        # The loop serves nobody yet: what follows may block it.
        opening = self._opening or Opening(settings)
        stack.callback(opening.close)
        key = NodeKey.load_or_create(folder)
        catalog = Catalog(folder, key)
        stack.callback(catalog.close)
        self._import_cameras(catalog)
        book = LeaseBook(folder, key)
        stack.callback(book.close)
        audit = AuditLog(folder)
        stack.callback(audit.close)

        limits = settings.limits
        store = opening.store()
        pool = ReadPool(limits.read_threads, "nvr-read")
        stack.callback(pool.close)
        scrub_pool = ReadPool(1, "nvr-scrub")
        stack.callback(scrub_pool.close)
        # Runs before the pool closes, on a thread of it: it waits for the disks.
        stack.push_async_callback(pool.run, store.close)
        decoders = Decoders(limits.decoders)
        stack.callback(decoders.close)
        sources = settings.sources.rules()
        ingest = _core.Ingest(
            store,
            threads=limits.ingest_threads,
            max_handshakes=limits.handshakes,
            silent_after_ms=limits.silent_after // 1000,
            source_command=sources.command(),
        )
        stack.push_async_callback(pool.run, ingest.close, "recorder_stopped")
        self.info = NodeInfo(
            key.id, settings.node.name, _core.__version__, CAPABILITIES, kind=NodeKind.RECORDER
        )
        footage_of = {camera_id for camera_id, _ in store.streams()}
        cameras = catalog.copied_cameras() + with_leases(catalog.cameras(removed=True), book)
        directory = CameraDirectory(settings.node.name, cameras, footage_of)
        tree = Directory(folder / "directory.sqlite", node_entry(self.info))
        stack.callback(tree.close)
        told = ToldCameras(
            tree, directory, store=store, ingest=ingest, pool=pool, node_name=settings.node.name
        )
        holder = CatalogHolder(folder)
        live = LiveHub(ingest, pool)
        self._supervisor = Supervisor(
            node_name=settings.node.name,
            catalog=catalog,
            directory=directory,
            store=store,
            ingest=ingest,
            live=live,
            events=self._events,
            pool=pool,
            retention=settings.retention,
            told=told,
            sources=sources,
        )
        self._footage = LocalFootage(
            node=self.info,
            store=store,
            ingest=ingest,
            directory=directory,
            tree=tree,
            areas=HeldAreas(tree, lambda: holder.held.tree),
            live=live,
            events=self._events,
            pool=pool,
            decoders=decoders,
        )
        leases = LeaseKeeper(
            key=key,
            node=self.info,
            book=book,
            directory=directory,
            supervisor=self._supervisor,
            store=store,
            ingest=ingest,
            probe=partial(_core.Ingest.probe, source_command=sources.command()),
            adopt=catalog.adopt,
            peers=settings.lease.peers,
        )
        # A probe may be waiting for a camera.
        stack.push_async_callback(asyncio.to_thread, leases.close)
        calls = CallMetrics(_method_names())
        assigned = AssignedCameras(holder, self._supervisor, key.id)
        make_server = partial(self._server, audit, calls, tree, leases, holder, assigned)
        server = make_server()
        # A wrong address is told before anything is recorded.
        self._listen(server, settings.node.grpc, tls=settings.tls is not None)
        scrubber = Scrubber(
            store,
            scrub_pool,
            bytes_per_s=limits.scrub,
            events=self._events,
            node=settings.node.name,
            now_us=lambda: time.time_ns() // 1000,
        )
        node_metrics = self._node_metrics(store, ingest, directory, scrubber)
        self._serve_metrics(settings.node.metrics, node_registry(node_metrics, calls))
        live.start()
        stack.callback(live.stop)
        self._run("events", self._supervisor.watch_streams())
        await self._supervisor.start_recording()
        await told.tell_all()
        self._run("told", told.keep_telling())
        self._run("assigned", assigned.keep())
        self._run("retention", self._supervisor.keep_space())
        disks = DiskWatch(
            store,
            opening.locks,
            pool=pool,
            events=self._events,
            node=settings.node.name,
            now_us=lambda: time.time_ns() // 1000,
            came=told.tell_all,
        )
        self._run("disks", disks.run())
        if limits.scrub:
            self._run("scrub", scrubber.run())
        self._keep_copies(store, catalog, directory, told, pool)
        await server.start()
        stack.push_async_callback(self._stop_serving, server)
        self._dial_parent(settings.uplink, settings.tls, make_server)
        await self._serve_rtsp(settings.rtsp, self._footage, audit)

    def _keep_copies(
        self,
        store: "_core.Store",
        catalog: Catalog,
        directory: CameraDirectory,
        told: ToldCameras,
        pool: ReadPool,
    ) -> None:
        """Copies what the settings say from other nodes, as long as the node is open."""
        settings, tls = self._settings, self._settings.tls
        for number, entry in enumerate(settings.copies, 1):
            files = None
            if tls is not None or entry.ca is not None:
                files = TlsFiles(
                    None if tls is None else tls.cert,
                    None if tls is None else tls.key,
                    entry.ca or (None if tls is None else tls.client_ca),
                )
            channel = dial(entry.source, files)
            self._stack.push_async_callback(channel.close)
            keeper = CopyKeeper(
                entry,
                RemoteFootage(channel, target=entry.source),
                Backfill(store, pool, None if entry.cap is None else TokenBucket(entry.cap)),
                catalog=catalog,
                directory=directory,
                told=told,
                pool=pool,
                since_us=min(entry.since, settings.retention.max_age or entry.since),
            )
            self._run(f"copies-{number}", keeper.run())

    def _import_cameras(self, catalog: Catalog) -> None:
        entries = [camera.settings() for camera in self._settings.camera]
        added = catalog.import_once(entries)
        if added is not None:
            logger.info("first start: %d cameras imported from the settings", len(added))
            return
        known = {camera.settings.name for camera in catalog.cameras(removed=True)}
        unknown = [entry.name for entry in entries if entry.name not in known]
        if unknown:
            logger.warning(
                "the settings name cameras that are not in the catalog (%s); they are imported on the first "
                "start only: add them with `nvr cameras add`",
                ", ".join(unknown[:10]) + (" …" if len(unknown) > 10 else ""),
            )

    def _server(
        self,
        audit: AuditLog,
        calls: CallMetrics,
        tree: Directory,
        leases: LeaseKeeper,
        holder: CatalogHolder,
        cameras: CameraAdmin,
        caller: Callable[[], Caller] | None = None,
    ) -> NodeServer:
        """``caller``: who the only caller is, of a server for the node above; default: for everybody."""
        settings, tls = self._settings, self._settings.tls
        reader = CatalogReader(holder)
        return NodeServer(
            self.footage,
            node=settings.node.name,
            audit=audit,
            cameras=cameras,
            services=[
                lambda runner: directory_handlers(tree, runner),
                lambda runner: lease_handlers(leases, runner),
                lambda runner: catalog_handlers(reader, runner),
                lambda runner: catalog_admin_handlers(None, None, settings.node.name, runner),
                lambda runner: catalog_holder_handlers(holder, None, runner),
            ],
            policy=ServiceCallers(
                LEASE_SERVICE.full_name,
                frozenset(settings.lease.authorities),
                ServiceCallers(CATALOG_HOLDER_SERVICE.full_name, frozenset(settings.catalog.parents)),
            ),
            observers=[calls],
            tls=None if tls is None or caller is not None else TlsFiles(tls.cert, tls.key, tls.client_ca),
            caller=caller,
        )

    def _node_metrics(
        self, store: "_core.Store", ingest: "_core.Ingest", directory: CameraDirectory, scrubber: Scrubber
    ) -> NodeMetrics:
        return NodeMetrics(
            version=self.info.version,
            status=ingest.status,
            disk_usage=store.disk_usage,
            io_histograms=store.io_histograms,
            scrub=lambda: scrubber.counts,
            camera_name=directory.name_of,
        )

    async def _stop_serving(self, server: NodeServer) -> None:
        """Says that the node stops, and lets answers finish that are under way."""
        now_us = (await self.footage.node()).now_us
        self._events.publish(Event(now_us, "node_stopping", node=self._settings.node.name))
        self._events.close()
        await server.stop(_STOP_GRACE_S)


def _method_names() -> list[str]:
    services = (
        *(FOOTAGE_SERVICE, NODE_SERVICE, CAMERA_SERVICE, DIRECTORY_SERVICE, LEASE_SERVICE),
        *(CATALOG_SERVICE, CATALOG_ADMIN_SERVICE, CATALOG_HOLDER_SERVICE),
    )
    return [f"{service.full_name}/{method.name}" for service in services for method in service.methods]
