"""Answers of a KV API whose store is away or late: what is kept, although stale, then the default row of its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from millrace.connectors.base import Field
from millrace.connectors.readers import Form
from millrace.connectors.wire.text import parser, text_of
from millrace.errors import SpecError
from millrace.serving.caches import Cache
from millrace.serving.call import Origin
from millrace.serving.kv.rows import StoredRows
from millrace.serving.kv.source import row_form


class Fallback:
    """What one API falls back on. Raises SpecError for a default of columns that it doesn't have."""

    def __init__(
        self, api: str, asset: str, fields: Sequence[Field], default: Mapping[str, Any] | None, cache: Cache | None
    ) -> None:
        self._asset, self._fields, self._cache = asset, tuple(fields), cache
        self.default = None if default is None else default_row(api, fields, default)

    def rows(
        self, form: Form, stored_keys: Sequence[bytes], *, default: bool = True
    ) -> tuple[StoredRows, Origin] | None:
        """One row for each key, all kept ones of this form's version; None when there is none to fall back on."""
        entries = [self._kept(key) for key in stored_keys]
        if all(entry is not None for entry in entries):
            kept = [None if e is None or e.value is None else e.value.stored for e in entries]
            return StoredRows(form, kept), Origin.STALE
        if self.default is None or not default:
            return None
        plain = row_form(self._asset, form.version, self._fields, form.key_columns)
        rows = [
            self.default if entry is None else None if entry.value is None else form.decode(entry.value.stored)
            for entry in entries
        ]
        return StoredRows(plain, rows), Origin.DEFAULT

    def _kept(self, key: bytes) -> Any:
        """What is kept under a key, if it may still be given."""
        entry = None if self._cache is None else self._cache.local.entries.get(key)
        if entry is None or self._cache is None:
            return None
        return entry if monotonic() < entry.fresh_until + self._cache.policy.on_error_s else None


def default_row(api: str, fields: Sequence[Field], default: Mapping[str, Any]) -> dict[str, Any]:
    """The whole row of a default, with values of its columns' types. Raises SpecError."""
    row: dict[str, Any] = dict.fromkeys(field.name for field in fields)
    types = {field.name: field.column.type for field in fields}
    for name, value in default.items():
        if name not in types:
            raise SpecError(f"the default of {api} has a column '{name}', which its asset doesn't have")
        try:
            plain = value is None or types[name].nested
            row[name] = value if plain else parser(types[name])(text_of(types[name], value))
        except (ValueError, TypeError, AttributeError) as error:
            raise SpecError(f"the default of {api} has no {types[name]} in '{name}': {error}") from error
    return row
