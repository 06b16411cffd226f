"""Processes that tests have started and that still run at the end: found by a mark in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from pathlib import Path

MARK = "MILLRACE_TEST_SESSION"
# Ends by itself when its parent does.
_OWN = "from multiprocessing."


def mark_session() -> None:
    """Let every process that this one starts from now on carry this session's mark."""
    os.environ[MARK] = uuid.uuid4().hex


def end_leftovers(grace_s: float = 60.0) -> list[str]:
    """Wait a moment for what is just ending, kill the rest, and give their command lines."""
    deadline = time.monotonic() + grace_s
    while (found := _marked()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return list(found.values())


def _marked() -> dict[int, str]:
    wanted = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if command and _OWN not in command:  # a zombie has no command line
                    found[int(folder.name)] = command
    return found
