"""Identifiers that are minted once."""

import os
import time
import uuid

__all__ = ["uuid7"]


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562, section 5.7), lower case: 48 bits of Unix milliseconds, 74 random bits.

    Python has one of its own from 3.14 on.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = int.from_bytes(milliseconds.to_bytes(6, "big") + os.urandom(10), "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))
