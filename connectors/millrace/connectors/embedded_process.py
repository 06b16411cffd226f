"""The first moments of an embedded server's process, and how to tell it from another one that got the same pid.

Run as a script (`python embedded_process.py RECORD PORT COMMAND…`) this becomes the server: the process writes who it
is to RECORD and then replaces itself by COMMAND. So there is no moment at which a server runs that no record names,
even when its starter is killed. Only the standard library is imported here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_STATE, _START_TICKS = 0, 19  # fields 3 and 22 of proc_pid_stat(5), counted from behind the command's name


def identity(pid: int) -> str | None:
    """When the process `pid` was started, as text that no other process of that pid ever has; None when it is gone.

    A process that has ended and only waits for its parent (a zombie) is gone. Linux reads /proc; others ask ps.
    """
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat[stat.rindex(")") + 2 :].split()
        return None if fields[_STATE] in "ZX" else f"{boot}:{fields[_START_TICKS]}"
    asked = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, started = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def become(record: Path, port: int, command: list[str]) -> None:
    """Write the record of this process, whole or not at all, and turn into `command`. Never returns."""
    pid = os.getpid()
    draft = record.with_suffix(f".{pid}")
    draft.write_text(json.dumps({"pid": pid, "started": identity(pid), "port": port}))
    draft.replace(record)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"can't start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    become(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
