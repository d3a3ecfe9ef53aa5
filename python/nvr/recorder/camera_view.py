"""A camera as readers see it: the catalog's facts, the session's state, the stores' ranges."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nvr.catalog.catalog import CatalogCamera
from nvr.footage.types import Camera, StreamInfo, StreamName, StreamState

if TYPE_CHECKING:
    from nvr import _core

__all__ = ["StatusByStream", "camera_view", "recorded_streams", "why_not"]

StatusByStream = Mapping[tuple[str, str], "_core.StreamStatus"]
RangeOf = Callable[[str, str], tuple[int, int] | None]
_STREAMS: tuple[StreamName, ...] = ("main", "sub")


def recorded_streams(camera: CatalogCamera) -> dict[StreamName, str]:
    """Which streams are to be recorded, and from where."""
    settings = camera.settings
    if camera.removed_us is not None or not camera.held or not settings.enabled:
        return {}
    urls: dict[StreamName, str] = {"main": settings.main_url, "sub": settings.sub_url}
    return {stream: url for stream, url in urls.items() if url}


def why_not(camera: CatalogCamera) -> str:
    """The gap reason of a camera that is not to be recorded here."""
    if camera.removed_us is not None:
        return "removed"
    if camera.copied_from:
        return "copied"
    return "yielded" if not camera.held else "disabled" if not camera.settings.enabled else "removed"


def camera_view(camera: CatalogCamera, node: str, status: StatusByStream, range_of: RangeOf) -> Camera:
    """The camera. Blocks when ``range_of`` does. A stream that is not recorded shows while it has footage."""
    settings = camera.settings
    streams = []
    for stream in _STREAMS:
        kept = range_of(camera.id, stream) if camera.id else None
        set_up = stream in recorded_streams(camera) or bool(
            settings.sub_url if stream == "sub" else settings.main_url
        )
        if set_up or kept:
            streams.append(_stream_view(camera, stream, status.get((camera.id, stream)), kept))
    return Camera(
        id=camera.id,
        name=settings.name,
        title=settings.title,
        place=settings.place,
        node=node,
        streams=streams,
        height_m=settings.height_m,
        view=settings.view,
        area=settings.area,
        owner=settings.owner,
    )


def _stream_view(
    camera: CatalogCamera,
    stream: StreamName,
    status: "_core.StreamStatus | None",
    kept: tuple[int, int] | None,
) -> StreamInfo:
    oldest_us, newest_us = kept or (0, 0)
    if status is None:
        wanted = stream in recorded_streams(camera)
        state = StreamState.CONNECTING if wanted else StreamState.DISABLED
        reason = "" if wanted else why_not(camera)
        return StreamInfo(stream, state, reason, oldest_us=oldest_us, newest_us=newest_us)
    try:
        state = StreamState(status.state)
    except ValueError:
        state = StreamState.UNKNOWN
    return StreamInfo(
        kind=stream,
        state=state,
        reason=status.reason,
        detail=status.detail,
        video_codec=status.video_codec,
        audio_codec=status.audio_codec,
        width=status.width,
        height=status.height,
        last_frame_us=status.last_frame_us,
        frames=status.frames,
        bytes=status.bytes,
        camera_clock_offset_us=status.camera_clock_offset_us,
        oldest_us=oldest_us,
        newest_us=newest_us,
    )
