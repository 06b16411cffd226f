"""A local Airflow as one embedded server of a home folder: started once, found again, stopped with all its parts."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.connectors import embedded
from millrace.connectors.embedded import EmbeddedServer
from millrace.dags.layout import spec_files
from millrace.dags.local.configuration import USER, LocalAirflow, passwords_file, text
from millrace.dags.local.supervisor import health
from millrace.dags.outline import Endpoint
from millrace.dags.outlines import Outlines
from millrace.errors import ConfigError, SpecError
from millrace.spec.connection import resolve
from millrace.spec.connector import connectors
from millrace.spec.settings import Settings

NAME = "airflow"
START_TIMEOUT_S = 240.0
_PARTS = ("metadatabase", "scheduler", "dag_processor")


@dataclass(frozen=True)
class Running:
    """A local Airflow that answers: its address, the login, and the AIRFLOW_HOME for Airflow's own command."""

    address: str
    user: str
    password: str
    home: Path
    log: Path


def up(
    settings: Settings,
    specs: Sequence[Path],
    *,
    config: Path | None = None,
    port: int = 0,
    parallelism: int = 4,
) -> Running:
    """Start an Airflow on these folders of specs, or find the one that runs already. Ready when this returns.

    It stays when the caller ends. Raises ConfigError for a folder that isn't there, TargetError with the last lines of
    the log when it can't be started.
    """
    folders = [folder.absolute() for folder in specs]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"the folder of specs {folder} is not there", hint="name a folder with spec files")
    place = Path.cwd()

    def command(home: Path, port: int) -> Sequence[str]:
        _prepare(home, LocalAirflow(home, port, folders, config.absolute() if config else None, parallelism))
        return [sys.executable, "-m", "millrace.dags.local.supervisor", str(home), str(place), str(port)]

    embedded.ensure(EmbeddedServer(NAME, command, ready, START_TIMEOUT_S), settings.home, port)
    found = running(settings)
    assert found is not None
    return found


def running(settings: Settings) -> Running | None:
    """The local Airflow of this home, if it runs."""
    status = next((s for s in embedded.status(settings.home) if s.name == NAME and s.pid is not None), None)
    if status is None:
        return None
    password = json.loads(passwords_file(status.data).read_text())[USER]
    return Running(f"http://127.0.0.1:{status.port}", USER, password, status.data, status.log)


def down(settings: Settings) -> bool:
    """Stop it with all its tasks; False when it wasn't running. What it knows stays for the next start."""
    return embedded.stop(NAME, settings.home)


def ready(port: int) -> bool:
    """Whether the API server, the scheduler and the DAG processor all work."""
    found = health(port)
    return bool(found) and all(found[part]["status"] == "healthy" for part in _PARTS)


def embed_what_is_not_declared(specs: Sequence[Path], settings: Settings) -> list[str]:
    """Let connections of stores that can be embedded be so, where nobody has declared them; their names.

    They are put into this process's environment, which a local Airflow inherits.
    """
    names = {target.connection for target in _targets(specs, settings) if target.connection}
    found = []
    for name in sorted(names):
        try:
            resolve(name, file=settings.connections_file)
        except ConfigError:
            os.environ[f"MILLRACE_CONNECTION_{name.upper()}"] = "embedded"
            found.append(name)
    return found


def _targets(specs: Sequence[Path], settings: Settings) -> Iterator[Endpoint]:
    outlines = Outlines(settings.home / "embedded" / NAME / "outlines")
    for path in spec_files(specs):
        with contextlib.suppress(SpecError):  # Airflow shows it as an import error
            yield from (t for t in outlines.of(path).targets if "embedded" in connectors()[t.connector].schemes)


def _prepare(home: Path, airflow: LocalAirflow) -> None:
    """Write `airflow.cfg`, and once the secrets that it holds; only this user may read them."""
    kept = home / "secrets.json"
    if not kept.exists():
        _write(kept, json.dumps({"secret": secrets.token_urlsafe(48), "password": secrets.token_urlsafe(12)}))
    known = json.loads(kept.read_text())
    _write(passwords_file(home), json.dumps({USER: known["password"]}))
    _write(home / "airflow.cfg", text(airflow, known["secret"]))


def _write(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")
