"""Runs planned queries in a store: answers, pages and streams of one SQL API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from millrace.connectors.readers import SqlReader, SqlTable
from millrace.errors import NotFound
from millrace.serving.sql import cursor as cursors
from millrace.serving.sql.compile import compile_query
from millrace.serving.sql.cursor import Cursor
from millrace.serving.sql.dialects import Statement, Table
from millrace.serving.sql.faults import CursorExpired, QueryError, TooManyRows
from millrace.serving.sql.named import NamedQuery, named_statement
from millrace.serving.sql.parse import parse
from millrace.serving.sql.plan import behind, plan
from millrace.serving.sql.repeated import Repeated, as_asked
from millrace.serving.sql.rules import SqlRules
from millrace.serving.sql.shape import Planned
from millrace.serving.sql.tree import Query
from millrace.serving.sql.values import to_json
from millrace.spec.types import Column, DataType

if TYPE_CHECKING:
    import pyarrow as pa

Rows: TypeAlias = list[tuple[Any, ...]]

#: The longest that a stream may take; `limits.timeout` is of answers.
STREAM_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Answer:
    """Rows as Python values in the columns' order. `next` is the cursor of the page behind this one, if there is one.

    `version` is of the asset that they are from; empty where the store has none.
    """

    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]
    version: str
    next: str | None = None

    def records(self) -> list[dict[str, Any]]:
        """Each row as column → value."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Batches:
    """A stream that has begun: its columns, its version, and its batches, one after the other. Close it in any case."""

    columns: tuple[Column, ...]
    version: str
    batches: AsyncIterator[pa.RecordBatch]

    async def aclose(self) -> None:
        """End it, and the statement in the store, wherever it is."""
        close = getattr(self.batches, "aclose", None)
        if close is not None:
            await close()


@dataclass(frozen=True)
class _Asked:
    """A statement for a store and what comes back."""

    statement: Statement
    columns: tuple[Column, ...]
    types: tuple[DataType, ...]
    repeated: Repeated | None = None


class SqlExecutor:
    """One SQL API over the reader of its store. Immutable; any number of calls at a time.

    Raises QueryError for what is asked wrongly, NotFound when nothing is published, TransientError and TargetError as
    the store's reader does.
    """

    def __init__(
        self,
        reader: SqlReader,
        asset: str,
        options: Mapping[str, Any],
        rules: SqlRules,
        queries: Mapping[str, NamedQuery],
        key: bytes,
    ) -> None:
        self.rules = rules
        self._reader, self._asset, self._options, self._queries, self._key = reader, asset, options, queries, key

    def restricted(self, columns: Sequence[str] | None, filter_: Any) -> SqlExecutor:
        """The same for one consumer; `filter_` is a condition as `where` has it, or None. See `SqlRules.restricted`.

        Named queries see the rows that the filter leaves, and are refused to who may not see all columns.
        """
        condition = None if filter_ is None else parse({"where": filter_}).where
        rules = self.rules.restricted(columns, condition)
        queries = self._queries if columns is None else {}
        return SqlExecutor(self._reader, self._asset, self._options, rules, queries, self._key)

    async def run(self, tree: Any) -> Answer:
        """The answer to a query's tree."""
        query = parse(tree)
        planned = plan(query, self.rules)
        if query.page is not None:
            return await self._page(query, planned)
        return await self._answer(lambda table: self._compiled(planned, table), query.limit)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        """The answer of a named query."""
        found = self._named(name)
        return await self._answer(lambda table: self._called(found, arguments, table, self.rules.rows + 1), None)

    async def stream(self, tree: Any) -> Batches:
        """All rows of a query, however many. Raises QueryError when the API allows no streams."""
        self._check_stream()
        planned = plan(parse(tree), self.rules, stream=True)
        return await self._streamed(lambda table: self._compiled(planned, table))

    async def stream_call(self, name: str, arguments: Mapping[str, Any]) -> Batches:
        """All rows of a named query."""
        self._check_stream()
        found = self._named(name)
        return await self._streamed(lambda table: self._called(found, arguments, table, None))

    async def version(self) -> str:
        """The version that answers now; empty where the store has none."""
        return (await self._reader.table(self._asset, self._options)).version

    async def _answer(self, compiled: Any, limit: int | None) -> Answer:
        table, asked, rows = await self._current(compiled)
        if limit is None and len(rows) > self.rules.rows:
            hint = "give a limit, take pages" + (", or stream the answer" if self.rules.stream else "")
            raise TooManyRows(f"the answer has more than {self.rules.rows} rows", hint=hint)
        width = len(asked.columns)
        return Answer(asked.columns, [row[:width] for row in rows], table.version)

    async def _current(self, compiled: Any) -> tuple[SqlTable, _Asked, Rows]:
        """Ask the current version; once more when it was retired since it was looked up."""
        for last in (False, True):
            table = await self._reader.table(self._asset, self._options)
            asked: _Asked = compiled(table)
            try:
                return table, asked, await self._ask(asked)
            except NotFound:
                if last:
                    raise
        raise AssertionError("unreachable")

    async def _ask(self, asked: _Asked) -> Rows:
        timeout_s = self.rules.timeout.total_seconds()
        statement = asked.statement
        found = await self._reader.query(statement.sql, statement.params, types=asked.types, timeout_s=timeout_s)
        return list(map(tuple, found.rows)) if asked.repeated is None else asked.repeated.rows(found.rows)

    async def _page(self, query: Query, planned: Planned) -> Answer:
        assert query.page is not None
        digest = cursors.digest(query, self.rules)
        if query.page.after is None:
            table, asked, rows = await self._current(lambda table: self._compiled(planned, table))
            return self._paged(query, planned, table, asked, rows, None, digest)
        start = cursors.open_(query.page.after, self.rules.api, digest, self._key)
        behind_ = behind(planned, start.values, start.skip)
        table = await self._reader.table(self._asset, self._options, start.version or None)
        if table.version != start.version:
            raise self._expired()
        asked = self._compiled(behind_, table)
        try:
            return self._paged(query, planned, table, asked, await self._ask(asked), start, digest)
        except NotFound as error:
            raise self._expired() from error

    def _paged(
        self,
        query: Query,
        planned: Planned,
        table: SqlTable,
        asked: _Asked,
        rows: Rows,
        start: Cursor | None,
        digest: str,
    ) -> Answer:
        assert query.page is not None
        width, size = len(asked.columns), query.page.size
        given, more = rows[:size], len(rows) > size
        after = None
        if more:
            places = [planned.shape.outputs.index(sort.output) for sort in planned.shape.order]
            values = _key(given[-1], places)
            ties = 0
            for row in reversed(given):
                if _key(row, places) != values:
                    break
                ties += 1
            if start is not None and ties == len(given) and values == start.values:
                ties += start.skip
            after = cursors.seal(Cursor(table.version, values, ties), self.rules.api, digest, self._key)
        return Answer(asked.columns, [row[:width] for row in given], table.version, after)

    async def _streamed(self, compiled: Any) -> Batches:
        """The first batch is awaited, so that what the store refuses is an error and no broken stream."""
        for last in (False, True):
            table = await self._reader.table(self._asset, self._options)
            asked: _Asked = compiled(table)
            sql, params = asked.statement.sql, asked.statement.params
            batches = self._reader.stream(sql, params, types=asked.types, timeout_s=STREAM_TIMEOUT_S)
            try:
                first = await anext(batches, None)
            except NotFound:
                if last:
                    raise
                continue
            return Batches(asked.columns, table.version, _named_batches(first, batches, asked.columns))
        raise AssertionError("unreachable")

    def _compiled(self, planned: Planned, table: SqlTable) -> _Asked:
        place, dialect = Table.of(table), self._reader.dialect
        asked, repeated = as_asked(planned, place, dialect)
        statement = compile_query(asked, place, dialect)
        columns = tuple(Column(output.name, output.type) for output in planned.outputs)
        return _Asked(statement, columns, tuple(output.type for output in asked.shape.outputs), repeated)

    def _called(self, query: NamedQuery, arguments: Mapping[str, Any], table: SqlTable, limit: int | None) -> _Asked:
        place = Table.of(table)
        statement = named_statement(query, arguments, place, self._reader.dialect, self.rules, limit)
        return _Asked(statement, query.columns, tuple(column.type for column in query.columns))

    def _named(self, name: str) -> NamedQuery:
        found = self._queries.get(name)
        if found is None:
            known = ", ".join(sorted(self._queries)) or "none"
            raise QueryError(f"unknown query '{name[:80]}'", ("query",), hint=f"queries of this API: {known}")
        return found

    def _check_stream(self) -> None:
        if not self.rules.stream:
            raise QueryError(f"{self.rules.api} gives no streams", hint="take pages")

    def _expired(self) -> CursorExpired:
        message = "the version that this cursor reads is gone"
        return CursorExpired(message, ("page", "after"), hint="begin with the first page")


def _key(row: Sequence[Any], places: Sequence[int]) -> tuple[Any, ...]:
    return tuple(to_json(row[place]) for place in places)


async def _named_batches(
    first: pa.RecordBatch | None, rest: AsyncIterator[pa.RecordBatch], columns: Sequence[Column]
) -> AsyncIterator[pa.RecordBatch]:
    names = [column.name for column in columns]
    try:
        if first is not None:
            yield first.select(list(range(len(names)))).rename_columns(names)
        async for batch in rest:
            yield batch.select(list(range(len(names)))).rename_columns(names)
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()
