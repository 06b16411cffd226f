"""What a step says in its task's log: a line when it begins, how far it is now and then, and what it has counted."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from millrace.jobs.wording import finished_line, running_line

_EVERY_S = 10.0


class Lines:
    """An observer of a run that writes lines. Use as a context manager around the step."""

    def __init__(self, out: IO[str] = sys.stdout) -> None:
        self._out = out
        self._running: dict[str, float] = {}
        self._counts: dict[str, tuple[int, int, int | None]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="millrace-lines", daemon=True)

    def __enter__(self) -> Lines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def step_started(self, step: str) -> None:
        with self._lock:
            self._running[step] = time.monotonic()
        self._write(f"→ {step}")

    def step_progress(self, step: str, rows: int, size: int, expected: int | None) -> None:
        with self._lock:
            self._counts[step] = (rows, size, expected)

    def step_finished(self, step: str, stats: Mapping[str, Any]) -> None:
        with self._lock:
            self._running.pop(step, None)
            self._counts.pop(step, None)
        self._write(finished_line(step, stats))

    def note(self, text: str) -> None:
        self._write(f"· {text}")

    def _refresh(self) -> None:
        while not self._ended.wait(_EVERY_S):
            with self._lock:
                lines = [
                    running_line(step, time.monotonic() - since, *self._counts.get(step, (0, 0, None)))
                    for step, since in self._running.items()
                ]
            for line in lines:
                self._write(line)

    def _write(self, line: str) -> None:
        print(line, file=self._out, flush=True)
