"""All exceptions of the package, in one tree.

::

    NvrError
    ├── InvalidArgument (ValueError)     a value is out of its range
    │   ├── NaiveDatetime                a datetime without a time zone
    │   ├── RangeInFuture                a range that ends after now
    │   ├── AmbiguousCamera              several cameras have that name
    │   ├── AreaAmbiguous                several areas have that name
    │   ├── CodecUnsupported             media that cannot be given in the form asked for
    │   └── ConfigError                  a settings file, with the place of each fault
    ├── NotFound (LookupError)
    │   ├── CameraNotFound
    │   ├── AreaNotFound                 no area has that code or name
    │   └── NoFootage                    nothing is recorded there
    ├── CameraExists
    ├── ClipChanged                      the bytes behind an ETag are not those any more
    ├── TreeRefused                      what a node tells contradicts the tree: a cycle, two parents
    ├── UplinkReplaced                   the node has connected to its parent anew
    ├── LeaseStale                       an epoch that is not the newest
    ├── LeaseHeld                        the node has the duty to record the camera
    ├── LeaseRefused                     a camera cannot be recorded by that node
    ├── CatalogAway                      the network catalog's database is out of reach
    ├── CatalogRefused                   what the network catalog's state does not allow
    │   ├── CatalogBehind                a restored database: nodes hold versions that it does not know
    │   ├── CatalogConflict              it was changed in between
    │   ├── CatalogForeign               a version of another catalog than the one held
    │   ├── CatalogNotRoot               the node is not where it is written
    │   └── CatalogStale                 a version that is not newer than the one held
    ├── Incomplete                       part of the answer is missing and was not to be
    ├── LimitExceeded                    a limit of the node; names it
    ├── AccessDenied (PermissionError)
    │   └── Unauthenticated
    ├── StoreError (OSError)             the file system said no; has errno and filename
    ├── DamagedError                     stored bytes fail their check
    ├── DecodeError                      pictures cannot be decoded
    ├── NodeUnavailable (ConnectionError)
    │   └── DeadlineExceeded (TimeoutError)
    ├── Closed                           the object was closed
    └── InternalError                    a defect of ours

Each has ``reason``: the stable, machine-readable word that travels on the wire
(``nvr.v1.Problem.reason``).
"""

from collections.abc import Mapping
from typing import ClassVar

__all__ = [
    "AccessDenied",
    "AmbiguousCamera",
    "AreaAmbiguous",
    "AreaNotFound",
    "CameraExists",
    "CameraNotFound",
    "CatalogAway",
    "CatalogBehind",
    "CatalogConflict",
    "CatalogForeign",
    "CatalogNotRoot",
    "CatalogRefused",
    "CatalogStale",
    "ClipChanged",
    "Closed",
    "CodecUnsupported",
    "ConfigError",
    "DamagedError",
    "DeadlineExceeded",
    "DecodeError",
    "Incomplete",
    "InternalError",
    "InvalidArgument",
    "LeaseHeld",
    "LeaseRefused",
    "LeaseStale",
    "LimitExceeded",
    "NaiveDatetime",
    "NoFootage",
    "NodeUnavailable",
    "NotFound",
    "NvrError",
    "RangeInFuture",
    "StoreError",
    "TreeRefused",
    "Unauthenticated",
    "UplinkReplaced",
]


class NvrError(Exception):
    """Anything that this package raises on purpose.

    ``field`` names the argument at fault, if one is; ``facts`` holds further
    machine-readable facts; ``node`` the name of the node that failed.
    """

    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str, *, field: str = "", facts: Mapping[str, str] | None = None, node: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.facts = dict(facts or {})
        self.node = node

    def __str__(self) -> str:
        return self.message


class InvalidArgument(NvrError, ValueError):
    """A value is out of its range."""

    reason = "INVALID_FIELD"


class NaiveDatetime(InvalidArgument):
    """A datetime without a time zone: which instant it means cannot be known."""


class RangeInFuture(InvalidArgument):
    """A range that ends after now."""

    reason = "RANGE_IN_FUTURE"


class AmbiguousCamera(InvalidArgument):
    """Several cameras have that name; ``facts["candidates"]`` lists them."""

    reason = "CAMERA_AMBIGUOUS"


class AreaAmbiguous(InvalidArgument):
    """Several areas have that name; ``facts["candidates"]`` lists them."""

    reason = "AREA_AMBIGUOUS"


class CodecUnsupported(InvalidArgument):
    """Media of that codec cannot be given in the form asked for; the message says in which it can."""

    reason = "CODEC_UNSUPPORTED"


class ConfigError(InvalidArgument):
    """A settings file is wrong; the message has a line for each fault with its place."""

    reason = "CONFIG"


class NotFound(NvrError, LookupError):
    """What was asked for does not exist."""

    reason = "NOT_FOUND"


class CameraNotFound(NotFound):
    """No camera has that id or name."""

    reason = "CAMERA_NOT_FOUND"


class AreaNotFound(NotFound):
    """No area has that code or name."""

    reason = "AREA_NOT_FOUND"


class NoFootage(NotFound):
    """Nothing is recorded there."""

    reason = "NO_FOOTAGE"


class CameraExists(NvrError):
    """The name is taken."""

    reason = "CAMERA_EXISTS"


class ClipChanged(NvrError):
    """The bytes behind an ETag are not those any more: start the clip anew."""

    reason = "CLIP_CHANGED"


class TreeRefused(NvrError):
    """What a node tells contradicts the tree: ``facts["code"]`` is cycle, two_parents or foreign."""

    reason = "TREE_REFUSED"


class UplinkReplaced(NvrError):
    """The node has connected to its parent anew, or another machine has its key."""

    reason = "UPLINK_REPLACED"


class LeaseStale(NvrError):
    """What was told under an epoch that is not the newest; ``facts["epoch"]`` is the newest known."""

    reason = "LEASE_STALE"


class LeaseHeld(NvrError):
    """The node has the duty to record the camera."""

    reason = "LEASE_HELD"


class LeaseRefused(NvrError):
    """A camera cannot be recorded by that node; the message says why."""

    reason = "LEASE_REFUSED"


class CatalogAway(NvrError):
    """The database of the network catalog is out of reach; nothing was changed."""

    reason = "CATALOG_AWAY"


class CatalogRefused(NvrError):
    """What the state of the network catalog does not allow."""

    reason = "CATALOG_REFUSED"


class CatalogBehind(CatalogRefused):
    """Nodes hold a version that the root's database does not know; ``facts["held"]`` is its number."""

    reason = "CATALOG_BEHIND"


class CatalogConflict(CatalogRefused):
    """The catalog was changed in between; ``facts["version"]`` is the newest version."""

    reason = "CATALOG_CONFLICT"


class CatalogForeign(CatalogRefused):
    """A version of another catalog than the one held; ``facts["catalog"]`` is the one held."""

    reason = "CATALOG_FOREIGN"


class CatalogNotRoot(CatalogRefused):
    """The catalog is written at another node."""

    reason = "CATALOG_NOT_ROOT"


class CatalogStale(CatalogRefused):
    """A version that is not newer than the one held; ``facts["version"]`` is the one held."""

    reason = "CATALOG_STALE"


class Incomplete(NvrError):
    """Part of the answer is missing, and the caller refused partial answers."""

    reason = "INCOMPLETE"


class LimitExceeded(NvrError):
    """A limit of the node; ``facts["limit"]`` names it."""

    reason = "LIMIT"


class AccessDenied(NvrError, PermissionError):
    """The caller may not do that."""

    reason = "FORBIDDEN"


class Unauthenticated(AccessDenied):
    """The node does not know who is calling."""

    reason = "UNAUTHENTICATED"


class StoreError(NvrError, OSError):
    """The file system said no."""

    reason = "STORE_FAILED"

    def __init__(
        self,
        message: str,
        errno: int | None = None,
        filename: str | None = None,
        *,
        field: str = "",
        facts: Mapping[str, str] | None = None,
        node: str = "",
    ) -> None:
        super().__init__(message, field=field, facts=facts, node=node)
        self.errno = errno
        self.filename = filename


class DamagedError(NvrError):
    """Stored bytes fail their check."""

    reason = "DAMAGED"


class DecodeError(NvrError):
    """Pictures cannot be decoded."""

    reason = "DECODE_FAILED"


class NodeUnavailable(NvrError, ConnectionError):
    """The node cannot be reached, or went away."""

    reason = "NODE_UNAVAILABLE"


class DeadlineExceeded(NodeUnavailable, TimeoutError):
    """The node did not answer in time."""

    reason = "DEADLINE"


class Closed(NvrError):
    """The object was closed."""

    reason = "CLOSED"


class InternalError(NvrError):
    """A defect of ours."""

    reason = "INTERNAL"
