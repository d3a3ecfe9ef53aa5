"""A node: opens everything in order, serves until it is told to stop, and closes in the reverse order."""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from prometheus_client.registry import CollectorRegistry

from nvr.footage.node_server import NodeServer
from nvr.footage.source import FootageSource
from nvr.footage.types import NodeInfo
from nvr.metrics.http import MetricsServer
from nvr.metrics.uplink_metrics import UplinkMetrics, UplinkState
from nvr.rtsp.out import RtspOut
from nvr.rtsp.settings import RtspSettings
from nvr.security.audit import AuditHook
from nvr.security.identity import Caller
from nvr.security.tls import TlsFiles
from nvr.settings.fields import Address, TlsSettings
from nvr.uplink.child import UplinkChild
from nvr.uplink.settings import UplinkSettings

__all__ = ["Addresses", "Node"]

logger = logging.getLogger("nvr.node")

_US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running node is reached, with the ports that it got."""

    grpc: str
    metrics: str | None
    rtsp: str | None = None


class Node:
    """``async with RecorderNode(settings) as node: await node.wait()``.

    A subclass opens itself in :meth:`_open`, and gives ``_stack`` what closes each
    part again. What cannot be opened raises; what was open by then is closed.
    """

    def __init__(self, name: str) -> None:
        self._stack = AsyncExitStack()
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._healthy = False
        self._uplink: UplinkChild | None = None
        self.info = NodeInfo("", name, "")
        self.addresses = Addresses("", None)

    async def _open(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        async with self._stack:
            await self._open()
            self._stack = self._stack.pop_all()
        self._healthy = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._healthy = False
        logger.info("node %s stops", self.info.name)
        await self._stack.aclose()
        logger.info("node %s has stopped", self.info.name)

    def stop(self) -> None:
        """Lets :meth:`wait` return."""
        self._stop.set()

    async def wait(self) -> None:
        """Returns after :meth:`stop`, SIGTERM or SIGINT; raises what ended a task that must not end."""
        with self.stopped_by_signals():
            await self._stop.wait()
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """Within, SIGTERM and SIGINT stop the node: to be entered before anybody is told that it serves."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            # A second signal ends the process at once: the store bears it.
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        logger.info("%s received", number.name)
        self.stop()

    def _run(self, name: str, work: Coroutine[None, None, None]) -> None:
        """A task for as long as the node is open; when it fails, the node stops."""
        task = asyncio.create_task(work, name=f"nvr-{name}")

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()):
                logger.critical("the node's task %r failed", name, exc_info=error)
                self._failure = error
                self._stop.set()

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        task.add_done_callback(ended)
        self._stack.push_async_callback(end)

    def _serve_metrics(self, address: Address | None, registry: CollectorRegistry) -> None:
        """Takes the address at once, and serves until the node is closed."""
        if address is None:
            return
        registry.register(UplinkMetrics(self._uplink_state))
        metrics = MetricsServer(address.host, address.port, registry, lambda: self._healthy)
        metrics.start()
        self._stack.push_async_callback(asyncio.to_thread, metrics.close)
        self.addresses = replace(self.addresses, metrics=address.with_port(metrics.port))

    async def _serve_rtsp(
        self, settings: RtspSettings | None, source: FootageSource, audit: AuditHook
    ) -> None:
        """Plays the node's cameras over RTSP, where that is set up, until the node is closed."""
        if settings is None:
            return
        rtsp = RtspOut(source, settings, audit=audit)
        await rtsp.start()
        self._stack.push_async_callback(rtsp.stop)
        self.addresses = replace(self.addresses, rtsp=rtsp.address)
        if not settings.user and not settings.listen.is_loopback:
            logger.warning("RTSP on %s has no users: only this machine may watch", settings.listen)

    def _dial_parent(
        self,
        settings: UplinkSettings | None,
        tls: TlsSettings | None,
        make_server: Callable[[Callable[[], Caller]], NodeServer],
    ) -> None:
        """Answers the node above by a connection that this one makes, where that is set up.

        ``make_server``: a server of the same services, given who its only caller is.
        """
        if settings is None:
            return
        files = None
        if tls is not None and settings.tls is not False:
            files = TlsFiles(tls.cert, tls.key, settings.ca or tls.client_ca)
        uplink = UplinkChild(
            info=self.info,
            parent=str(settings.parent),
            tls=files,
            make_server=make_server,
            schedule=settings.schedule(),
            zone=settings.time_zone,
            keepalive_s=settings.keepalive / _US_PER_S,
        )
        self._run("uplink", uplink.run())
        self._uplink = uplink

    def _uplink_state(self) -> UplinkState | None:
        """For metrics."""
        uplink = self._uplink
        if uplink is None:
            return None
        return UplinkState(
            up=uplink.up,
            connects=uplink.connects,
            sent_bytes={priority.name.lower(): count for priority, count in uplink.sent.items()},
            queued_bytes={priority.name.lower(): count for priority, count in uplink.queued.items()},
            cap_bits_per_s=uplink.shaper.bits_per_s,
            rate_bits_per_s=uplink.bits_per_s,
        )

    def _listen(self, server: NodeServer, address: Address, *, tls: bool) -> None:
        """Takes the address, and says so when whoever calls from elsewhere is not answered there."""
        self.addresses = replace(self.addresses, grpc=address.with_port(server.listen(str(address))))
        if not tls and not address.is_loopback:
            logger.warning("gRPC on %s has no TLS: only callers on this machine are answered", address)
