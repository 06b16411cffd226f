"""Coroutines without tasks: one is driven by hand, and waits for nothing but futures of this loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from millrace.serving.http.connection import Exchange


class Run:
    """Drives one coroutine: it runs until it waits for the store, whose future wakes it again.

    What it gives, an answer's bytes, goes to its exchange; without one it gives nothing, and answers by itself.
    """

    __slots__ = ("_coroutine", "_exchange")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], exchange: Exchange | None = None) -> None:
        self._coroutine: Coroutine[Any, Any, Any] | None = coroutine
        self._exchange = exchange

    def step(self, _done: asyncio.Future[Any] | None = None) -> None:
        if self._coroutine is None:
            return
        try:
            waited = self._coroutine.send(None)
        except StopIteration as stop:
            if self._exchange is not None:
                self._exchange.finish(stop.value)
        except asyncio.CancelledError:
            if self._exchange is not None:
                self._exchange.connection.abort()
        else:
            if waited is None:
                asyncio.get_running_loop().call_soon(self.step)
            else:
                waited._asyncio_future_blocking = False
                waited.add_done_callback(self.step)

    def cancel(self) -> None:
        """The client has left: nobody waits for the answer. What the store still answers falls on deaf ears."""
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()
