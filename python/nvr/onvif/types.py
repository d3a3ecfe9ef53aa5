"""What is found of cameras."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Answer", "Channel", "Device", "Login", "Profile", "Trouble"]


class Trouble(StrEnum):
    """Why not all could be asked."""

    NONE = ""
    UNREACHABLE = "unreachable"
    """It does not answer, or not in time."""
    NOT_ONVIF = "not_onvif"
    """It answers, but not as an ONVIF device."""
    LOGIN_NEEDED = "login_needed"
    """It wants a user and password, and none were given."""
    LOGIN_REFUSED = "login_refused"
    """It refuses those that were given."""


@dataclass(frozen=True, slots=True)
class Login:
    """User and password; ``repr`` shows no password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A device that answered a probe (WS-Discovery, section 5.3)."""

    host: str
    """The address that the answer came from: whatever it says, no other is asked."""
    port: int
    path: str
    """Of its device service."""
    secure: bool = False
    """By HTTPS."""
    endpoint: str = ""
    """Its own lasting id."""
    name: str = ""
    hardware: str = ""

    @property
    def url(self) -> str:
        """Of its device service."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Profile:
    """One way in which a camera streams."""

    token: str
    name: str
    codec: str
    """As ONVIF calls it: ``H264``, ``H265``, ``JPEG``, ``MPEG4``; empty: it does not say."""
    width: int
    height: int
    fps: float
    bit_rate_kbit: int
    stream_url: str
    """RTSP, without user and password."""

    @property
    def recordable(self) -> bool:
        """Whether what is known does not speak against it."""
        return bool(self.stream_url) and self.codec in {"", "H264", "H265"}


@dataclass(frozen=True, slots=True)
class Channel:
    """A lens: one of a camera, several of a recorder or an encoder that speaks ONVIF for its cameras."""

    number: int
    source: str
    """The device's token for it."""
    main: Profile | None
    """The largest picture that can be recorded."""
    sub: Profile | None
    """The smallest one, if it is smaller."""
    others: Sequence[Profile] = ()
    snapshot_url: str = ""
    """Of the main stream, by HTTP; without user and password."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device and its channels, as far as it told."""

    answer: Answer
    trouble: Trouble = Trouble.NONE
    detail: str = ""
    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    serial: str = ""
    clock_offset_s: float | None = None
    """Its clock minus this machine's, to about a second; None: it does not say."""
    channels: Sequence[Channel] = ()
    notes: Sequence[str] = ()
    """In what it does not keep to the standard, where that matters."""
