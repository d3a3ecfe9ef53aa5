r"""A node's word that it records a camera: what lets another stop without trusting whoever tells it to.

Ed25519 by the node key over ``"nvr lease recording v1\0"``, the camera's id in
ASCII, a zero byte, and the epoch as 4 bytes big-endian. An epoch is handed out
once, so the word of one hand-over serves no other.
"""

from dataclasses import dataclass

from nvr.errors import AccessDenied
from nvr.security.node_key import NodeKey, node_id_of, verify_signature

__all__ = ["Confirmation", "check_confirmation", "confirm"]

_STATEMENT = b"nvr lease recording v1\0"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """``node_key``: raw public key of who says it."""

    node_key: bytes
    signature: bytes


def confirm(key: NodeKey, camera_id: str, epoch: int) -> Confirmation:
    """The node's word; it must be true now."""
    return Confirmation(key.public_key, key.sign(_statement(camera_id, epoch)))


def check_confirmation(word: Confirmation, taker_id: str, camera_id: str, epoch: int) -> None:
    """Raises :exc:`AccessDenied` unless it is that node's word about that camera and epoch."""
    if node_id_of(word.node_key) != taker_id or not verify_signature(
        word.node_key, word.signature, _statement(camera_id, epoch)
    ):
        raise AccessDenied(
            "the confirmation is not the taker's word that it records this camera under this epoch",
            field="confirmation",
        )


def _statement(camera_id: str, epoch: int) -> bytes:
    return _STATEMENT + camera_id.encode("ascii") + b"\0" + epoch.to_bytes(4, "big")
