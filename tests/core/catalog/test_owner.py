"""Whether a process that owned a run is known to have ended."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from millrace.catalog.owner import Fate, Owner, fate, this_process

WAITS = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def of_child(child: subprocess.Popen[bytes]) -> Owner:
    stat = Path(f"/proc/{child.pid}/stat").read_text()
    return replace(this_process(), pid=child.pid, started=stat.rpartition(")")[2].split()[19])


def test_this_process_is_alive() -> None:
    assert this_process().pid == os.getpid()
    assert fate(this_process()) is Fate.ALIVE


def test_a_killed_process_has_ended_even_before_its_parent_noticed() -> None:
    with subprocess.Popen(WAITS, stdin=subprocess.PIPE) as child:
        owner = of_child(child)
        assert fate(owner) is Fate.ALIVE
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert fate(owner) is Fate.ENDED
    assert fate(owner) is Fate.ENDED


def test_another_process_with_the_same_pid_is_not_the_owner() -> None:
    assert fate(replace(this_process(), started="1")) is Fate.ENDED


def test_nothing_is_known_of_another_machine_or_another_boot() -> None:
    assert fate(replace(this_process(), machine="another-boot/pid:[1]")) is Fate.UNKNOWN
    assert fate(replace(this_process(), machine="")) is Fate.UNKNOWN
