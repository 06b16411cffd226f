"""Coroutines without tasks: one is driven by hand, and waits for nothing but futures of this loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from typing import Any


class HandRun(ABC):
    """Drives one coroutine: it runs until it waits for the store, whose future wakes it again."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine: Coroutine[Any, Any, Any] | None = coroutine

    @abstractmethod
    def finish(self, value: Any) -> None:
        """Take what the coroutine has given."""

    def fail(self, error: Exception | asyncio.CancelledError) -> None:
        """Take what the coroutine has raised: a defect, of which the loop is told, unless it was cancelled."""
        if not isinstance(error, asyncio.CancelledError):
            raise error

    def step(self, _done: asyncio.Future[Any] | None = None) -> None:
        """Go on until it waits again, or ends."""
        if self._coroutine is None:
            return
        try:
            waited = self._coroutine.send(None)
        except StopIteration as stop:
            self.finish(stop.value)
        except (Exception, asyncio.CancelledError) as error:
            self.fail(error)
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
