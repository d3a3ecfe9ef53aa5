import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from nvr.errors import AccessDenied, DamagedError
from nvr.security.confirm import Confirmation, check_confirmation, confirm
from nvr.security.node_key import NodeKey
from nvr.security.sealing import SealingKey, open_box, seal_box, sealing_key_of

SENDER, RECIPIENT, OTHER = (NodeKey(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2, 3))
CAMERA = "0192f0a0-0000-7000-8000-000000000001"


@given(st.binary(max_size=2000), st.text(max_size=80))
def test_a_box_opens_for_its_recipient_and_tells_its_sender(secret: bytes, bound_to: str) -> None:
    box = seal_box(SENDER, sealing_key_of(RECIPIENT), secret, bound_to=bound_to)
    assert open_box(RECIPIENT, box, bound_to=bound_to) == (SENDER.id, secret)


def test_a_box_shows_nothing_and_no_two_are_alike() -> None:
    boxes = [seal_box(SENDER, sealing_key_of(RECIPIENT), b"secret" * 9, bound_to=CAMERA) for _ in range(2)]
    assert boxes[0] != boxes[1]
    assert all(b"secret" not in box for box in boxes)


@pytest.mark.parametrize("key", [SENDER, OTHER])
def test_nobody_else_opens_it(key: NodeKey) -> None:
    box = seal_box(SENDER, sealing_key_of(RECIPIENT), b"secret", bound_to=CAMERA)
    with pytest.raises(DamagedError, match="another node"):
        open_box(key, box, bound_to=CAMERA)


def test_a_box_moved_to_another_camera_does_not_open() -> None:
    box = seal_box(SENDER, sealing_key_of(RECIPIENT), b"secret", bound_to=CAMERA)
    with pytest.raises(DamagedError):
        open_box(RECIPIENT, box, bound_to=CAMERA[:-1] + "2")


def test_an_altered_or_cut_box_does_not_open() -> None:
    box = seal_box(SENDER, sealing_key_of(RECIPIENT), b"secret", bound_to=CAMERA)
    for at in range(len(box)):
        with pytest.raises(DamagedError):
            open_box(RECIPIENT, box[:at] + bytes([box[at] ^ 1]) + box[at + 1 :], bound_to=CAMERA)
        with pytest.raises(DamagedError):
            open_box(RECIPIENT, box[:at], bound_to=CAMERA)


def test_who_carries_a_box_cannot_make_one_in_anothers_name() -> None:
    box = seal_box(OTHER, sealing_key_of(RECIPIENT), b"secret", bound_to=CAMERA)
    with pytest.raises(DamagedError):
        open_box(RECIPIENT, box[:1] + SENDER.public_key + box[33:], bound_to=CAMERA)


def test_nothing_is_sealed_to_a_key_that_its_node_did_not_sign() -> None:
    good, own = sealing_key_of(RECIPIENT), sealing_key_of(OTHER)
    swapped = SealingKey(good.node_key, own.public_key, own.signature)
    for key in (swapped, SealingKey(good.node_key, good.public_key, bytes(64))):
        with pytest.raises(AccessDenied, match="not signed"):
            seal_box(SENDER, key, b"secret", bound_to=CAMERA)
    assert good.verified_id() == RECIPIENT.id


def test_a_point_that_makes_the_secret_everybodys_is_refused() -> None:
    zero = bytes(32)
    signed = SealingKey(OTHER.public_key, zero, OTHER.sign(b"nvr sealing key v1\0" + zero))
    with pytest.raises(AccessDenied, match="none to which"):
        seal_box(SENDER, signed, b"secret", bound_to=CAMERA)


def test_a_confirmation_is_of_one_node_camera_and_epoch() -> None:
    word = confirm(SENDER, CAMERA, 7)
    check_confirmation(word, SENDER.id, CAMERA, 7)
    wrong = [
        (word, OTHER.id, CAMERA, 7),
        (word, SENDER.id, CAMERA, 8),
        (word, SENDER.id, CAMERA[:-1] + "2", 7),
        (Confirmation(OTHER.public_key, word.signature), OTHER.id, CAMERA, 7),
        (Confirmation(b"", b""), SENDER.id, CAMERA, 7),
    ]
    for each in wrong:
        with pytest.raises(AccessDenied):
            check_confirmation(*each)
