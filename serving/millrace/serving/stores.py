"""Stores behind circuit breakers: what fails again and again is left alone for a while, and callers are told at once.

A breaker stands between the cache and the store, so that kept answers (stale ones too) are given while it is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

from millrace.connectors.readers import Form, OrderedReader, SqlReader, SqlResult, SqlTable, StoredReader
from millrace.errors import TransientError
from millrace.serving import tracing
from millrace.serving.guards.breakers import Breaker, BreakerState
from millrace.serving.metrics import Histogram, Metrics
from millrace.spec.types import DataType

T = TypeVar("T")

#: A call that was given up after so long says that its store is slow; one given up before says nothing.
SLOW_S = 1.0


class Breakers:
    """One breaker for each store of a process, by the name of its connection. Shared by all APIs on that store."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._breakers: dict[str, StoreBreaker] = {}

    def of(self, store: str) -> StoreBreaker:
        found = self._breakers.get(store)
        if found is None:
            timed = [self._metrics.histogram("store", store=store, outcome=how) for how in ("ok", "failed")]
            found = self._breakers[store] = StoreBreaker(Breaker(store), *timed)
            breaker = found.breaker
            self._metrics.gauge("breaker_open", lambda: float(breaker.state is not BreakerState.CLOSED), store=store)
            self._metrics.gauge("breaker_openings", lambda: float(breaker.opened), store=store)
        return found


class StoreBreaker:
    """Calls of one store, through its breaker; `answered` and `broken` are how long they took."""

    def __init__(self, breaker: Breaker, answered: Histogram, broken: Histogram) -> None:
        self.breaker = breaker
        self.answered, self.broken = answered, broken

    def enter(self) -> float:
        """Begin a call; the time of its beginning. Raises TransientError while the store is left alone."""
        now = monotonic()
        wait_s = self.breaker.admit(now)
        if wait_s:
            raise TransientError(
                f"the store '{self.breaker.name}' has failed too often, and is left alone for {wait_s:.1f} s more",
                hint="it is asked again by itself; see whether it is up and answers in time",
            )
        return now

    def failed(self, error: BaseException, started: float) -> None:
        """The call has ended with this error, which may be the store's fault or not."""
        now = monotonic()
        away = isinstance(error, TransientError | TimeoutError | ConnectionError)
        slow = isinstance(error, asyncio.CancelledError | GeneratorExit) and now - started >= SLOW_S
        if away or slow:
            self.breaker.tell(True, now)
            self.broken.observe(now - started)
        else:
            self.breaker.forget()

    async def call(self, work: Awaitable[T], started: float) -> T:
        """Wait for a call that `enter` has let begin."""
        try:
            found = await work
        except BaseException as error:
            self.failed(error, started)
            raise
        self.ended(started)
        return found

    def ended(self, started: float) -> None:
        """The call has ended well."""
        now = monotonic()
        self.breaker.tell(False, now)
        self.answered.observe(now - started)


class GuardedRows:
    """A `StoredReader` behind its store's breaker."""

    def __init__(self, reader: StoredReader, store: StoreBreaker) -> None:
        self._reader = reader
        self._store = store

    @property
    def form(self) -> Form:
        return self._reader.form

    async def fetch(self, form: Form, key: Any, stored_key: bytes) -> tuple[Form, Any]:
        store = self._store
        started = monotonic() if store.breaker.state is BreakerState.CLOSED else store.enter()
        try:  # as `StoreBreaker.call` does: this is the hot path, and has no coroutine to spare
            found = await self._reader.fetch(form, key, stored_key)
        except BaseException as error:
            store.failed(error, started)
            raise
        store.ended(started)
        return found

    async def fetch_all(
        self, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes] = ()
    ) -> tuple[Form, Sequence[Any]]:
        started = self._store.enter()
        return await self._store.call(self._reader.fetch_all(form, keys, stored_keys), started)


class GuardedOrder:
    """An `OrderedReader` behind its store's breaker. What it can do is what the reader can."""

    def __init__(self, reader: OrderedReader, store: StoreBreaker, connector: str) -> None:
        self._reader = reader
        self._store = store
        self._connector = connector

    @property
    def key_columns(self) -> tuple[str, ...]:
        return self._reader.key_columns

    async def floor(self, key: Any) -> Mapping[str, Any] | None:
        started = self._store.enter()
        with tracing.span(f"{self._connector} floor"):
            return await self._store.call(self._reader.floor(key), started)

    async def scan(self, prefix: Sequence[Any], limit: int, after: Any = None) -> Sequence[Mapping[str, Any]]:
        started = self._store.enter()
        with tracing.span(f"{self._connector} scan"):
            return await self._store.call(self._reader.scan(prefix, limit, after), started)


class GuardedSql:
    """A `SqlReader` behind its store's breaker."""

    def __init__(self, reader: SqlReader, store: StoreBreaker) -> None:
        self._reader = reader
        self._store = store
        self.dialect = reader.dialect

    async def open(self) -> None:
        await self._reader.open()

    async def close(self) -> None:
        await self._reader.close()

    async def table(self, asset: str, options: Mapping[str, Any], version: str | None = None) -> SqlTable:
        started = self._store.enter()
        return await self._store.call(self._reader.table(asset, options, version), started)

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType] = (),
        timeout_s: float | None = None,
    ) -> SqlResult:
        started = self._store.enter()
        with tracing.span(f"{self.dialect} query"):
            return await self._store.call(self._reader.query(sql, params, types=types, timeout_s=timeout_s), started)

    async def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType],
        timeout_s: float | None = None,
    ) -> AsyncIterator[Any]:
        started = self._store.enter()
        batches = self._reader.stream(sql, params, types=types, timeout_s=timeout_s)
        try:
            with tracing.pausing_span(f"{self.dialect} stream"):
                async for batch in batches:
                    yield batch
        except GeneratorExit:
            self._store.breaker.forget()  # the client has read enough: its store is not to blame
            raise
        except BaseException as error:
            self._store.failed(error, started)
            raise
        else:
            self._store.ended(started)
        finally:
            close = getattr(batches, "aclose", None)
            if close is not None:
                await close()
