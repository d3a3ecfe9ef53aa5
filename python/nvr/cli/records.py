"""Answers as JSON objects. Times come twice: ISO 8601 in UTC, and microseconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nvr.client import CameraList, ClipReport, Collected, Coverage
from nvr.footage.places import Found, NextCamera
from nvr.footage.time import format_instant
from nvr.footage.types import Camera, Event, Gap, LineSpeed, Notice, Span, TimeRange


def instant(name: str, at_us: int) -> dict[str, Any]:
    """An instant under a name; null for 0, which means none."""
    return {name: format_instant(at_us) if at_us else None, f"{name}_us": at_us or None}


def range_(value: TimeRange) -> dict[str, Any]:
    """A range."""
    return {
        "start": format_instant(value.start_us),
        "end": format_instant(value.end_us),
        "start_us": value.start_us,
        "end_us": value.end_us,
    }


def camera(value: Camera) -> dict[str, Any]:
    """A camera with its streams."""
    return {
        "type": "camera",
        "id": value.id,
        "name": value.name,
        "title": value.title,
        "node": value.node,
        "lat": value.place.latitude if value.place else None,
        "lon": value.place.longitude if value.place else None,
        "height_m": value.height_m,
        "direction_deg": value.view.direction_deg if value.view else None,
        "angle_deg": value.view.angle_deg if value.view else None,
        "reach_m": value.view.reach_m if value.view else None,
        "area": value.area,
        "owner": value.owner.value,
        "sources": list(value.sources),
        "streams": [
            {
                "stream": stream.kind,
                "state": stream.state.value,
                "reason": stream.reason,
                "detail": stream.detail,
                "video_codec": stream.video_codec,
                "audio_codec": stream.audio_codec,
                "width": stream.width,
                "height": stream.height,
                "frames": stream.frames,
                "bytes": stream.bytes,
                "camera_clock_offset_us": stream.camera_clock_offset_us,
                **instant("last_frame", stream.last_frame_us),
                **instant("oldest", stream.oldest_us),
                **instant("newest", stream.newest_us),
            }
            for stream in value.streams
        ],
    }


def cameras(value: CameraList) -> Iterable[dict[str, Any]]:
    """Each camera, then the end."""
    yield from map(camera, value)
    yield end(value.warnings, complete=value.complete)


def coverage(value: Coverage) -> Iterable[dict[str, Any]]:
    """Each span and gap, then the end."""
    for item in value:
        yield span(item) if isinstance(item, Span) else gap(item)
    yield end(value.warnings, complete=value.complete)


def span(value: Span) -> dict[str, Any]:
    """A recorded stretch."""
    return {
        "type": "span",
        **range_(value.range),
        "run_id": value.run_id,
        "epoch": value.epoch,
        "node": value.node,
        "clock_offset_us": value.clock_offset_us,
    }


def gap(value: Gap) -> dict[str, Any]:
    """A stretch that is not recorded."""
    return {"type": "gap", **range_(value.range), "reason": value.reason, "detail": value.detail}


def notice(value: Notice) -> dict[str, Any]:
    """A warning."""
    where = range_(value.range) if value.range else None
    return {
        "code": value.code,
        "message": value.message,
        "node": value.node,
        "camera_id": value.camera_id,
        "cameras": value.cameras,
        "range": where,
    }


def end(warnings: Iterable[Notice], *, complete: bool) -> dict[str, Any]:
    """The last line of an answer of many."""
    return {"type": "end", "complete": complete, "warnings": [notice(warning) for warning in warnings]}


def event(value: Event) -> dict[str, Any]:
    """An event."""
    return {
        "type": "event",
        **instant("at", value.at_us),
        "kind": value.kind,
        "camera_id": value.camera_id,
        "stream": value.stream,
        "reason": value.reason,
        "detail": value.detail,
        "node": value.node,
    }


def found(value: Found) -> dict[str, Any]:
    """A camera found, and what it has."""
    items = [span(item) if isinstance(item, Span) else gap(item) for item in value.coverage]
    return {
        **camera(value.camera),
        "type": "found",
        "distance_m": value.distance_m,
        "source": value.source,
        "coverage": items,
    }


def next_camera(value: NextCamera) -> dict[str, Any]:
    """A camera that can be reached."""
    return {
        **camera(value.camera),
        "type": "next",
        "distance_m": value.distance_m,
        "bearing_deg": value.bearing_deg,
        "window": range_(value.window),
    }


def collected(value: Collected) -> dict[str, Any]:
    """What came of one camera of a collection."""
    return {
        "type": "collected",
        "camera": value.camera.name,
        "camera_id": value.camera.id,
        "node": value.camera.node,
        "size_bytes": value.size_bytes,
        "reason": value.reason,
        "detail": value.detail,
        "failed": value.failed,
        "gaps": [gap(item) for item in value.gaps],
        "clip": None if value.report is None else clip(value.report),
    }


def line(value: LineSpeed | None) -> dict[str, Any] | None:
    """A slow line that footage comes over."""
    if value is None:
        return None
    return {
        "node": value.node,
        "cap_bits_per_second": value.cap_bits_per_s,
        "rate_bits_per_second": value.rate_bits_per_s,
    }


def clip(value: ClipReport) -> dict[str, Any]:
    """What was saved of a clip."""
    return {
        "type": "clip",
        "camera": value.camera,
        **range_(value.range),
        "files": [
            {
                "path": str(part.path),
                "size_bytes": part.size_bytes,
                "etag": part.etag,
                "video_codec": part.video_codec,
                "audio_codec": part.audio_codec,
                "node": part.node,
                **range_(part.range),
                "disclosed": range_(part.disclosed),
            }
            for part in value.parts
        ],
        "gaps": [gap(item) for item in value.gaps],
        "resumed_bytes": value.resumed_bytes,
        "retries": value.retries,
        "complete": value.complete,
        "warnings": [notice(warning) for warning in value.warnings],
    }
