"""ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http) as far as one local engine needs it."""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import select
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import IO, Any

from millrace.connectors.clickhouse.server.engine import EngineError, Output, Totals
from millrace.connectors.clickhouse.server.request import USER, Request
from millrace.connectors.clickhouse.server.sessions import Sessions
from millrace.connectors.clickhouse.server.statement import Kind, Statement, StatementError
from millrace.connectors.clickhouse.server.wire import (
    Encoder,
    content_type,
    error_text,
    http_status,
    late_error,
    read_body,
)

_FIRST_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_SPOOL_BYTES = 16 << 20
_IDLE_S = 3600
_OK = b"Ok.\n"


@dataclass(frozen=True)
class Service:
    """What every handler of a server shares. An empty password lets `default` in without one.

    `folder` is where bodies of inserts lie while they are taken in, without a name.
    """

    sessions: Sessions
    folder: str
    version: str
    timezone: str
    password: str


class Handler(BaseHTTPRequestHandler):
    """Handles one client's connection, request by request, in a thread of its own."""

    protocol_version = "HTTP/1.1"
    server_version = "millrace"
    disable_nagle_algorithm = True
    timeout = _IDLE_S
    wbufsize = _FIRST_BYTES

    def __init__(self, service: Service, *args: Any) -> None:
        self._service = service
        self._begun = False
        super().__init__(*args)

    def do_GET(self) -> None:
        self._handle(reads_only=True)

    def do_POST(self) -> None:
        self._handle(reads_only=False)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their URLs may hold data."""

    def _handle(self, *, reads_only: bool) -> None:
        self._begun = False
        body: Any = self.rfile
        request = Request.of(self.path, self.headers, read_body(body, self.headers))
        try:
            try:
                self._answer(request, reads_only=reads_only)
            except StatementError as error:
                raise EngineError.make(62, "SYNTAX_ERROR", str(error)) from None
        except EngineError as error:
            with contextlib.suppress(EngineError):
                for _ in request.body:  # a client reads an answer only when it has sent everything
                    pass
            self._fail(request, error)
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _answer(self, request: Request, *, reads_only: bool) -> None:
        if request.path in ("/ping", "/replicas_status"):
            return self._send(request, 200, _OK)
        if request.path != "/":
            return self._send(request, 404, f"There is no handle {request.path}\n".encode())
        self._authenticate(request)
        found = request.statement()
        if found is None and reads_only:
            return self._send(request, 200, _OK)
        if found is None:
            raise StatementError("Empty query")
        statement, data = found
        if reads_only and (statement.kind is not Kind.OUTPUT or statement.first == "KILL"):
            text = "Cannot execute query in readonly mode. GET implies readonly: use POST for modifying queries"
            raise EngineError.make(164, "READONLY", text)
        return self._run(request, statement, data)

    def _run(self, request: Request, statement: Statement, data: Iterator[bytes]) -> None:
        if statement.kind is not Kind.INSERT:
            return self._run_in(request, statement, None)
        with tempfile.TemporaryFile(dir=self._service.folder) as body:
            for piece in data:
                body.write(piece)
            return self._run_in(request, statement, body)

    def _run_in(self, request: Request, statement: Statement, body: IO[bytes] | None) -> None:
        scope, sessions, session_id = request.scope(), self._service.sessions, request.session_id
        check, timeout_s = request.flag("session_check"), request.session_timeout_s
        with sessions.connection(scope, session_id, timeout_s=timeout_s, check=check) as connection:
            if body is not None:
                self._send(request, 200, b"", connection.insert(statement, body))
            elif statement.kind is Kind.OUTPUT:
                tag = scope.settings["log_comment"]
                with contextlib.closing(connection.output(statement, request.form, tag)) as output:
                    self._send_output(request, output)
            else:
                rows, totals = connection.command(statement.head, request.form)
                sessions.remember(session_id, statement.first, scope)
                self._send(request, 200, rows, totals, request.form)
        if request.flag("close_session"):
            sessions.close(session_id)

    def _send_output(self, request: Request, output: Output) -> None:
        """Send what a statement gives: at once when it is short or has to be waited for, else as it comes."""
        wait = request.flag("wait_end_of_query")
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as begun:
            size, totals = 0, None
            while totals is None and (wait or size < _FIRST_BYTES):
                piece = self._piece(output)
                size += begun.write(piece)
                totals = None if piece else output.totals()
            begun.seek(0)
            if totals is not None and size < _FIRST_BYTES:
                self._send(request, 200, begun.read(), totals, output.format)
            else:
                self._send_stream(request, begun, output, totals)

    def _send_stream(self, request: Request, begun: IO[bytes], output: Output, totals: Totals | None) -> None:
        """Send what has been read already, and then, unless its totals are known, the rest as it comes."""
        tag, encoder = secrets.token_hex(8), Encoder(request.encoding)
        self._head(request, 200, output.format, totals)
        self.send_header("X-ClickHouse-Exception-Tag", tag)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return
        while piece := begun.read(_PIECE_BYTES):
            self._chunk(encoder.add(piece))
        if totals is None:
            while piece := self._piece(output):
                self._chunk(encoder.add(piece))
            try:
                output.totals()
            except EngineError as error:
                self._chunk(encoder.add(late_error(error, self._service.version, tag)))
                self.close_connection = True  # without the last chunk: no client can take this for the whole
                return
        self._chunk(encoder.end())
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _piece(self, output: Output) -> bytes:
        """What the statement gives next, b"" at its end. Raises ConnectionError when the client has hung up."""
        poll = select.poll()
        poll.register(output.descriptor, select.POLLIN | select.POLLHUP)
        poll.register(self.connection, select.POLLIN | select.POLLHUP)
        while True:
            ready = dict(poll.poll())
            if output.descriptor in ready:
                return os.read(output.descriptor, _PIECE_BYTES)
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionResetError("the client has hung up")
            poll.unregister(self.connection)  # its next request is there already: this one goes on

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()

    def _fail(self, request: Request, error: EngineError) -> None:
        if self._begun:
            self.close_connection = True
            return
        status = http_status(error.code)
        extra = {"X-ClickHouse-Exception-Code": str(error.code)}
        if status == 401:
            extra["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        self._send(request, status, error_text(error, self._service.version), extra=extra)

    def _send(
        self,
        request: Request,
        status: int,
        content: bytes,
        totals: Totals | None = None,
        form: str = "",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        encoder = Encoder(request.encoding if content and status == 200 else "")
        content = encoder.add(content) + encoder.end()
        self._head(request, status, form, totals, encoded=bool(encoder.name))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.wfile.flush()

    def _head(self, request: Request, status: int, form: str, totals: Totals | None, *, encoded: bool = True) -> None:
        self._begun = True
        self.send_response(status)
        self.send_header("Content-Type", content_type(form))
        self.send_header("X-ClickHouse-Server-Display-Name", "millrace")
        self.send_header("X-ClickHouse-Query-Id", request.query_id)
        self.send_header("X-ClickHouse-Timezone", self._service.timezone)
        if form:
            self.send_header("X-ClickHouse-Format", form)
        if encoded and request.encoding:
            self.send_header("Content-Encoding", request.encoding)
        if totals is not None:
            self.send_header("X-ClickHouse-Summary", _summary(totals))

    def _authenticate(self, request: Request) -> None:
        user, password = request.credentials()
        right = hmac.compare_digest(password.encode(), self._service.password.encode())
        if user != USER or not right:
            text = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
            raise EngineError.make(516, "AUTHENTICATION_FAILED", text)


def _summary(totals: Totals) -> str:
    figures = {
        "read_rows": totals.read_rows,
        "read_bytes": totals.read_bytes,
        "written_rows": totals.written_rows,
        "written_bytes": totals.written_bytes,
        "total_rows_to_read": totals.read_rows,
        "result_rows": totals.written_rows,
        "result_bytes": totals.written_bytes,
        "elapsed_ns": int(totals.elapsed_s * 1e9),
    }
    return json.dumps({name: str(figure) for name, figure in figures.items()}, separators=(",", ":"))
