"""SQL and union APIs as the library shows them. Where a call is answered, here or by a server, is the caller's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from millrace.serving.call import Answer, Call, Operation, Stream, Table
from millrace.serving.sql.builder import Select
from millrace.spec.types import Column

if TYPE_CHECKING:
    import pyarrow as pa


class Caller(Protocol):
    """Who takes calls: the APIs of this process, or a server's."""

    async def call(self, api: str, kind: str | None, call: Call) -> Answer:
        """Raises what the API raises."""


@dataclass(frozen=True)
class Rows:
    """An answer: rows as column → Python value. `next` is the cursor of the page behind it, if there is one.

    `origin` is where it is from: `store`, a cache's `l1` or `l2`, or `stale` while the store is away.
    """

    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]
    version: str
    next: str | None = None
    origin: str = "store"

    @classmethod
    def of(cls, answer: Answer) -> Rows:
        table: Table = answer.body
        columns = tuple(Column(name, type_) for name, type_ in zip(table.columns, table.types, strict=True))
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
        return cls(columns, rows, answer.version, table.cursor, str(answer.origin))


@dataclass(frozen=True)
class AsyncQuery(Select):
    """A query of one API under construction; nothing is asked before `rows`, `answer`, `page`, `pages` or `batches`."""

    caller: Caller | None = field(default=None, repr=False)
    api: str = ""

    async def answer(self) -> Rows:
        """The whole answer. Raises QueryError for what the API doesn't allow."""
        return await self._ask(self.tree())

    async def rows(self) -> list[dict[str, Any]]:
        """Its rows."""
        return (await self.answer()).rows

    async def page(self, size: int, after: str | None = None) -> Rows:
        """One page, in an order that is total; `after` is the cursor (`next`) of the page before."""
        return await self._ask(self.page_tree(size, after))

    async def pages(self, size: int) -> AsyncIterator[Rows]:
        """Page after page, all of one version. Raises CursorExpired when that version goes away meanwhile."""
        after: str | None = None
        while True:
            found = await self.page(size, after)
            yield found
            after = found.next
            if after is None:
                return

    async def batches(self) -> AsyncIterator[pa.RecordBatch]:
        """All rows as Arrow batches, as they come: memory doesn't grow with them. Close it to stop the store's work."""
        assert self.caller is not None
        answer = await self.caller.call(self.api, "sql", Call(Operation.STREAM, self.tree()))
        stream: Stream = answer.body
        try:
            async for batch in stream.batches:
                yield batch
        finally:
            close = getattr(stream.batches, "aclose", None)
            if close is not None:
                await close()

    async def _ask(self, tree: Any) -> Rows:
        assert self.caller is not None
        return Rows.of(await self.caller.call(self.api, "sql", Call(Operation.QUERY, tree)))


class AsyncSql:
    """One SQL API: the beginning of queries, and its named ones."""

    def __init__(self, caller: Caller, api: str) -> None:
        self._caller, self._api = caller, api

    @property
    def all(self) -> AsyncQuery:
        """A query of all columns and rows, to be narrowed."""
        return AsyncQuery(caller=self._caller, api=self._api)

    def select(self, *items: Any) -> AsyncQuery:
        return self.all.select(*items)

    def where(self, *conditions: Any) -> AsyncQuery:
        return self.all.where(*conditions)

    async def query(self, tree: Mapping[str, Any]) -> Rows:
        """The answer to a tree, as JSON over HTTP has it."""
        return Rows.of(await self._caller.call(self._api, "sql", Call(Operation.QUERY, tree)))

    async def call(self, name: str, **parameters: Any) -> Rows:
        """The answer of a named query."""
        arguments = {"query": name, "parameters": parameters}
        return Rows.of(await self._caller.call(self._api, "sql", Call(Operation.QUERY, arguments)))


class AsyncUnion:
    """One union API."""

    def __init__(self, caller: Caller, api: str) -> None:
        self._caller, self._api = caller, api

    async def __call__(self, **fields: Any) -> Any:
        """What its parts give for these fields: a `UnionAnswer`. Raises PartFailed for a required part."""
        return (await self._caller.call(self._api, "union", Call(Operation.UNION, fields))).body
