"""What the network catalog has, as JSON objects and for people."""

from __future__ import annotations

from typing import Any

from nvr.cli.output import Output
from nvr.cli.records import instant
from nvr.network_catalog.reader import CatalogStanding
from nvr.network_catalog.types import Area, CameraEntry, NodeEntry, RetiredArea
from nvr.network_catalog.versions import Version


def area(value: Area | RetiredArea) -> dict[str, Any]:
    """An area, or a former one."""
    return {
        "type": "area",
        "code": value.code,
        "name": value.name,
        "parent": value.parent,
        "level": value.level,
        "former": isinstance(value, RetiredArea),
        "into": list(value.into) if isinstance(value, RetiredArea) else [],
    }


def node(value: NodeEntry) -> dict[str, Any]:
    """A node."""
    return {
        "type": "node",
        "node_id": value.node_id,
        "name": value.name,
        "title": value.title,
        "area": value.area,
    }


def camera(value: CameraEntry) -> dict[str, Any]:
    """A camera; null: the catalog does not say it."""
    return {
        "type": "camera",
        "camera_id": value.camera_id,
        "node_id": value.node_id,
        "name": value.name,
        "title": value.title,
        "area": value.area,
        "lat": value.latitude,
        "lon": value.longitude,
        "height_m": value.height_m,
        "direction_deg": value.view.direction_deg if value.view else None,
        "angle_deg": value.view.angle_deg if value.view else None,
        "reach_m": value.view.reach_m if value.view else None,
        "owner": value.owner.value,
    }


def version(value: Version) -> dict[str, Any]:
    """A version."""
    return {
        "type": "version",
        "number": value.number,
        **instant("made", value.made_us),
        "actor": value.actor,
        "summary": value.summary,
        "request_id": value.request_id,
        "undoes": value.undoes or None,
        "added": value.added,
        "changed": value.changed,
        "removed": value.removed,
    }


def standing(value: CatalogStanding) -> dict[str, Any]:
    """How a node's catalog stands."""
    return {
        "type": "catalog",
        "state": value.state.value,
        "catalog_id": value.catalog_id,
        "version": value.version,
        **instant("made", value.made_us),
        "areas": value.areas,
        "nodes": value.nodes,
        "cameras": value.cameras,
        "highest_held": value.highest_held or None,
    }


def counts(value: Version) -> str:
    """How many entries a version changes, for people."""
    return f"{value.added:,} added, {value.changed:,} changed, {value.removed:,} taken out"


def show_made(output: Output, versions: list[Version], *, dry_run: bool) -> None:
    """What was made, or would be, and how it is taken back."""
    real = [each for each in versions if each.added or each.changed or each.removed]
    if output.as_json:
        for each in versions:
            made = each in real
            output.record({**version(each), "dry_run": dry_run, "made_version": made and not dry_run})
        return
    if not real:
        newest = f"; the newest version is {versions[-1].number}" if versions else ""
        output.line(f"nothing changes{newest}")
        return
    for each in real:
        would = "would be " if dry_run else ""
        output.line(f"{would}version {each.number}: {each.summary}: {counts(each)}")
    if not dry_run:
        undo = "; ".join(f"nvr catalog undo {each.number}" for each in reversed(real))
        output.note(f"undo: {undo}")
