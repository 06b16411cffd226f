"""TLS and passwords before a real Druid, by a proxy: Druid's own extension for them, druid-basic-security, is not among
the packages that can be had. As that one does, it answers 401 to whoever doesn't log in, but for `/status/health`.

    with LockedDruid(druid, "secret") as locked:
        parse_url("druid", locked.url, "the test")

Its first port is a router that passes on to the broker and to the coordinator, its second one a coordinator that does
not lead, and sends on to the first.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

import trustme

from tests.servers.druid import Druid
from tests.servers.process import HOST

USER = "loader"
_PASSED_ON = ("Content-Type", "Accept")
_ANSWER_S = 120.0


class LockedDruid:
    """The proxy, in threads of this process; the Druid behind it is somebody else's to start and to stop."""

    def __init__(self, druid: Druid, password: str) -> None:
        self._druid, self._password = druid, password
        self._folder = TemporaryDirectory(prefix="druid-locked-")
        self.ca = Path(self._folder.name) / "ca.pem"

    @property
    def url(self) -> str:
        """With the right password."""
        login, (leader, standby) = f"{USER}:{quote(self._password, safe='')}", self._ports
        return (
            f"druids://{login}@{HOST}:{leader}/?coordinator={HOST}:{standby}&ca={self.ca}"
            f"&staging=file://{self._druid.staging}"
        )

    def __enter__(self) -> Self:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST).configure_cert(context)
        self._doors = [self._open(context, name) for name in ("leader", "standby")]
        self._ports = [door.server_address[1] for door in self._doors]
        for door in self._doors:
            door.leader = self._ports[0]
            threading.Thread(target=door.serve_forever, name="druid-locked", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for door in self._doors:
            door.shutdown()
            door.server_close()
        self._folder.cleanup()

    def _open(self, context: ssl.SSLContext, name: str) -> _Door:
        login = base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        door = _Door((HOST, 0), _Visit)
        door.login, door.druid, door.sends_on = f"Basic {login}", self._druid, name == "standby"
        door.socket = context.wrap_socket(door.socket, server_side=True, do_handshake_on_connect=False)
        return door


class _Door(ThreadingHTTPServer):
    daemon_threads = True
    login: str
    druid: Druid
    leader: int
    sends_on: bool


class _Visit(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Door
    _for_coordinator: ClassVar[tuple[str, ...]] = ("/druid/coordinator/", "/druid/indexer/")

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/status/health" and self.headers.get("Authorization") != self.server.login:
            self._answer(401, b"<html>401 Unauthorized</html>", {"WWW-Authenticate": 'Basic realm="druid"'})
        elif self.server.sends_on:
            self._answer(307, b"", {"Location": f"https://{HOST}:{self.server.leader}{self.path}"})
        else:
            self._pass_on(body)

    do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing of it on stderr."""

    def _pass_on(self, body: bytes) -> None:
        druid = self.server.druid
        port = druid.coordinator.port if self.path.startswith(self._for_coordinator) else druid.broker.port
        behind = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_S)
        try:
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            self._answer(answer.status, answer.read(), {"Content-Type": answer.headers["Content-Type"] or "text/plain"})
        finally:
            behind.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
