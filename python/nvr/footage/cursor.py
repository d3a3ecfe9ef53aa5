"""Cursors of answers that come page by page: a place in an order, and no state of a node."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from nvr.errors import InvalidArgument

__all__ = ["bad_cursor", "decode_cursor", "encode_cursor"]


def encode_cursor(kind: str, values: Sequence[Any]) -> str:
    """Values that JSON has, as a text for URLs. ``kind`` keeps it from being taken for another's."""
    text = json.dumps([kind, *values], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(kind: str, text: str) -> list[Any]:
    """The values, of any type: the caller checks them. Integers have 64 bits, and texts are UTF-8.

    Raises :exc:`InvalidArgument`.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values: list[Any] = list(json.loads(raw, parse_int=_int64))
        # Halves of surrogate pairs can be written in JSON, and nowhere else.
        json.dumps(values, ensure_ascii=False).encode()
        if values[0] == kind:
            return values[1:]
    except (binascii.Error, ValueError, TypeError, IndexError, RecursionError):
        pass
    raise bad_cursor()


def _int64(digits: str) -> int:
    number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise ValueError("more than 64 bits")
    return number


def bad_cursor() -> InvalidArgument:
    """A cursor that is not from an answer to the question."""
    return InvalidArgument("cursor: not from an answer to this question; begin without one", field="cursor")
