"""Settings of RTSP out."""

from pydantic import Field

from nvr.settings.fields import Address, ListenAddress, Section

__all__ = ["RtspSettings", "RtspUser"]


class RtspUser(Section):
    """``[[rtsp.user]]``: who may watch."""

    name: str = Field(pattern=r"^[^:\x00-\x1f\"]{1,100}$")
    """Given to the audit record. Without a colon (RFC 7617, section 2)."""
    password: str = Field(min_length=1, max_length=200, repr=False)
    """Asked for by Digest (RFC 7616), from this machine also by Basic."""


class RtspSettings(Section):
    """``[rtsp]``: cameras are played over RTSP. Without users, only this machine may watch."""

    listen: ListenAddress = Address("127.0.0.1:8554")
    """Where it is served."""
    user: list[RtspUser] = Field(default=[], max_length=1000)
    """Who may watch."""
    threads: int = Field(default=1, ge=1, le=64)
    """Threads that send to clients."""
    max_sessions: int = Field(default=200, ge=1, le=10_000)
    """Clients that have a stream set up; one more is refused (453)."""
    max_connections: int = Field(default=1000, ge=1, le=100_000)
    """Clients that are connected; one more is refused (503)."""
