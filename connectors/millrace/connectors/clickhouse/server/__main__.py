"""`python -m millrace.connectors.clickhouse.server --path P --port N [--host 127.0.0.1] [--password-file F]`."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

from millrace.connectors.clickhouse.server.engine import Engine
from millrace.connectors.clickhouse.server.handler import Handler, Service
from millrace.connectors.clickhouse.server.sessions import Sessions

_STOP_GRACE_S = 3.0


class Server(ThreadingHTTPServer):
    """A thread for each client's connection."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that vanished is no news; anything else is a bug, whose trace goes to the log."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed on as it came


def serve(path: Path, host: str, port: int, password: str) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean stop, 1 when a statement had to be abandoned."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # in every thread from here on: this one waits for them
    engine = Engine(path)
    sessions = Sessions(engine)
    service = Service(sessions, engine.path, engine.version, engine.timezone, password)
    if ":" in host:
        Server.address_family = socket.AF_INET6
    with Server((host, port), partial(Handler, service)) as server:
        threading.Thread(target=server.serve_forever, name="accept", daemon=True).start()
        print(f"ClickHouse {engine.version} (chdb) on http://{host}:{server.server_port}, data in {path}", flush=True)
        signal.sigwait(ends)
        server.shutdown()
    if not engine.drain(_STOP_GRACE_S):
        return 1
    sessions.close()
    engine.close()
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="millrace.connectors.clickhouse.server", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder that holds the data; made when missing")
    parser.add_argument("--port", type=int, required=True, help="TCP port")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--password-file", type=Path, help="file with the password of the user `default`")
    given = parser.parse_args()
    password = given.password_file.read_text().strip() if given.password_file else ""
    try:
        code = serve(given.path, given.host, given.port, password)
    except OSError as error:
        sys.exit(f"can't serve {given.path} on {given.host}:{given.port}: {error}")
    sys.stdout.flush()
    os._exit(code)  # threads of idle clients and of the engine must not hold up the end


if __name__ == "__main__":
    main()
