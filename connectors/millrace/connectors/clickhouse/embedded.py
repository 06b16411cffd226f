"""The ClickHouse that millrace starts itself: chdb behind HTTP on 127.0.0.1, with its data on disk.

It has a password of its own, in a file that only its owner can read: SQL can read files (`file('…')`), and any user of
the machine can open a local port.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from millrace.connectors.embedded import EmbeddedServer
from millrace.spec.connection import Secret

NAME = "clickhouse"
_PROBE_TIMEOUT_S = 1.0


def server() -> EmbeddedServer:
    """How `millrace.connectors.embedded` starts it, once `password_of` has made its password."""

    def command(data: Path, port: int) -> Sequence[str]:
        module = "millrace.connectors.clickhouse.server"
        password = str(data.parent / "password")
        return [sys.executable, "-m", module, "--path", str(data), "--port", str(port), "--password-file", password]

    return EmbeddedServer(NAME, command, is_ready)


def password_of(home: Path) -> Secret:
    """The password of a home folder's server, made when there is none. Safe to call from several processes at once."""
    folder = home.absolute() / "embedded" / NAME
    file = folder / "password"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"password.{os.getpid()}.{secrets.token_hex(4)}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(secrets.token_urlsafe(24) + "\n")
        with contextlib.suppress(FileExistsError):  # another process was quicker: its password holds
            os.link(draft, file)
        draft.unlink()
    return Secret(file.read_text().strip())


def is_ready(port: int) -> bool:
    """Whether the server answers."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=_PROBE_TIMEOUT_S)
    with contextlib.closing(link), contextlib.suppress(OSError, http.client.HTTPException):
        link.request("GET", "/ping")
        return link.getresponse().status == 200
    return False
