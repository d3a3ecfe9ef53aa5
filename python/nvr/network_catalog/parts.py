"""The part of the catalog that a child is to hold."""

import hashlib
from collections.abc import Collection

from nvr.network_catalog.convert import held_to_pb
from nvr.network_catalog.holder import Held
from nvr.network_catalog.types import Catalog
from nvr.network_catalog.versions import Version

__all__ = ["part_for", "whole_of"]


def part_for(held: Held, node_ids: Collection[str]) -> tuple[bytes, bytes]:
    """Serialized ``HeldCatalog`` and its digest, with the cameras of some nodes only."""
    cameras = (camera for camera in held.content.cameras if camera.node_id in node_ids)
    data = held_to_pb(held.catalog_id, held.version, held.content, cameras).SerializeToString(
        deterministic=True
    )
    return data, hashlib.sha256(data).digest()


def whole_of(catalog_id: str, version: Version, content: Catalog) -> tuple[bytes, bytes]:
    """The same with all cameras."""
    data = held_to_pb(catalog_id, version, content, content.cameras).SerializeToString(deterministic=True)
    return data, hashlib.sha256(data).digest()
