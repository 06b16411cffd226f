"""Statements that their callers have left, on their way out of a store: only closing the reader waits for that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


class Endings:
    """Used from one event loop. What goes wrong is logged: a statement also ends by its timeout."""

    def __init__(self, *errors: type[Exception]) -> None:
        self._errors = errors
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, ending: Coroutine[Any, Any, None], what: str) -> None:
        """Begin to end a statement; `what` says which one, in a log."""
        task = asyncio.get_running_loop().create_task(self._told(ending, what))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self) -> None:
        await asyncio.gather(*self._tasks)

    async def _told(self, ending: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await ending
        except self._errors as error:
            _log.warning("ending %s: %s", what, repr(error))
