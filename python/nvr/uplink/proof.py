"""How a parent proves to a child which node it is, beside its TLS certificate being trusted."""

from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from nvr.errors import ConfigError, Unauthenticated
from nvr.security.identity import Caller
from nvr.security.node_key import NodeKey, node_id_of, verify_signature
from nvr.security.tls import bound_node_id
from nvr.v1.uplink_pb2 import UplinkHello, UplinkWelcome

__all__ = ["NONCE_BYTES", "caller_by_certificate", "check_welcome", "sign_welcome"]

NONCE_BYTES = 32
_STATEMENT = b"nvr uplink v1\0"


def sign_welcome(key: NodeKey, hello: UplinkHello, welcome: UplinkWelcome) -> None:
    """Fills in the parent's id, key and signature. ``welcome.you`` is known by then."""
    welcome.node_id = key.id
    welcome.public_key = key.public_key
    welcome.signature = key.sign(_STATEMENT + hello.nonce + welcome.you.encode())


def check_welcome(hello: UplinkHello, welcome: UplinkWelcome, you: str) -> str:
    """The parent's node id. Raises :exc:`Unauthenticated` when it is not proven.

    ``you``: whom this node's own certificate makes it. A parent that relays the
    nonce to another node, under its own certificate, gets a signature for another name.
    """
    if welcome.you != you:
        raise Unauthenticated(f"the parent takes this node for {welcome.you[:200]!r}, and it is {you!r}")
    statement = _STATEMENT + hello.nonce + welcome.you.encode()
    if node_id_of(welcome.public_key) != welcome.node_id or not verify_signature(
        welcome.public_key, welcome.signature, statement
    ):
        raise Unauthenticated(
            f"the parent says that it is node {welcome.node_id[:64]}, and does not prove it"
        )
    return welcome.node_id


def caller_by_certificate(path: Path | None) -> str:
    """Whom a node's own certificate makes it, as :func:`nvr.security.identity.identify` would say."""
    if path is None:
        return str(Caller("local"))
    try:
        pem = path.read_bytes()
        node_id = bound_node_id(pem)
        if node_id is not None:
            return str(Caller("node", node_id))
        names = x509.load_pem_x509_certificate(pem).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a certificate") from error
    if not names:
        raise ConfigError(f"{path}: the certificate has neither a node nor a common name")
    value = names[0].value
    return str(Caller("certificate", value if isinstance(value, str) else value.decode("utf-8", "replace")))
