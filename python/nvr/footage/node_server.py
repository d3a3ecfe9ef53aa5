"""A node's gRPC server: its services, health, reflection, TLS, and a stop that loses nobody's answer."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from nvr.errors import ConfigError
from nvr.footage.admin import CameraAdmin
from nvr.footage.calls import CallObserver, CallRunner, Limits
from nvr.footage.channel import SERVER_OPTIONS
from nvr.footage.malloc import keep_freed_memory
from nvr.footage.server import (
    CAMERA_SERVICE,
    FOOTAGE_SERVICE,
    NODE_SERVICE,
    camera_handlers,
    footage_handlers,
    node_handlers,
)
from nvr.footage.source import FootageSource
from nvr.security.audit import AuditHook
from nvr.security.identity import Caller, IdentityInterceptor, Policy, TokenVerifier
from nvr.security.tls import TlsFiles, server_credentials

__all__ = ["NodeServer"]


class _NodeStopsError(Exception):
    """A watcher of the node's health has been told that it stops."""


class _Health(health.aio.HealthServicer):
    """Ends its watchers when the node stops: else each would use up the whole grace."""

    stopping = False

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802
        """See grpc.health.v1.Health."""
        with contextlib.suppress(_NodeStopsError):
            last_word: Any = _LastWord(self, context)
            await super().Watch(request, last_word)


class _LastWord:
    """The part of a call's context that a watch uses."""

    def __init__(self, owner: _Health, context: Any) -> None:
        self._owner = owner
        self._context = context

    async def write(self, response: health_pb2.HealthCheckResponse) -> None:
        await self._context.write(response)
        if self._owner.stopping:
            raise _NodeStopsError


class NodeServer:
    """Serves a source of footage, and the cameras' administration where there is one."""

    def __init__(
        self,
        source: FootageSource,
        *,
        node: str,
        audit: AuditHook,
        cameras: CameraAdmin | None = None,
        services: Sequence[Callable[[CallRunner], grpc.GenericRpcHandler]] = (),
        policy: Policy | None = None,
        verifier: TokenVerifier | None = None,
        limits: Limits | None = None,
        observers: Sequence[CallObserver] = (),
        tls: TlsFiles | None = None,
        caller: Callable[[], Caller] | None = None,
    ) -> None:
        """``node``: its name, for errors. ``services``: what else it serves, made with its call runner.

        ``caller``: who everybody is that can reach it; default: as the connection says.
        Without ``tls`` plaintext, for loopback and tests.
        """
        self._runner = CallRunner(node=node, audit=audit, policy=policy, limits=limits, observers=observers)
        self._credentials = None if tls is None else server_credentials(tls)
        keep_freed_memory()
        self._server = grpc.aio.server(
            interceptors=[IdentityInterceptor(verifier, fixed=caller)], options=SERVER_OPTIONS
        )
        handlers = [footage_handlers(source, self._runner), node_handlers(source, self._runner)]
        self._services = [FOOTAGE_SERVICE.full_name, NODE_SERVICE.full_name]
        if cameras is not None:
            handlers.append(camera_handlers(cameras, self._runner))
            self._services.append(CAMERA_SERVICE.full_name)
        for make in services:
            handler: Any = make(self._runner)
            handlers.append(handler)
            self._services.append(handler.service_name())
        self._server.add_generic_rpc_handlers(handlers)
        self._health = _Health()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        shown = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(shown, self._server)

    def listen(self, address: str) -> int:
        """Adds an address (``127.0.0.1:7600``, port 0: any; ``unix:path``); the port that it got.

        Raises :exc:`ConfigError` when it cannot be had.
        """
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise ConfigError(f"grpc: cannot listen on {address}: is it in use by another?") from error
        if port == 0:
            raise ConfigError(f"grpc: cannot listen on {address}")
        return port

    async def start(self) -> None:
        """Serves from now on."""
        await self._server.start()
        for service in self._services:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, grace_s: float = 10.0) -> None:
        """Ends live streams with an End, lets other answers finish for ``grace_s``, cancels what is left."""
        self._health.stopping = True
        await self._health.enter_graceful_shutdown()
        self._runner.stop_watches()
        await self._server.stop(grace_s)

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        await self._server.wait_for_termination()
