"""How far a run is: which steps go on, since when, with how many rows, told every now and then by a thread."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from millrace.jobs.wording import finished_line, running_line


class Watch(ABC):
    """An observer of a run, and the context manager around it: where its lines go is said by who inherits it.

    `_tell` and `_refresh` are called from the run's threads and from one of the watch's own.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._running: dict[str, float] = {}
        self._counts: dict[str, tuple[int, int, int | None]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="millrace-progress", daemon=True)

    @abstractmethod
    def _tell(self, line: str) -> None:
        """Something has happened."""

    @abstractmethod
    def _refresh(self, lines: Sequence[str]) -> None:
        """How far each step under way is, every `every_s`."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def step_started(self, step: str) -> None:
        with self._lock:
            self._running[step] = time.monotonic()

    def step_progress(self, step: str, rows: int, size: int, expected: int | None) -> None:
        with self._lock:
            self._counts[step] = (rows, size, expected)

    def step_finished(self, step: str, stats: Mapping[str, Any]) -> None:
        with self._lock:
            self._running.pop(step, None)
            self._counts.pop(step, None)
        self._tell(finished_line(step, stats))

    def note(self, text: str) -> None:
        self._tell(f"· {text}")

    def _go_on(self) -> None:
        while not self._ended.wait(self._every_s):
            with self._lock:
                lines = [
                    running_line(step, time.monotonic() - since, *self._counts.get(step, (0, 0, None)))
                    for step, since in self._running.items()
                ]
            self._refresh(lines)
