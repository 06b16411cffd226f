"""Ids of runs and versions: ten characters that sort by time and read well in a key, a path or a table's name.

Eight characters are the milliseconds since 2025-01-01T00:00:00Z, two are random; the alphabet is Douglas Crockford's
base 32 in lower case (https://www.crockford.com/base32.html: no i, l, o, u). The catalog's primary keys settle a tie.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 10
SUFFIXES = 32**2
_TIME_LENGTH = 8
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


def new_id(now: datetime, suffix: int | None = None) -> str:
    """An id for this moment. `suffix` is in `range(SUFFIXES)`; random when it is not given.

    Raises ValueError for a time before 2025 or after October 2059, or a suffix out of its range.
    """
    chosen = secrets.randbelow(SUFFIXES) if suffix is None else suffix
    millis = (now - _EPOCH) // timedelta(milliseconds=1)
    if not 0 <= millis < 32**_TIME_LENGTH:
        raise ValueError(f"the clock says {now.isoformat()}: ids reach from 2025 to 2059")
    if not 0 <= chosen < SUFFIXES:
        raise ValueError(f"suffix {chosen} is not in 0…{SUFFIXES - 1}")
    return _base32(millis * SUFFIXES + chosen)


def _base32(number: int) -> str:
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
