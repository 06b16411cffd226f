"""Real destinations for alerts on free ports: a webhook that keeps what it is sent, and an SMTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.servers.process import free_port


@dataclass
class Webhook:
    """What was posted: paths, headers and JSON bodies, in their order.

    It answers `status`, or what `judge` makes of a body and its size in bytes.
    """

    status: int = 200
    judge: Callable[[Any, int], int] | None = None
    port: int = 0
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def webhook(port: int = 0) -> Iterator[Webhook]:
    """A webhook on this port, or on a free one."""
    kept = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.paths.append(self.path)
            kept.headers.append(dict(self.headers))
            kept.bodies.append(json.loads(body))
            self.send_response(kept.judge(kept.bodies[-1], len(body)) if kept.judge else kept.status)
            if kept.status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: a test looks at what was kept."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    kept.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class MailBox:
    """What an SMTP server took: for each mail its recipients and its parsed form."""

    port: int = 0
    recipients: list[list[str]] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """What aiosmtpd calls for each mail."""
        assert isinstance(envelope.content, bytes)
        self.recipients.append(list(envelope.rcpt_tos))
        mail: Any = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(mail)
        return "250 OK"


def _login(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"me", b"s@cret"), handled=False)


@contextmanager
def mail_box(tls: SSLContext | None = None) -> Iterator[MailBox]:
    """An SMTP server on a free port. With `tls` it offers STARTTLS, and asks for `me` and `s@cret`."""
    box = MailBox()
    login: dict[str, Any] = {"tls_context": tls, "require_starttls": True, "auth_required": True} if tls else {}
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), authenticator=_login, **login)
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()
