"""Answers in the fast lane, made without a task for each."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from millrace.serving.hand_run import HandRun
from millrace.serving.http.connection import Exchange


class Run(HandRun):
    """What the coroutine gives, an answer's bytes, goes to its exchange; without one it answers by itself."""

    __slots__ = ("_exchange",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any], exchange: Exchange | None = None) -> None:
        super().__init__(coroutine)
        self._exchange = exchange

    def finish(self, value: Any) -> None:
        if self._exchange is not None:
            self._exchange.finish(value)

    def fail(self, error: Exception | asyncio.CancelledError) -> None:
        super().fail(error)
        if self._exchange is not None:
            self._exchange.connection.abort()
