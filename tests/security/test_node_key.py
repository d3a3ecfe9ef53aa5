import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import DamagedError, StoreError
from nvr.security.node_key import NodeKey, verify_signature
from nvr.security.seal import is_sealed, seal, unseal


def test_a_key_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    key = NodeKey.load_or_create(tmp_path)
    path = tmp_path / "node.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert key.id == hashlib.sha256(key.public_key).hexdigest()
    assert NodeKey.load_or_create(tmp_path).id == NodeKey.load(tmp_path).id == key.id


def test_starting_twice_at_once_makes_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: NodeKey.load_or_create(tmp_path).id, range(16)))
    assert len(ids) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    NodeKey.load_or_create(tmp_path)
    (tmp_path / "node.key").chmod(mode)
    with pytest.raises(StoreError, match="chmod 600"):
        NodeKey.load_or_create(tmp_path)


def test_what_is_no_key_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for content in (b"", b"garbage", other):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(DamagedError):
            NodeKey.load_or_create(tmp_path)
        assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    NodeKey.load_or_create(elsewhere)
    (tmp_path / "node.key").symlink_to(elsewhere / "node.key")
    with pytest.raises(StoreError):
        NodeKey.load_or_create(tmp_path)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gone"):
        NodeKey.load_or_create(tmp_path / "gone")
    with pytest.raises(StoreError, match="gone") as caught:
        NodeKey.load(tmp_path / "gone")
    assert caught.value.errno == 2


def test_signatures(tmp_path: Path) -> None:
    key = NodeKey.load_or_create(tmp_path)
    signature = key.sign(b"statement")
    assert verify_signature(key.public_key, signature, b"statement")
    assert not verify_signature(key.public_key, signature, b"statemenT")
    assert not verify_signature(key.public_key, b"", b"statement")
    assert not verify_signature(b"short", signature, b"statement")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[NodeKey, NodeKey]:
    first, second = (NodeKey.load_or_create(tmp_path_factory.mktemp("node")) for _ in range(2))
    return first, second


@given(secret=st.text(), place=st.text())
def test_what_is_sealed_opens(keys: tuple[NodeKey, NodeKey], secret: str, place: str) -> None:
    sealed = seal(keys[0], secret, bound_to=place)
    assert is_sealed(sealed)
    assert unseal(keys[0], sealed, bound_to=place) == secret
    assert sealed != seal(keys[0], secret, bound_to=place)


@given(data=st.data(), secret=st.text(min_size=8))
def test_what_is_altered_does_not_open(
    keys: tuple[NodeKey, NodeKey], data: st.DataObject, secret: str
) -> None:
    sealed = seal(keys[0], secret, bound_to="camera-1")
    index = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.characters(codec="ascii").filter(lambda char: char != sealed[index]))
    # The last letter holds bits that base64 does not use.
    if index < len(sealed) - 3:
        with pytest.raises(DamagedError):
            unseal(keys[0], sealed[:index] + letter + sealed[index + 1 :], bound_to="camera-1")


def test_a_seal_opens_only_where_it_belongs(keys: tuple[NodeKey, NodeKey]) -> None:
    sealed = seal(keys[0], "hunter2", bound_to="camera-1")
    for key, place in ((keys[1], "camera-1"), (keys[0], "camera-2")):
        with pytest.raises(DamagedError) as caught:
            unseal(key, sealed, bound_to=place)
        assert "hunter2" not in str(caught.value)
    for bad in ("", "hunter2", "nvrseal1:", "nvrseal1:AAAA", sealed[:-8]):
        with pytest.raises(DamagedError):
            unseal(keys[0], bad, bound_to="camera-1")
