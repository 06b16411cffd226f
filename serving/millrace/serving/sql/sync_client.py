"""The synchronous face of SQL and union APIs: the same calls, each waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from millrace.serving.sql.builder import Select
from millrace.serving.sql.client import AsyncQuery, AsyncSql, AsyncUnion, Caller, Rows

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")


class Runner(Protocol):
    """Runs calls on a loop in another thread, and waits for them."""

    def run(self, call: Coroutine[Any, Any, T]) -> T: ...


@dataclass(frozen=True)
class Query(Select):
    """See `AsyncQuery`."""

    caller: Caller | None = field(default=None, repr=False)
    api: str = ""
    runner: Runner | None = field(default=None, repr=False)

    def answer(self) -> Rows:
        return self._run(self._query.answer())

    def rows(self) -> list[dict[str, Any]]:
        return self._run(self._query.rows())

    def page(self, size: int, after: str | None = None) -> Rows:
        return self._run(self._query.page(size, after))

    def pages(self, size: int) -> Iterator[Rows]:
        return self._each(lambda: self._query.pages(size))

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self._each(self._query.batches)

    @property
    def _query(self) -> AsyncQuery:
        return AsyncQuery(self.parts, self.caller, self.api)

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        assert self.runner is not None
        return self.runner.run(call)

    def _each(self, begin: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
        items = begin()

        async def following() -> tuple[T, ...]:
            try:
                return (await anext(items),)
            except StopAsyncIteration:
                return ()

        async def close() -> None:
            await items.aclose()  # type: ignore[attr-defined]  # an asynchronous generator

        try:
            while item := self._run(following()):
                yield item[0]
        finally:
            self._run(close())


class Sql:
    """See `AsyncSql`."""

    def __init__(self, api: AsyncSql, caller: Caller, name: str, runner: Runner) -> None:
        self._api, self._caller, self._name, self._runner = api, caller, name, runner

    @property
    def all(self) -> Query:
        return Query(caller=self._caller, api=self._name, runner=self._runner)

    def select(self, *items: Any) -> Query:
        return self.all.select(*items)

    def where(self, *conditions: Any) -> Query:
        return self.all.where(*conditions)

    def query(self, tree: Mapping[str, Any]) -> Rows:
        return self._runner.run(self._api.query(tree))

    def call(self, name: str, **parameters: Any) -> Rows:
        return self._runner.run(self._api.call(name, **parameters))


class Union:
    """See `AsyncUnion`."""

    def __init__(self, api: AsyncUnion, runner: Runner) -> None:
        self._api, self._runner = api, runner

    def __call__(self, **fields: Any) -> Any:
        return self._runner.run(self._api(**fields))
