"""The process behind one server of `scripts/servers`: it starts the server, notes it, and ends it on SIGTERM.

    python -m tests.servers.keeper NAME PORT RECORD

The kernel ends the server when this process is killed, so no server outlives its keeper.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from millrace.connectors.embedded_process import identity
from tests.servers.offers import OFFERS
from tests.servers.process import ServerError

STARTING, READY, ENDED = "starting", "ready", "ended"
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Record:
    """What is known of one kept server. `keeper` with `started` tells its keeper from any other process."""

    keeper: int
    started: str | None
    state: str = STARTING
    port: int = 0
    pids: Sequence[int] = ()
    connections: Mapping[str, str] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the keeper is there still."""
        return self.started is not None and identity(self.keeper) == self.started

    def write(self, path: Path) -> None:
        """Whole or not at all, and only for its owner: URLs hold passwords."""
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.replace(path)


def read(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def keep(name: str, port: int, path: Path) -> int:
    """Hold the server until SIGTERM; the exit code. A server that ends by itself is noted, and its keeper ends too."""
    record = Record(os.getpid(), identity(os.getpid()))
    record.write(path)
    with OFFERS[name].open(port) as running:
        pids = [process.pid for process in running.processes]
        record = replace(
            record, state=READY, port=running.processes[0].port, pids=pids, connections=running.connections
        )
        record.write(path)
        while all(process.running for process in running.processes):
            time.sleep(_LOOK_EVERY_S)
        for process in running.processes:
            print(process.log_tail(), file=sys.stderr)
    replace(record, state=ENDED).write(path)
    return 1


def main(name: str, port: str, record: str) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        return keep(name, int(port), Path(record))
    except SystemExit:
        Path(record).unlink(missing_ok=True)
        raise
    except ServerError as error:
        print(error, file=sys.stderr)
        Path(record).unlink(missing_ok=True)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
