"""The one contract: a source of footage.

A recorder's store, another node behind gRPC, and many nodes together are all
``FootageSource``; the server, the client library and the command line
know nothing else. The comments in ``protos/nvr/v1/footage.proto`` say what each
method means; this is the same in Python.

``source`` asks for the footage of the node of that name alone; without it, a
camera that several nodes have is one timeline.

A stream yields items and :class:`Notice` in order and ends with exactly one
:class:`End`. Errors are ``nvr.errors``; nothing of gRPC shows.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol, TypeVar

from nvr.footage.places import FindRequest, Found, NextCamera, NextCamerasRequest
from nvr.footage.types import (
    Camera,
    ClipData,
    ClipHead,
    ClipRequest,
    End,
    Event,
    Fragment,
    FragmentRef,
    FragmentsRequest,
    Gap,
    LiveUnit,
    NodeInfo,
    Notice,
    Picture,
    PictureOptions,
    ReadContext,
    Span,
    StreamName,
    TimeRange,
)

T = TypeVar("T")
Answer = AsyncIterator[T | Notice | End]


class FootageSource(Protocol):
    """Footage of the cameras below a node, and what the cameras do now."""

    async def node(self) -> NodeInfo:
        """Who answers here."""

    def list_cameras(self, context: ReadContext, cameras: Sequence[str] = ()) -> "Answer[Camera]":
        """The cameras, ordered by name; only these where any are named."""

    def coverage(
        self, context: ReadContext, camera: str, stream: StreamName, range: TimeRange, source: str = ""
    ) -> "Answer[Span | Gap]":
        """What is recorded of a range and what is not, and why, in order; fills the range."""

    async def locate(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        mode: Literal["at", "next", "previous"] = "at",
        source: str = "",
    ) -> FragmentRef:
        """The fragment that shows an instant, or the nearest one; else :exc:`nvr.errors.NoFootage`."""

    def read_fragments(self, context: ReadContext, request: FragmentsRequest) -> "Answer[Fragment]":
        """Stored fragments, whole and as they are on disk."""

    def read_clip(self, context: ReadContext, request: ClipRequest) -> "Answer[ClipHead | ClipData]":
        """A playable MP4 of exactly the range: first its head, then its bytes."""

    def read_frames(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        range: TimeRange,
        interval_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> "Answer[Picture]":
        """Decoded pictures shown at start, start + interval, …; 0: every stored picture."""

    async def snapshot(
        self,
        context: ReadContext,
        camera: str,
        stream: StreamName,
        at_us: int,
        options: PictureOptions,
        source: str = "",
    ) -> Picture:
        """The decoded picture shown at an instant; 0: the newest on disk."""

    def watch_live(
        self, context: ReadContext, camera: str, stream: StreamName, audio: bool = True, source: str = ""
    ) -> "Answer[LiveUnit]":
        """Access units as they arrive, from the newest random-access point on."""

    def find(self, context: ReadContext, request: FindRequest) -> "Answer[Found]":
        """Which cameras there are at a place, and what each has of a range."""

    def next_cameras(self, context: ReadContext, request: NextCamerasRequest) -> "Answer[NextCamera]":
        """Where somebody seen by a camera can be seen next, nearest first."""

    def watch_events(self, context: ReadContext, cameras: Sequence[str] = ()) -> "Answer[Event]":
        """What happens to cameras and their streams, as it happens."""
