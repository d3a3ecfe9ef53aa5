"""``/metrics`` and ``/healthz`` over HTTP, on a thread of its own."""

import logging
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from nvr.errors import ConfigError

__all__ = ["MetricsServer"]

logger = logging.getLogger("nvr.metrics")

_MAX_CONNECTIONS = 16
_IDLE_S = 10.0


class MetricsServer:
    """Serves a registry. Nothing but GET, and few connections at once."""

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, healthy: Callable[[], bool]
    ) -> None:
        """Listens at once; port 0: any. Raises :exc:`ConfigError` when the address cannot be had."""
        handler = type("Handler", (_Handler,), {"registry": registry, "healthy": staticmethod(healthy)})
        server = type(
            "Server", (_Server,), {"address_family": socket.AF_INET6 if ":" in host else socket.AF_INET}
        )
        try:
            self._server: ThreadingHTTPServer = server((host, port), handler)
        except OSError as error:
            raise ConfigError(
                f"node.metrics: cannot listen on {host}:{port}: {error.strerror or error}"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="nvr-metrics", daemon=True)

    def start(self) -> None:
        """Serves from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stops; an answer under way may be cut."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any) -> None:
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(*args)

    def server_bind(self) -> None:
        """Without the name look-up of the base class, which can block for seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Gives the connection a thread, or closes it when too many have one."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves the connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that goes away is no event; a defect of ours is."""
        logger.debug("a connection to the metrics ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    healthy: Callable[[], bool]
    server_version = "nvr"
    sys_version = ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answers."""
        path = urlsplit(self.path).path
        if path == "/metrics":
            try:
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                body = encode(self.registry)
            except Exception:
                logger.exception("the metrics cannot be read")
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"see the node's log\n")
                return
            self._answer(HTTPStatus.OK, content_type, body)
        elif path == "/healthz":
            healthy = self.healthy()
            status = HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, "text/plain", b"ok\n" if healthy else b"stopping\n")
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"/metrics or /healthz\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """One line for each scrape is for debugging only."""
        logger.debug(format, *args)
