"""Pages of the rows whose keys begin alike, from stores that keep keys in order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.connectors.readers import Form, OrderedReader
from millrace.connectors.wire.text import parser
from millrace.serving.kv.rows import StoredRows
from millrace.serving.refusals import Refused
from millrace.serving.sql.cursor import Cursor, open_, seal
from millrace.serving.sql.values import to_json

DEFAULT_ROWS = 100
_KEYS = frozenset({"prefix", "limit", "after"})


async def scan(
    reader: OrderedReader, form: Form, api: str, arguments: Mapping[str, Any], most: int, key: bytes
) -> StoredRows:
    """One page. `arguments`: `prefix` (a list of the first key columns' values), `limit`, `after` (a cursor).

    A page is of the version that is current then; the next one goes on behind the last key, in whatever version.
    """
    if unknown := set(arguments) - _KEYS:
        raise Refused(f"unknown arguments: {', '.join(sorted(map(str, unknown)))}")
    prefix = arguments.get("prefix")
    prefix = list(prefix) if isinstance(prefix, list | tuple) else [] if prefix is None else [prefix]
    if len(prefix) > len(form.key_columns):
        raise Refused(f"a prefix has at most the {len(form.key_columns)} values of a key")
    limit = arguments.get("limit") or min(DEFAULT_ROWS, most)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= most:
        raise Refused(f"expected a limit from 1 to {most}, got {str(limit)[:40]}")
    values = [_typed(form, place, value) for place, value in enumerate(prefix)]
    digest = hashlib.sha256(repr([to_json(value) for value in values]).encode()).hexdigest()[:24]
    after = None
    if arguments.get("after") is not None:
        cursor = open_(str(arguments["after"]), api, digest, key)
        places = enumerate(cursor.values)
        after = _whole([_typed(form, place, value) for place, value in places])
    rows = await reader.scan(values, limit + 1, after)
    given = list(rows[:limit])
    following = None
    if len(rows) > limit:
        last = tuple(to_json(given[-1][name]) for name in form.key_columns)
        following = seal(Cursor(form.version, last, 0), api, digest, key)
    return StoredRows(form, given, following)


def _typed(form: Form, place: int, value: Any) -> Any:
    type_ = next(field.column.type for field in form.fields if field.name == form.key_columns[place])
    return parser(type_)(value.encode()) if isinstance(value, str) else value


def _whole(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)
