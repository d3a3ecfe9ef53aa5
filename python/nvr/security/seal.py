"""Small secrets, such as camera passwords, sealed to a node's key.

Format: ``nvrseal1:`` and base64url of a 12-byte nonce and the ChaCha20-Poly1305
(RFC 8439) ciphertext. Its key is derived from the node key by HKDF-SHA256, so a
stolen catalog without the node key opens nothing. The associated data binds a
secret to its place (a camera's id): moved to another, it does not open.
"""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from nvr.errors import DamagedError
from nvr.security.node_key import NodeKey

__all__ = ["is_sealed", "seal", "unseal"]

PREFIX = "nvrseal1:"
_NONCE_BYTES = 12
_PURPOSE = b"nvr seal v1"


def is_sealed(text: str) -> bool:
    """True for what :func:`seal` made, by any node."""
    return text.startswith(PREFIX)


def seal(key: NodeKey, secret: str, *, bound_to: str) -> str:
    """The secret, readable only with the node's key. ``bound_to``: where it belongs, e.g. a camera id."""
    nonce = os.urandom(_NONCE_BYTES)
    box = ChaCha20Poly1305(key.derive(_PURPOSE)).encrypt(nonce, secret.encode(), bound_to.encode())
    return PREFIX + base64.urlsafe_b64encode(nonce + box).decode("ascii")


def unseal(key: NodeKey, sealed: str, *, bound_to: str) -> str:
    """The secret again. Raises :exc:`DamagedError` when it was sealed by another node, moved, or altered."""
    if not is_sealed(sealed):
        raise DamagedError(f"not a sealed secret: {PREFIX} is missing")
    try:
        raw = base64.b64decode(sealed[len(PREFIX) :], altchars=b"-_", validate=True)
        box = ChaCha20Poly1305(key.derive(_PURPOSE))
        return box.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode()).decode()
    except (InvalidTag, binascii.Error, ValueError) as error:
        raise DamagedError(
            "a sealed secret does not open: it was sealed with another node's key, for another place, "
            "or altered; enter the password again"
        ) from error
