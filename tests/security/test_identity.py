from collections.abc import Iterable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nvr.errors import AccessDenied, ConfigError, Unauthenticated
from nvr.security.identity import Caller, KnownCallers, current_caller, identify
from nvr.security.node_key import NodeKey
from nvr.security.tls import (
    BINDING_OID,
    TlsFiles,
    bound_node_id,
    channel_credentials,
    issue_certificate,
    issue_to_folder,
    server_credentials,
)

Auth = dict[str, Iterable[bytes]]


def tls(pem: bytes | None = None, name: bytes = b"") -> Auth:
    found: Auth = {"transport_security_type": [b"ssl"]}
    if pem is not None:
        found |= {"x509_pem_cert": [pem], "x509_common_name": [name]}
    return found


@pytest.fixture
def key(tmp_path: Path) -> NodeKey:
    return NodeKey.load_or_create(tmp_path)


def altered(pem: bytes, *, keep_name: bool, keep_proof: bool) -> bytes:
    """The same names or proof on a certificate with another key."""
    old = x509.load_pem_x509_certificate(pem)
    private = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.subject)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc)
    )
    if keep_name:
        names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        builder = builder.add_extension(names, critical=False)
    if keep_proof:
        proof = old.extensions.get_extension_for_oid(BINDING_OID).value
        builder = builder.add_extension(proof, critical=False)
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("peer", "auth", "kind"),
    [
        ("unix:/run/nvr.sock", {}, "local"),
        ("unix:", {}, "local"),
        ("ipv4:127.0.0.1:5", {}, "local"),
        ("ipv4:127.8.0.1:5", {"transport_security_type": [b"insecure"]}, "local"),
        ("ipv6:%5B::1%5D:5", {}, "local"),
        ("ipv6:[::1]:5", {}, "local"),
        ("ipv6:[::ffff:127.0.0.1]:5", {}, "local"),
        ("ipv4:10.0.0.1:5", {}, "anonymous"),
        ("ipv6:[fe80::1%25eth0]:5", {}, "anonymous"),
        ("ipv4:127.0.0.1:5", {"transport_security_type": [b"ssl"]}, "anonymous"),
        ("", {}, "anonymous"),
        ("vsock:1:2", {}, "anonymous"),
    ],
)
async def test_without_credentials_the_address_decides(peer: str, auth: Auth, kind: str) -> None:
    assert (await identify(peer, auth)).kind == kind


async def test_a_bound_certificate_is_its_node(key: NodeKey) -> None:
    pem, _ = issue_certificate(key, name="station-1", hosts=["station-1.lan", "10.0.0.1"])
    assert bound_node_id(pem) == key.id
    caller = await identify("ipv4:10.0.0.1:5", tls(pem, b"station-1"))
    assert caller == Caller("node", key.id, "ipv4:10.0.0.1:5")


@pytest.mark.parametrize(("keep_name", "keep_proof"), [(True, False), (False, True), (True, True)])
async def test_a_node_is_not_believed_without_its_key(
    key: NodeKey, keep_name: bool, keep_proof: bool
) -> None:
    pem, _ = issue_certificate(key, name="station-1")
    forged = altered(pem, keep_name=keep_name, keep_proof=keep_proof)
    with pytest.raises(Unauthenticated):
        await identify("ipv4:10.0.0.1:5", tls(forged, b"station-1"))


async def test_another_certificate_is_its_common_name(key: NodeKey) -> None:
    pem, _ = issue_certificate(key, name="person")
    plain = altered(pem, keep_name=False, keep_proof=False)
    assert x509.load_pem_x509_certificate(plain).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    caller = await identify("ipv4:10.0.0.1:5", tls(plain, b"person"))
    assert (caller.kind, caller.name) == ("certificate", "person")


@pytest.mark.parametrize("pem", [b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAA==\n"])
async def test_an_unreadable_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(Unauthenticated):
        await identify("ipv4:10.0.0.1:5", tls(pem, b"x"))


class Tokens:
    async def holder(self, token: str) -> str:
        if token != "good":
            raise Unauthenticated("no such token")
        return "lan.nguyen"


async def test_tokens_are_taken_where_they_are_known_and_safe() -> None:
    far, near = "ipv4:10.0.0.1:5", "ipv4:127.0.0.1:5"
    assert await identify(far, tls(), "Bearer good", Tokens()) == Caller("token", "lan.nguyen", far)
    assert (await identify(near, {}, "bearer good", Tokens())).kind == "token"
    for peer, auth, text, verifier in (
        (far, {}, "Bearer good", Tokens()),
        (far, tls(), "Bearer bad", Tokens()),
        (far, tls(), "Bearer ", Tokens()),
        (far, tls(), "Basic eDp5", Tokens()),
        (near, {}, "Bearer good", None),
    ):
        with pytest.raises(Unauthenticated) as caught:
            await identify(peer, auth, text, verifier)
        assert "good" not in str(caught.value)


def test_only_known_callers_are_let_in() -> None:
    KnownCallers().authorize(Caller("local"), "m")
    KnownCallers().authorize(Caller("node", "ab"), "m")
    KnownCallers(allow_anonymous=True).authorize(Caller("anonymous"), "m")
    with pytest.raises(Unauthenticated, match="does not know you"):
        KnownCallers().authorize(Caller("anonymous"), "m")


def test_limits_count_anonymous_callers_by_host() -> None:
    assert Caller("anonymous", "", "ipv4:10.0.0.1:5").key == Caller("anonymous", "", "ipv4:10.0.0.1:9").key
    assert Caller("anonymous", "", "ipv4:10.0.0.1:5").key != Caller("anonymous", "", "ipv4:10.0.0.2:5").key
    assert Caller("node", "a").key != Caller("node", "b").key


def test_outside_a_call_nobody_calls() -> None:
    with pytest.raises(AccessDenied, match="interceptor"):
        current_caller()


def test_a_certificate_is_issued_once(tmp_path: Path, key: NodeKey) -> None:
    files = issue_to_folder(tmp_path, key, name="n")
    assert files.certificate is not None
    assert files.key is not None
    first = files.certificate.read_bytes()
    assert issue_to_folder(tmp_path, key, name="n") == files
    assert files.certificate.read_bytes() == first
    assert files.key.stat().st_mode & 0o777 == 0o600
    files.key.unlink()
    issue_to_folder(tmp_path, key, name="n")
    assert files.certificate.read_bytes() != first


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.pem"
    with pytest.raises(ConfigError, match=r"gone\.pem"):
        server_credentials(TlsFiles(gone, gone))
    with pytest.raises(ConfigError, match="needs a certificate"):
        server_credentials(TlsFiles())
    with pytest.raises(ConfigError, match="go together"):
        channel_credentials(TlsFiles(certificate=gone))
