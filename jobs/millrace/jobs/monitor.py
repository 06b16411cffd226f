"""Tells an observer how far the running steps are, twice a second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from millrace.jobs.gate import GateServer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

POLL_S = 0.5

ProgressOf = Callable[[str, int, int, int | None], None]  # step, rows, bytes, expected rows


class Monitor:
    """Polls the gate, and Spark itself where rows don't pass a Python task. A context manager around the steps."""

    def __init__(self, gate: GateServer, session: Callable[[], SparkSession | None], tell: ProgressOf) -> None:
        self._gate = gate
        self._session = session
        self._tell = tell
        self._running: dict[str, int | None] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="millrace-monitor", daemon=True)

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def started(self, step: str, expected_rows: int | None) -> None:
        with self._lock:
            self._running[step] = expected_rows

    def ended(self, step: str) -> None:
        with self._lock:
            self._running.pop(step, None)

    def _poll(self) -> None:
        while not self._ended.wait(POLL_S):
            with self._lock:
                running = dict(self._running)
            for step, expected in running.items():
                rows, size = self._count(step)
                if rows:
                    self._tell(step, rows, size, expected)

    def _count(self, step: str) -> tuple[int, int]:
        if step == "stage":
            count = self._gate.count("read")
            return (count.rows, count.size) if count.rows else self._written()
        count = self._gate.count(step)
        return count.rows, count.size

    def _written(self) -> tuple[int, int]:
        """Rows and bytes that Spark's running tasks have written, as their heartbeats tell."""
        session = self._session()
        if session is None:
            return 0, 0
        context: Any = session.sparkContext
        stages = context._jsc.sc().statusStore().activeStages()
        found = [stages.apply(number) for number in range(stages.size())]
        return sum(s.outputRecords() for s in found), sum(s.outputBytes() for s in found)
