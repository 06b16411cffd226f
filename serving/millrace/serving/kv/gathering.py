"""Gets by many tasks of the library: those that come in one turn of the loop are one question to the store.

A get is then a place in a list and a future: the store is asked, its breaker told and its answer read once for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from millrace.connectors.readers import Form, StoredReader
from millrace.errors import TransientError
from millrace.serving.hand_run import HandRun

_FEW = 16  # are asked for at once while the store has nothing to do: it works while the others come
_MOST = 512


class _Asked(NamedTuple):
    """Keys of one form, and who waits for the row under each."""

    form: Form
    keys: Sequence[Any]
    stored_keys: Sequence[bytes]
    waiting: Sequence[asyncio.Future[tuple[Form, Any]]]


class Gathering:
    """Rows of one `source`, one by one for those who ask. Belongs to the event loop in which it is first asked."""

    def __init__(self, source: StoredReader) -> None:
        self._source = source
        self._form: Form | None = None
        self._keys: list[Any] = []
        self._stored_keys: list[bytes] = []
        self._waiting: list[asyncio.Future[tuple[Form, Any]]] = []
        self._enough = _FEW
        self._in_flight = 0

    def fetch(self, form: Form, key: Any, stored_key: bytes) -> asyncio.Future[tuple[Form, Any]]:
        """As `StoredReader.fetch`, soon. Who is cancelled stops to wait; the question goes on for the others."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Form, Any]] = loop.create_future()
        waiting = self._waiting
        if form is not self._form:
            self._ask()
            waiting, self._form = self._waiting, form
        if not waiting:
            loop.call_soon(self._ask)
        waiting.append(future)
        self._keys.append(key)
        self._stored_keys.append(stored_key)
        if len(waiting) >= self._enough:
            self._ask()
        return future

    def _ask(self) -> None:
        if self._waiting and self._form is not None:
            asked = _Asked(self._form, self._keys, self._stored_keys, self._waiting)
            self._keys, self._stored_keys, self._waiting = [], [], []
            self._begin(asked)

    def _begin(self, asked: _Asked) -> None:
        self._in_flight += 1
        self._enough = _MOST
        _Question(self._answer(asked)).step()

    async def _answer(self, asked: _Asked) -> None:
        form, keys, stored_keys, waiting = asked
        rows: Sequence[Any]
        try:
            if len(keys) == 1:
                form, row = await self._source.fetch(form, keys[0], stored_keys[0])
                rows = (row,)
            else:
                form, rows = await self._source.fetch_all(form, keys, stored_keys)
        except Exception as error:
            if len(keys) == 1 or isinstance(error, TransientError | TimeoutError):
                _fail(waiting, error)
            else:  # it may be the fault of one
                for key, stored_key, future in zip(keys, stored_keys, waiting, strict=True):
                    self._begin(_Asked(form, (key,), (stored_key,), (future,)))
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
        else:
            for future, row in zip(waiting, rows, strict=True):
                if not future.done():
                    future.set_result((form, row))
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._enough = _FEW


class _Question(HandRun):
    """One question to the store, whose answer goes to those who wait for it."""

    __slots__ = ()

    def finish(self, value: Any) -> None:
        pass


def _fail(waiting: Sequence[asyncio.Future[tuple[Form, Any]]], error: Exception) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
