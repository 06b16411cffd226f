"""What a person sees while a run goes on: a live line on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from millrace.jobs.wording import finished_line, running_line

_LIVE_EVERY_S = 0.25
_PLAIN_EVERY_S = 5.0


class ProgressDisplay:
    """An observer of a run that prints to a console. Use as a context manager around the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._running: dict[str, float] = {}
        self._counts: dict[str, tuple[int, int, int | None]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._thread = threading.Thread(target=self._refresh, name="millrace-progress", daemon=True)

    def __enter__(self) -> ProgressDisplay:
        if self._live is not None:
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._live is not None:
            self._live.stop()

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
        self._print(finished_line(step, stats))

    def note(self, text: str) -> None:
        self._print(f"· {text}")

    def _print(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._started:7.1f} s  {line}", markup=False)

    def _refresh(self) -> None:
        every = _LIVE_EVERY_S if self._live is not None else _PLAIN_EVERY_S
        while not self._ended.wait(every):
            with self._lock:
                lines = [self._line(step, since) for step, since in self._running.items()]
            if self._live is not None:
                self._live.update(Text("\n".join(lines)))
            else:
                for line in lines:
                    self._print(line)

    def _line(self, step: str, since: float) -> str:
        return running_line(step, time.monotonic() - since, *self._counts.get(step, (0, 0, None)))
