"""Settings of RTSP out."""

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["RtspSettings", "RtspUser"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class RtspUser(_Section):
    """``[[rtsp.user]]``: who may watch."""

    name: str = Field(pattern=r"^[^:\x00-\x1f\"]{1,100}$")
    """Given to the audit record. Without a colon (RFC 7617, section 2)."""
    password: str = Field(min_length=1, max_length=200, repr=False)
    """Asked for by Digest (RFC 7616), from this machine also by Basic."""


class RtspSettings(_Section):
    """``[rtsp]``: cameras are played over RTSP. Without users, only this machine may watch."""

    listen: str = Field(
        default="127.0.0.1:8554", pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$"
    )
    """Where it is served; port 0: a free one."""
    user: list[RtspUser] = Field(default=[], max_length=1000)
    """Who may watch."""
    threads: int = Field(default=1, ge=1, le=64)
    """Threads that send to clients."""
    max_sessions: int = Field(default=200, ge=1, le=10_000)
    """Clients that have a stream set up; one more is refused (453)."""
    max_connections: int = Field(default=1000, ge=1, le=100_000)
    """Clients that are connected; one more is refused (503)."""
