"""The memory of this process's Spark: its JVM and its Python workers, watched while something runs (Linux: /proc)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_EVERY_S = 0.2


@dataclass
class Peak:
    """The largest resident sets seen, in MiB: of Spark's JVM, of all Python workers together, of this process."""

    driver_mib: float = 0.0
    workers_mib: float = 0.0
    process_mib: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)

    def watch(self, pid: int) -> None:
        while not self._ended.wait(_EVERY_S):
            sizes = _descendants(pid)
            self.process_mib = max(self.process_mib, _resident_mib(pid))
            self.driver_mib = max(self.driver_mib, sum(s for n, s in sizes if n == "java"))
            self.workers_mib = max(self.workers_mib, sum(s for n, s in sizes if n.startswith("python")))


@contextmanager
def watched_memory() -> Iterator[Peak]:
    """Watch the processes below this one while the block runs."""
    peak = Peak()
    thread = threading.Thread(target=peak.watch, args=(os.getpid(),), daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        peak._ended.set()
        thread.join()


def _descendants(pid: int) -> list[tuple[str, float]]:
    """(command, resident MiB) of every process below `pid`."""
    children: dict[int, list[int]] = {}
    about: dict[int, tuple[str, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)
            resident = _resident_mib(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
        command, parent = fields[0].split("(", 1)[1], int(fields[1].split()[1])
        children.setdefault(parent, []).append(int(entry.name))
        about[int(entry.name)] = (command, resident)
    found: list[int] = []
    waiting = list(children.get(pid, []))
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return [about[number] for number in found]


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
