"""The key that a node is: Ed25519 (RFC 8032), made once, never leaving its machine.

The node's id is the SHA-256 of the public key. The file is PKCS #8 PEM
(RFC 8410), readable by its owner only.
"""

import hashlib
import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nvr.errors import DamagedError, StoreError
from nvr.files import sync_folder

__all__ = ["NodeKey", "node_id_of", "verify_signature", "write_private"]

FILE_NAME = "node.key"
_MAX_FILE_BYTES = 4096


def node_id_of(public_key: bytes) -> str:
    """The node id of a raw 32-byte Ed25519 public key: its SHA-256, hexadecimal."""
    return hashlib.sha256(public_key).hexdigest()


def verify_signature(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """True when the signature over ``data`` is by the raw public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class NodeKey:
    """A node's Ed25519 key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()
        self.id = node_id_of(self.public_key)

    def __repr__(self) -> str:
        return f"NodeKey(id={self.id!r})"

    @classmethod
    def load_or_create(cls, folder: Path) -> "NodeKey":
        """The key in a node's data folder; made and synced to disk the first time.

        Raises :exc:`StoreError` when the file cannot be read or written or is
        open to other users, :exc:`DamagedError` when it holds no Ed25519 key.
        """
        path = folder / FILE_NAME
        try:
            if not os.path.lexists(path):
                pem = Ed25519PrivateKey.generate().private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                write_private(path, pem)
        except OSError as error:
            raise StoreError(f"{path}: cannot make the node key: {error}", error.errno, str(path)) from error
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "NodeKey":
        """The key in a node's data folder. Raises as :meth:`load_or_create` does."""
        path = folder / FILE_NAME
        try:
            pem = _read_private(path)
        except OSError as error:
            raise StoreError(f"{path}: cannot read the node key: {error}", error.errno, str(path)) from error
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise DamagedError(f"{path}: not a PKCS #8 private key without password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise DamagedError(f"{path}: not an Ed25519 key")
        return cls(key)

    def sign(self, data: bytes) -> bytes:
        """A 64-byte signature. Each use begins ``data`` with its own text: no signature serves another."""
        return self._key.sign(data)

    def derive(self, purpose: bytes, length: int = 32) -> bytes:
        """A secret for one purpose, by HKDF-SHA256 (RFC 5869) from the key's seed."""
        hkdf = HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=purpose)
        return hkdf.derive(self._key.private_bytes_raw())


def write_private(path: Path, data: bytes) -> None:
    """Makes a file of mode 0600, whole and synced or not at all; an existing one stays as it is."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            # Unlike a rename, a link never replaces the key of a process that was faster.
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def _read_private(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{path}: not a regular file", filename=str(path))
        if status.st_mode & 0o077:
            raise StoreError(
                f"{path}: other users may read or change it (mode {stat.S_IMODE(status.st_mode):o}); "
                f"if nobody has, `chmod 600 {path}`, else make the node anew",
                filename=str(path),
            )
        return file.read(_MAX_FILE_BYTES)
