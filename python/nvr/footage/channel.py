"""Settings that both ends of a connection between nodes need to agree on."""

from typing import Any

import grpc

from nvr.footage.malloc import keep_freed_memory
from nvr.security.tls import TlsFiles, channel_credentials

__all__ = ["MAX_REQUEST_BYTES", "SERVER_OPTIONS", "dial"]

MAX_REQUEST_BYTES = 1 << 20
"""A thousand camera names fit."""

# A snapshot, or an access unit, travels in one message.
_MAX_ANSWER_BYTES = 64 << 20

# A connection that is dead without saying so (a cable pulled, NAT that forgot)
# is noticed after 30 + 10 s, also between calls of a stream that is silent.
_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000

# A message of footage in one HTTP/2 frame (RFC 9113, 6.5.2: the most) instead of 64.
_FRAME_BYTES = (1 << 24) - 1

SERVER_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    # Clients ping every 30 s; a quarter of that is abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", _KEEPALIVE_MS // 4),
    ("grpc.http2.max_frame_size", _FRAME_BYTES),
    # A server receives requests, which are small: to measure how much more fits on the way takes a
    # ping for each.
    ("grpc.http2.bdp_probe", 0),
    # A second process on the same port would take half of the calls.
    ("grpc.so_reuseport", 0),
)

_CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.max_frame_size", _FRAME_BYTES),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # A node is named by its address; a proxy of the environment is for the Web.
    ("grpc.enable_http_proxy", 0),
)


def dial(
    target: str, tls: TlsFiles | None = None, *, max_answer_bytes: int = _MAX_ANSWER_BYTES
) -> grpc.aio.Channel:
    """A channel to ``host:port`` or ``unix:path``; plaintext without ``tls``.

    ``max_answer_bytes``: of one message; a longer one fails its call. Raises
    :exc:`nvr.errors.ConfigError` when a file of ``tls`` cannot be read.
    Nothing is sent before the first call.
    """
    keep_freed_memory()
    options = (("grpc.max_receive_message_length", max_answer_bytes), *_CHANNEL_OPTIONS)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, channel_credentials(tls), options=options)
