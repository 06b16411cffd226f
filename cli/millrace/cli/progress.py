"""What a person sees while a run goes on: a live line on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from millrace.jobs.watching import Watch

_LIVE_EVERY_S = 0.25
_PLAIN_EVERY_S = 5.0


class ProgressDisplay(Watch):
    """Prints to a console how far a run is."""

    def __init__(self, console: Console) -> None:
        super().__init__(_LIVE_EVERY_S if console.is_terminal else _PLAIN_EVERY_S)
        self._console = console
        self._started = time.monotonic()
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._live is not None:
            self._live.stop()

    def _tell(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._started:7.1f} s  {line}", markup=False)

    def _refresh(self, lines: Sequence[str]) -> None:
        if self._live is not None:
            self._live.update(Text("\n".join(lines)))
        else:
            for line in lines:
                self._tell(line)
