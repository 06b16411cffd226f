"""What a step says in its task's log: a line when it begins, how far it is now and then, and what it has counted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO

from millrace.jobs.watching import Watch

_EVERY_S = 10.0


class Lines(Watch):
    """Writes how far a step is, line by line."""

    def __init__(self, out: IO[str] = sys.stdout) -> None:
        super().__init__(_EVERY_S)
        self._out = out

    def step_started(self, step: str) -> None:
        super().step_started(step)
        self._tell(f"→ {step}")

    def _tell(self, line: str) -> None:
        print(line, file=self._out, flush=True)

    def _refresh(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._tell(line)
