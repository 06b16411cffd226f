"""`scripts/servers`: real servers that stay, for somebody who wants to try everything without containers.

Each server has a keeper of its own (tests/servers/keeper.py), and in the folder

    NAME.json         its keeper's pid, its own pids, port and connections
    NAME.log          what the keeper and a failed start said
    connections.yaml  the connections of all that run, for MILLRACE_CONNECTIONS
    logs/access.log   20,000 lines for the specs that read logs
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.data import access_log
from millrace.spec.connection import parse_url
from tests.servers.keeper import ENDED, READY, Record, read
from tests.servers.offers import OFFERS
from tests.servers.process import ServerError, wait_until

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".cache/standing"
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 90.0
LOG_LINES = 20_000
_SHOWN_CHARACTERS = 4000
_USAGE = 2


def up(folder: Path, wanted: Mapping[str, int]) -> None:
    """Start what isn't running, side by side, and wait until it answers. Raises ServerError; what was started stays
    then, but for what failed."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        new = {name: port for name, port in wanted.items() if not _is_kept(folder, name)}
        keepers = {name: _spawn(folder, name, port) for name, port in new.items()}
        try:
            failed = [name for name, keeper in keepers.items() if not _comes_up(folder, name, keeper)]
        except BaseException:
            _end(folder, list(new))
            raise
        finally:
            _write_connections(folder)
        _write_logs(folder / "logs")
    for name in failed:
        print(f"servers: {name} did not start\n{_log_tail(folder, name)}", file=sys.stderr)
    if failed:
        raise ServerError(f"not started: {', '.join(failed)}")


def down(folder: Path, names: Sequence[str]) -> list[str]:
    """End those of the servers that run; their names."""
    if not folder.is_dir():
        return []
    with _locked(folder):
        running = [name for name in names if _is_kept(folder, name)]
        _end(folder, names)
        _write_connections(folder)
    return running


def status(folder: Path, names: Sequence[str]) -> list[dict[str, object]]:
    """What is known of each server: state, address, pids, and whether it answers now."""
    return [_state(folder, name) for name in names]


def _state(folder: Path, name: str) -> dict[str, object]:
    record = read(_record(folder, name))
    if record is None:
        return {"name": name, "state": "down", "address": None, "pids": [], "connections": {}}
    state = record.state if record.kept else ENDED
    if state == READY:
        state = "healthy" if _answers(name, record) else "does not answer"
    address = f"127.0.0.1:{record.port}" if record.port else None
    return {
        "name": name,
        "state": state,
        "address": address,
        "pids": list(record.pids) if record.kept else [],
        "connections": dict(record.connections),
    }


def _answers(name: str, record: Record) -> bool:
    connection, url = next(iter(record.connections.items()))
    try:
        return OFFERS[name].answers(parse_url(connection, url, str(FOLDER)))
    except Exception:  # each driver has errors of its own, and all of them mean the same here
        return False


def _spawn(folder: Path, name: str, port: int) -> subprocess.Popen[bytes]:
    record = _record(folder, name)
    record.unlink(missing_ok=True)
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.servers.keeper", name, str(port), str(record)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            start_new_session=True,  # it stays when this terminal goes
        )


def _comes_up(folder: Path, name: str, keeper: subprocess.Popen[bytes]) -> bool:
    def settled() -> bool:
        record = read(_record(folder, name))
        return keeper.poll() is not None or (record is not None and record.state == READY)

    wait_until(settled, f"{name} to start", START_TIMEOUT_S, lambda: _log_tail(folder, name), every_s=0.1)
    return keeper.poll() is None


def _end(folder: Path, names: Sequence[str]) -> None:
    """SIGTERM to the keepers, all at once; a keeper that takes too long is killed, and its server with it."""
    kept = {name: record for name in names if (record := read(_record(folder, name))) and record.kept}
    for record in kept.values():
        _signal(record, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for record in kept.values():
        while record.kept and time.monotonic() < deadline:
            time.sleep(0.05)
        _signal(record, signal.SIGKILL)
    for name in names:
        _record(folder, name).unlink(missing_ok=True)


def _signal(record: Record, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(record.keeper)
        try:
            if record.kept:  # asked while the handle holds the number
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def _write_connections(folder: Path) -> None:
    found = (read(_record(folder, name)) for name in OFFERS)
    ready = (record for record in found if record is not None and record.kept and record.state == READY)
    connections = {name: url for record in ready for name, url in record.connections.items()}
    draft = folder / "connections.new"
    draft.touch(mode=0o600)
    draft.write_text("# Written by scripts/servers\n" + yaml.safe_dump(connections, sort_keys=False))
    draft.replace(folder / "connections.yaml")


def _write_logs(folder: Path) -> None:
    log = folder / "access.log"
    if not log.exists():
        folder.mkdir(exist_ok=True)
        draft = folder / "access.new"
        access_log(draft, LOG_LINES, seed=1, bad=0.0001, hosts=500)
        draft.replace(log)


def _is_kept(folder: Path, name: str) -> bool:
    record = read(_record(folder, name))
    return record is not None and record.kept


def _record(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _log_tail(folder: Path, name: str) -> str:
    return (folder / f"{name}.log").read_text(errors="replace")[-_SHOWN_CHARACTERS:]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One `up` or `down` at a time."""
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def show(folder: Path, states: Sequence[Mapping[str, object]]) -> None:
    for state in states:
        pids = " ".join(map(str, state["pids"])) if isinstance(state["pids"], list) else ""
        print(f"{state['name']:<14} {state['state']:<16} {state['address'] or '':<22} {pids}".rstrip())
    if any(state["state"] == "healthy" for state in states):
        print(f"\nexport MILLRACE_CONNECTIONS={folder}/connections.yaml LOGS={folder}/logs")


def _wanted(word: str) -> tuple[str, int]:
    name, _, port = word.partition("=")
    if name not in OFFERS:
        raise argparse.ArgumentTypeError(f"there is no server {name!r}; there are {', '.join(OFFERS)}")
    if port and not (port.isdecimal() and 0 < int(port) < 65_536):
        raise argparse.ArgumentTypeError(f"{port!r} is no port")
    return name, int(port or 0)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/servers", description="Real servers on 127.0.0.1, without containers.")
    offers = "; ".join(f"{name}: {offer.says}" for name, offer in OFFERS.items())
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("servers", nargs="*", type=_wanted, metavar="NAME[=PORT]", help=f"by default all. {offers}")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where pids, logs and connections.yaml are kept")
    parser.add_argument("--json", action="store_true", help="print the status as JSON")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    given = arguments(words)
    folder = given.folder.resolve()
    wanted = dict(given.servers) or dict.fromkeys(OFFERS, 0)
    if given.command == "down":
        ended = down(folder, list(wanted))
        print(f"ended: {', '.join(ended)}" if ended else "none of them was running")
        return 0
    if given.command == "up":
        try:
            up(folder, wanted)
        except ServerError as error:
            print(f"servers: {error}", file=sys.stderr)
            return 1
    states = status(folder, list(wanted))
    if given.json:
        print(json.dumps(states))
    else:
        show(folder, states)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
