"""Where a KV API gets rows from: readers that give stored bytes as they are, and one face for those that can't."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from millrace.connectors.base import Field
from millrace.connectors.readers import Form, KeyReader, StoredReader
from millrace.serving import tracing


def stored_reader(reader: KeyReader, asset: str, fields: Sequence[Field]) -> StoredReader:
    """The reader itself when it gives rows as they are stored; else one that takes the rows for what is stored."""
    if isinstance(getattr(type(reader), "form", None), property):
        return cast(StoredReader, reader)
    return RowReader(reader, asset, tuple(fields))


class TracedReader:
    """A `StoredReader` with a span around what it asks the store."""

    def __init__(self, reader: StoredReader, connector: str) -> None:
        self._reader = reader
        self._connector = connector

    @property
    def form(self) -> Form:
        return self._reader.form

    async def fetch(self, form: Form, key: Any, stored_key: bytes) -> tuple[Form, Any]:
        with tracing.span(f"{self._connector} get"):
            return await self._reader.fetch(form, key, stored_key)

    async def fetch_all(
        self, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes] = ()
    ) -> tuple[Form, Sequence[Any]]:
        with tracing.span(f"{self._connector} mget"):
            return await self._reader.fetch_all(form, keys, stored_keys)


class RowReader:
    """A `StoredReader` over any `KeyReader`: what is stored is the row itself."""

    def __init__(self, reader: KeyReader, asset: str, fields: tuple[Field, ...]) -> None:
        self._reader = reader
        self._asset = asset
        self._fields = fields
        self._form: Form | None = None

    @property
    def form(self) -> Form:
        version = self._reader.version
        if self._form is None or self._form.version != version:
            self._form = row_form(self._asset, version, self._fields, tuple(getattr(self._reader, "key_columns", ())))
        return self._form

    async def fetch(self, form: Form, key: Any, stored_key: bytes) -> tuple[Form, Any]:
        row = await self._reader.get(key)
        return self.form, row

    async def fetch_all(
        self, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes] = ()
    ) -> tuple[Form, Sequence[Any]]:
        rows = await self._reader.multi_get(keys)
        return self.form, rows


def row_form(asset: str, version: str, fields: Sequence[Field], key_columns: tuple[str, ...] = ()) -> Form:
    """The form of rows that are what they are: nothing is encoded."""
    prefix = f"{asset}:{version}:"

    def key(key: Any) -> bytes:
        parts = key if isinstance(key, list | tuple | Mapping) else (key,)
        return (prefix + json.dumps(parts, default=str, sort_keys=True, separators=(",", ":"))).encode()

    return Form(
        version=version,
        fields=tuple(fields),
        key_columns=key_columns,
        encoding="row",
        key=key,
        text_key=lambda text: key(text.decode()),
        decode=_same,
    )


def _same(row: Any) -> Any:
    return row
