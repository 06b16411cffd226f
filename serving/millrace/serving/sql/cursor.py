"""The cursor of a page: where the next one begins, signed, so that nobody can make or change one. Pure.

    base64url( HMAC-SHA256 of the rest, 16 bytes ‖ JSON [format, API, version, query's digest, values, skip] )

The digest is of the query without its page and of what the API allows its consumer: a cursor fits no other query, and a
consumer's grant that has changed makes its cursors void. `values` are those by which the page's last row is sorted, and
`skip` how many rows with just these values were already given.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import Any

from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.rules import SqlRules
from millrace.serving.sql.tree import Query

_FORMAT = 1
_MAC_BYTES = 16
_DIGEST_BYTES = 12
_PLACE = ("page", "after")


@dataclass(frozen=True)
class Cursor:
    version: str
    values: tuple[Any, ...]
    skip: int


def digest(query: Query, rules: SqlRules) -> str:
    """What a query asks for, whatever the page."""
    asked = replace(query, page=None)
    text = repr((asked, tuple(rules.columns.items()), rules.filter))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES].hex()


def seal(cursor: Cursor, api: str, query_digest: str, key: bytes) -> str:
    """The cursor as a text for URLs."""
    content = [_FORMAT, api, cursor.version, query_digest, list(cursor.values), cursor.skip]
    payload = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(_mac(payload, key) + payload).rstrip(b"=").decode()


def open_(text: str, api: str, query_digest: str, key: bytes) -> Cursor:
    """The cursor in a text. Raises QueryError for one that is not ours, is changed, or is another query's."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise QueryError("this is no cursor", _PLACE) from None
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(payload, key)):
        raise QueryError("this cursor was not made here, or was changed", _PLACE, hint="begin with the first page")
    format_, of_api, version, of_query, values, skip = json.loads(payload)
    if format_ != _FORMAT or of_api != api or of_query != query_digest:
        hint = "only 'page' may differ from the call that gave it; or begin with the first page"
        raise QueryError("this cursor is of another query", _PLACE, hint=hint)
    return Cursor(version, tuple(values), skip)


def _mac(payload: bytes, key: bytes) -> bytes:
    return hmac.new(key, payload, hashlib.sha256).digest()[:_MAC_BYTES]
