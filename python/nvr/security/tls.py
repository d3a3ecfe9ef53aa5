r"""TLS between nodes: P-256 certificates that a node's Ed25519 key vouches for.

gRPC's TLS takes no Ed25519 certificates, so a node has an ECDSA P-256 one and
its node key signs that certificate's public key. Who holds a certificate so
bound is the node named in it, whoever issued it:

- subject alternative name, URI: ``nvr:node:<node id>``;
- extension :data:`BINDING_OID`, not critical: a DER OCTET STRING of one byte
  version (1), the node's raw public key (32 bytes) and its Ed25519 signature
  (64 bytes) over ``"nvr certificate v1\\0"`` and the certificate's
  SubjectPublicKeyInfo in DER.

The certificate itself is self-signed; peers trust it by having it (or an
organisation's CA that issued it) in their list of authorities.
"""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nvr.errors import ConfigError, Unauthenticated
from nvr.files import sync_folder
from nvr.security.node_key import NodeKey, node_id_of, verify_signature, write_private

__all__ = [
    "BINDING_OID",
    "NODE_URI",
    "ClientPem",
    "TlsFiles",
    "bound_node_id",
    "channel_credentials",
    "client_pem",
    "issue_certificate",
    "issue_to_folder",
    "server_credentials",
]

NODE_URI = "nvr:node:"
BINDING_OID = x509.ObjectIdentifier("2.25.207836312884361230176498223471264905173")
"""An OID below 2.25 (ITU-T X.667), which needs no registration."""

_STATEMENT = b"nvr certificate v1\0"
_VERSION = 1
_PUBLIC_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_BODY_BYTES = 1 + _PUBLIC_KEY_BYTES + _SIGNATURE_BYTES
_DER_HEADER = bytes((0x04, _BODY_BYTES))
# Peers pin the certificate, so it lives as long as the node; what ends its use is
# its removal from their lists.
_LIFETIME = dt.timedelta(days=20 * 365)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of one end. ``authorities``: whom to trust; on a server it makes TLS mutual."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None


def issue_certificate(node_key: NodeKey, *, name: str, hosts: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """A new certificate bound to the node, and its private key, in PEM. ``hosts``: names and addresses."""
    private = ec.generate_private_key(ec.SECP256R1())
    spki = _spki(private.public_key())
    body = bytes((_VERSION,)) + node_key.public_key + node_key.sign(_STATEMENT + spki)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(NODE_URI + node_key.id)]
    names += [_general_name(host) for host in hosts]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        # A peer's clock may be behind.
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.UnrecognizedExtension(BINDING_OID, _DER_HEADER + body), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem_key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), pem_key


def issue_to_folder(folder: Path, node_key: NodeKey, *, name: str, hosts: Sequence[str] = ()) -> TlsFiles:
    """The certificate in a node's data folder (``tls.pem``, ``tls.key``), issued the first time."""
    files = TlsFiles(certificate=folder / "tls.pem", key=folder / "tls.key")
    certificate_path, key_path = folder / "tls.pem", folder / "tls.key"
    if not (certificate_path.exists() and key_path.exists()):
        certificate, key = issue_certificate(node_key, name=name, hosts=hosts)
        # One without the other is a torn first start: neither was ever in use.
        certificate_path.unlink(missing_ok=True)
        key_path.unlink(missing_ok=True)
        write_private(key_path, key)
        write_private(certificate_path, certificate)
        certificate_path.chmod(0o644)
        sync_folder(folder)
    return files


def bound_node_id(pem: bytes) -> str | None:
    """Id of the node whose key vouches for a certificate; None when it claims no node.

    Raises :exc:`Unauthenticated` when it claims one without proof.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        claimed = _claimed_ids(certificate)
        body = _binding(certificate)
        spki = _spki(certificate.public_key())
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Unauthenticated("the peer's certificate cannot be read") from error
    if not claimed and body is None:
        return None
    if len(claimed) != 1 or body is None:
        raise Unauthenticated("the peer's certificate names a node, but no node key vouches for it")
    public_key, signature = body[1 : 1 + _PUBLIC_KEY_BYTES], body[1 + _PUBLIC_KEY_BYTES :]
    if node_id_of(public_key) != claimed[0] or not verify_signature(public_key, signature, _STATEMENT + spki):
        raise Unauthenticated(f"the peer's certificate names node {claimed[0]}, but another key signed it")
    return claimed[0]


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """For a server; with ``authorities`` every client must show a certificate that they issued."""
    if files.certificate is None or files.key is None:
        raise ConfigError("TLS on a server needs a certificate and its key")
    pair = (_read(files.key), _read(files.certificate))
    roots = None if files.authorities is None else _read(files.authorities)
    return grpc.ssl_server_credentials([pair], root_certificates=roots, require_client_auth=roots is not None)


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """For a client; without ``authorities`` those of the system, with certificate and key mutual."""
    certificate, key = _client_pair(files)
    return grpc.ssl_channel_credentials(
        root_certificates=None if files.authorities is None else _read(files.authorities),
        private_key=key,
        certificate_chain=certificate,
    )


class ClientPem(NamedTuple):
    """What a client's TLS is made of, in PEM: whom it trusts, and who it is."""

    authorities: bytes
    certificate: bytes | None
    key: bytes | None


def client_pem(files: TlsFiles) -> ClientPem:
    """As :func:`channel_credentials`, for the client of the core. Raises :exc:`ConfigError`."""
    certificate, key = _client_pair(files)
    authorities = files.authorities
    if authorities is None:
        known = ssl.get_default_verify_paths().cafile
        if known is None:
            raise ConfigError("this system has no list of authorities: name one for TLS to nodes below")
        authorities = Path(known)
    return ClientPem(_read(authorities), certificate, key)


def _client_pair(files: TlsFiles) -> tuple[bytes | None, bytes | None]:
    if (files.certificate is None) != (files.key is None):
        raise ConfigError("a client's certificate and its key go together")
    certificate = None if files.certificate is None else _read(files.certificate)
    return certificate, None if files.key is None else _read(files.key)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _spki(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("not an ECDSA certificate")
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _claimed_ids(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return [uri.removeprefix(NODE_URI) for uri in uris if uri.startswith(NODE_URI)]


def _binding(certificate: x509.Certificate) -> bytes | None:
    try:
        value = certificate.extensions.get_extension_for_oid(BINDING_OID).value
    except x509.ExtensionNotFound:
        return None
    if not isinstance(value, x509.UnrecognizedExtension):
        raise TypeError("unexpected type of the binding")
    header, body = value.value[: len(_DER_HEADER)], value.value[len(_DER_HEADER) :]
    if header != _DER_HEADER or len(body) != _BODY_BYTES or body[0] != _VERSION:
        raise Unauthenticated("the peer's certificate has a node binding of a form not known here")
    return body
