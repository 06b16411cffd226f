"""One base-128 varint (https://protobuf.dev/programming-guides/encoding/#varints); of whole columns: `varints`."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """A varint of a number that is not negative."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
