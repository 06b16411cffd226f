"""The first moments of a step's process: it ends when the task that started it does. Then it becomes the command.

Run as a script, `python launch.py PARENT COMMAND…`; only the standard library is imported. On Linux the kernel sends
SIGTERM to the process when its parent ends, however that ends (prctl(2), PR_SET_PDEATHSIG; it survives execve).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the task that started this step has ended already")
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"can't start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
