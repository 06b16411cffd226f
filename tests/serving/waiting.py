"""Waiting for what a server will come to."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_S = 20.0


def until(holds: Callable[[], bool]) -> None:
    """Ask until it holds; fails when it never does."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)
