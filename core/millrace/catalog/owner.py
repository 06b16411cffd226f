"""Which process owns a run, and whether it is certain that this process has ended.

A pid means something only on the machine, since the boot and in the pid namespace where it was given, and only until
it is given again. So an owner carries the boot's id, the namespace and the process's start (Linux: proc(5)); where
these can't be had, the host's name stands for them.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


class Fate(Enum):
    ALIVE = "alive"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Owner:
    """A process. `machine` is where its pid has a meaning; `started` tells two holders of one pid apart."""

    host: str
    pid: int
    machine: str
    started: str


def this_process() -> Owner:
    pid = os.getpid()
    return Owner(socket.gethostname(), pid, _machine(), _state_and_start(pid)[1])


def fate(owner: Owner) -> Fate:
    """What is known from here about this process."""
    if not owner.machine or owner.machine != _machine():
        return Fate.UNKNOWN
    if _PROC.joinpath("self", "stat").exists():
        state, started = _state_and_start(owner.pid)
        return Fate.ENDED if state in {"", "Z", "X"} or started != owner.started else Fate.ALIVE
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return Fate.ENDED
    except PermissionError:
        return Fate.ALIVE
    return Fate.ALIVE


@cache
def _machine() -> str:
    try:
        boot = _PROC.joinpath("sys", "kernel", "random", "boot_id").read_text().strip()
        return f"{boot}/{os.readlink(_PROC / 'self' / 'ns' / 'pid')}"
    except OSError:
        return f"host:{socket.gethostname()}"


def _state_and_start(pid: int) -> tuple[str, str]:
    """The process's state letter and its start in clock ticks since boot; empty strings when there is none."""
    with suppress(OSError):
        # The command's name stands in parentheses and may hold anything, so count from the last one.
        after_name = _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
        return after_name[0], after_name[19]
    return "", ""
