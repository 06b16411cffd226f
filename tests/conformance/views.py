"""What an application sees of an asset, whatever its store answers: lookups by key, or SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, Protocol

from millrace.connectors.readers import KeyReader, SqlReader
from millrace.errors import NotFound
from millrace.spec.connection import Connection
from millrace.spec.connector import TargetRole, implementation
from millrace.spec.types import Column

Row = Mapping[str, Any]
_TIMEOUT_S = 60.0
_ATTEMPTS = 10


class View(Protocol):
    """An asset as it is served. Open and used in one event loop."""

    async def open(self) -> None: ...

    async def rows(self, ids: Sequence[int], columns: Sequence[Column]) -> list[Row | None]:
        """The rows with these ids, in order, all of one version. Raises what readers raise."""

    async def close(self) -> None: ...


def view(role: TargetRole, connection: Connection, asset: str, options: Mapping[str, Any]) -> View:
    reader = implementation(role.reader, "the reader")
    if "multi_get" in role.lookups:
        patience = {"timeout_s": _TIMEOUT_S} if "timeout_s" in signature(reader).parameters else {}
        return _ByKey(reader(connection, asset, **patience))
    return _BySql(reader(connection), asset, options)


class _ByKey:
    def __init__(self, reader: KeyReader) -> None:
        self._reader = reader

    async def open(self) -> None:
        await self._reader.open()

    async def rows(self, ids: Sequence[int], columns: Sequence[Column]) -> list[Row | None]:
        return list(await self._reader.multi_get(ids))

    async def close(self) -> None:
        await self._reader.close()


class _BySql:
    def __init__(self, reader: SqlReader, asset: str, options: Mapping[str, Any]) -> None:
        self._reader, self._asset, self._options = reader, asset, options

    async def open(self) -> None:
        await self._reader.open()

    async def rows(self, ids: Sequence[int], columns: Sequence[Column]) -> list[Row | None]:
        for attempt in range(_ATTEMPTS):  # as the serving side does when a version was retired under a query
            try:
                return await self._ask(ids, columns)
            except NotFound:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._reader.close()

    async def _ask(self, ids: Sequence[int], columns: Sequence[Column]) -> list[Row | None]:
        table = await self._reader.table(self._asset, self._options)
        there = dict(table.renamed)
        names = ", ".join(_quoted(there.get(column.name, column.name)) for column in columns)
        wanted = f"{_quoted(there.get('id', 'id'))} IN ({', '.join(map(str, ids))})"
        where = f"{wanted} AND ({table.where})" if table.where else wanted
        sql = f"SELECT {names} FROM {'.'.join(map(_quoted, table.parts))} WHERE {where}"
        types = [column.type for column in columns]
        found = await self._reader.query(sql, types=types, timeout_s=_TIMEOUT_S)
        rows = [dict(zip([column.name for column in columns], row, strict=True)) for row in found.rows]
        by_id = {row["id"]: row for row in rows}
        assert len(by_id) == len(rows), "several rows have one id"
        return [by_id.get(id_) for id_ in ids]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
