"""Questions by place and time, and their answers; they mirror ``protos/nvr/v1/footage.proto``.

Places are WGS 84 in degrees, lengths metres on the ground, directions degrees
clockwise from north.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from nvr.footage.types import Camera, Gap, Place, Span, StreamName, TimeRange

__all__ = [
    "Circle",
    "Corridor",
    "FindOrder",
    "FindRequest",
    "Found",
    "InArea",
    "LooksAt",
    "Named",
    "NextCamera",
    "NextCamerasRequest",
    "Polygon",
    "Where",
]


@dataclass(frozen=True, slots=True)
class Named:
    """Cameras by id, name or ``node/name``; a name that means several cameras means all of them."""

    cameras: Sequence[str]


@dataclass(frozen=True, slots=True)
class InArea:
    """Cameras in an area of any level, by its code or its name."""

    area: str


@dataclass(frozen=True, slots=True)
class Circle:
    """Cameras within a circle."""

    center: Place
    radius_m: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """Cameras within a polygon, closed by itself."""

    corners: Sequence[Place]


@dataclass(frozen=True, slots=True)
class Corridor:
    """Cameras within a strip along a line; ``width_m`` of the whole strip."""

    points: Sequence[Place]
    width_m: float


@dataclass(frozen=True, slots=True)
class LooksAt:
    """Cameras whose view holds a point."""

    point: Place


Where = Named | InArea | Circle | Polygon | Corridor | LooksAt


class FindOrder(Enum):
    """In which order cameras are found."""

    NEAREST = "nearest"
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class FindRequest:
    """Which cameras (None: all), and what of them (None: no footage is looked for).

    ``limit`` 0: as many as the node gives at once. ``by_source``: an item for each
    node that has footage of a camera. ``ids_only``: of a camera only its id and node.
    """

    where: Where | None = None
    range: TimeRange | None = None
    stream: StreamName = "main"
    order: FindOrder = FindOrder.NEAREST
    limit: int = 0
    cursor: str = ""
    by_source: bool = False
    ids_only: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A camera found, and what it has of the range."""

    camera: Camera
    distance_m: float | None = None
    coverage: Sequence[Span | Gap] = ()
    source: str = ""

    @property
    def spans(self) -> tuple[Span, ...]:
        """The stretches that are recorded."""
        return tuple(item for item in self.coverage if isinstance(item, Span))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The stretches that are not, each with its reason."""
        return tuple(item for item in self.coverage if isinstance(item, Gap))


@dataclass(frozen=True, slots=True)
class NextCamerasRequest:
    """Where somebody seen by ``camera`` at ``at_us`` can be seen next; see the proto for each field."""

    camera: str
    at_us: int
    min_speed_mps: float
    max_speed_mps: float
    within_us: int
    detour: float = 1.5
    limit: int = 100


@dataclass(frozen=True, slots=True)
class NextCamera:
    """A camera that can be reached, and when."""

    camera: Camera
    distance_m: float
    window: TimeRange
    bearing_deg: float
