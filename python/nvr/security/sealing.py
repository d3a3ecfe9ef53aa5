r"""Secrets from one node to another, past whoever carries them.

A node has an X25519 key (RFC 7748) derived from its node key for this purpose
only; the node key vouches for it. A box is made for one recipient with a key
used once, and signed by its sender, so that who carries it can neither read it,
nor alter it, nor make one of its own::

    version 1                                     1 byte
    sender's Ed25519 public key                  32 bytes
    sender's signature                           64 bytes
    ephemeral X25519 public key                  32 bytes
    ChaCha20-Poly1305 (RFC 8439) of the secret   rest

The cipher's key is HKDF-SHA256 (RFC 5869) of the shared secret, with
``"nvr sealed box v1\0"``, the ephemeral and the recipient's public key as info;
it is used once, so the nonce is zero. The associated data is ``"nvr sealed box
v1\0"``, sender's id, recipient's id and what the box is bound to, each after its
length (2 bytes, big-endian). The signature is over the associated data, the
ephemeral key and the ciphertext.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nvr.errors import AccessDenied, DamagedError
from nvr.security.node_key import NodeKey, node_id_of, verify_signature

__all__ = ["SealingKey", "open_box", "seal_box", "sealing_key_of"]

_DERIVE = b"nvr sealing key x25519 v1"
_STATEMENT = b"nvr sealing key v1\0"
_BOX = b"nvr sealed box v1\0"
_VERSION = 1
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_HEAD_BYTES = 1 + _KEY_BYTES + _SIGNATURE_BYTES + _KEY_BYTES
_CLOSED = "a sealed box does not open: it is for another node, about something else, or altered"
# The key of each box is used for it alone.
_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The public half of a node's sealing key. ``signature``: of the node key, over ``public_key``."""

    node_key: bytes
    public_key: bytes
    signature: bytes

    def verified_id(self) -> str:
        """Id of the node whose it is. Raises :exc:`AccessDenied` when the node key does not vouch for it."""
        if not verify_signature(self.node_key, self.signature, _STATEMENT + self.public_key):
            raise AccessDenied("the sealing key is not signed by the node that it names", field="recipient")
        return node_id_of(self.node_key)


def sealing_key_of(key: NodeKey) -> SealingKey:
    """The public half of a node's sealing key, signed."""
    public = _private(key).public_key().public_bytes_raw()
    return SealingKey(key.public_key, public, key.sign(_STATEMENT + public))


def seal_box(sender: NodeKey, recipient: SealingKey, secret: bytes, *, bound_to: str) -> bytes:
    """A box for one node. ``bound_to``: what it is about, said again to open it.

    Raises :exc:`AccessDenied` when the recipient's node key does not vouch for its sealing key.
    """
    recipient_id = recipient.verified_id()
    ephemeral = X25519PrivateKey.generate()
    ephemeral_public = ephemeral.public_key().public_bytes_raw()
    try:
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient.public_key))
    except ValueError as error:
        # A point of low order: everybody would know the secret.
        raise AccessDenied("the sealing key is none to which anything can be sealed") from error
    data = _associated(sender.id, recipient_id, bound_to)
    cipher = _cipher(shared, ephemeral_public, recipient.public_key)
    text = cipher.encrypt(_NONCE, secret, data)
    signature = sender.sign(data + ephemeral_public + text)
    return bytes((_VERSION,)) + sender.public_key + signature + ephemeral_public + text


def open_box(key: NodeKey, box: bytes, *, bound_to: str) -> tuple[str, bytes]:
    """Id of the sender, and the secret.

    Raises :exc:`DamagedError` when the box is for another node, about something else, or altered.
    """
    if len(box) < _HEAD_BYTES or box[0] != _VERSION:
        raise DamagedError("not a sealed box of a version known here")
    at = 1 + _KEY_BYTES
    sender_key, signature = box[1:at], box[at : at + _SIGNATURE_BYTES]
    ephemeral, text = box[at + _SIGNATURE_BYTES : _HEAD_BYTES], box[_HEAD_BYTES:]
    sender_id = node_id_of(sender_key)
    data = _associated(sender_id, key.id, bound_to)
    if not verify_signature(sender_key, signature, data + ephemeral + text):
        raise DamagedError(_CLOSED)
    private = _private(key)
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
        cipher = _cipher(shared, ephemeral, private.public_key().public_bytes_raw())
        return sender_id, cipher.decrypt(_NONCE, text, data)
    except (InvalidTag, ValueError) as error:
        raise DamagedError(_CLOSED) from error


def _private(key: NodeKey) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(key.derive(_DERIVE))


def _cipher(shared: bytes, ephemeral: bytes, recipient: bytes) -> ChaCha20Poly1305:
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_BOX + ephemeral + recipient)
    return ChaCha20Poly1305(hkdf.derive(shared))


def _associated(sender_id: str, recipient_id: str, bound_to: str) -> bytes:
    fields = (sender_id.encode(), recipient_id.encode(), bound_to.encode())
    return _BOX + b"".join(len(each).to_bytes(2, "big") + each for each in fields)
