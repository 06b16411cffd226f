"""One request of the HTTP interface: its statement, and what its URL, headers and form say about it."""

from __future__ import annotations

import base64
import contextlib
import email.message
import email.parser
import email.policy
import itertools
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from millrace.connectors.clickhouse.server.engine import EngineError, Scope
from millrace.connectors.clickhouse.server.statement import Kind, Statement, parse
from millrace.connectors.clickhouse.server.wire import choose_encoding

USER = "default"
_STATEMENT_BYTES = 1 << 18
_LONGEST_STATEMENT_BYTES = 64 << 20
_DEFAULT_SESSION_S = 60.0

#: Parameters of the interface that are no settings of the engine.
_RESERVED = frozenset(
    {"query", "database", "user", "password", "quota_key", "query_id", "default_format", "session_id"}
    | {"session_timeout", "session_check", "close_session", "wait_end_of_query", "buffer_size", "stacktrace"}
    | {"client_protocol_version", "role"}
)


@dataclass
class Request:
    """One request. `body` gives each piece once: the rest of the statement, and then the data of an INSERT."""

    path: str
    params: Mapping[str, str]
    headers: email.message.Message
    body: Iterator[bytes]
    fields: dict[str, str] = field(default_factory=dict)
    query_id: str = ""

    @classmethod
    def of(cls, target: str, headers: email.message.Message, body: Iterator[bytes]) -> Request:
        url = urlsplit(target)
        params = dict(parse_qsl(url.query, keep_blank_values=True))
        return cls(url.path or "/", params, headers, body, query_id=params.get("query_id") or str(uuid.uuid4()))

    @property
    def session_id(self) -> str:
        return self.params.get("session_id", "")

    @property
    def session_timeout_s(self) -> float:
        """Raises EngineError when it is not a number."""
        try:
            return float(self.params.get("session_timeout") or _DEFAULT_SESSION_S)
        except ValueError:
            raise EngineError.make(374, "INVALID_SESSION_TIMEOUT", "Invalid session timeout") from None

    @property
    def form(self) -> str:
        """The format of the output, where the statement names none."""
        return self.params.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"

    @property
    def encoding(self) -> str:
        """The encoding of the response; "" for none."""
        wanted = self.flag("enable_http_compression")
        return choose_encoding(self.headers.get("Accept-Encoding", "")) if wanted else ""

    def flag(self, name: str) -> bool:
        return self.params.get(name, "0").lower() in ("1", "true")

    def scope(self) -> Scope:
        """What surrounds the statement. Its log_comment, after what the client gives, tells it from all others."""
        both = {**self.params, **self.fields}
        settings = {k: v for k, v in both.items() if k not in _RESERVED and not k.startswith("param_")}
        if "compress" in settings or "decompress" in settings:
            text = "ClickHouse's own block compression (compress=1, decompress=1); use Content-Encoding"
            raise EngineError.make(48, "NOT_IMPLEMENTED", text)
        settings["log_comment"] = f"{settings.get('log_comment', '')} {uuid.uuid4()}".strip()
        params = {k.removeprefix("param_"): v for k, v in both.items() if k.startswith("param_")}
        return Scope(self.params.get("database") or self.headers.get("X-ClickHouse-Database") or "", settings, params)

    def statement(self) -> tuple[Statement, Iterator[bytes]] | None:
        """The statement of the parameter `query`, the form's field `query`, or the body; and the data behind it.

        None when there is none. Raises StatementError and EngineError for one that can't be run.
        """
        if self.headers.get_content_type() == "multipart/form-data":
            self.fields = _form(self.headers, self.body)
        text = self.fields.pop("query", None) or self.params.get("query", "")
        begun = _begin(text, self.body)
        if not begun.strip():
            return None
        statement = parse(begun.decode("latin-1"))
        if statement.kind is Kind.INSERT:
            return statement, itertools.chain([begun[statement.data_at :]], self.body)
        return parse(_read_whole(begun, self.body).decode("latin-1")), iter(())

    def credentials(self) -> tuple[str, str]:
        """User and password of ClickHouse's own headers, of Basic authentication, or of the URL."""
        user, password = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        if user or password:
            return user or USER, password or ""
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            with contextlib.suppress(ValueError):
                name, _, secret = base64.b64decode(given).decode().partition(":")
                return name or USER, secret
        return self.params.get("user") or USER, self.params.get("password", "")


def _begin(text: str, body: Iterator[bytes]) -> bytes:
    """The statement's first 256 KiB, or a little more: of the parameter `query`, and of the body behind it."""
    begun = text.encode() + (b"\n" if text else b"")
    for piece in body:
        begun += piece
        if len(begun) >= _STATEMENT_BYTES:
            break
    return begun


def _read_whole(begun: bytes, body: Iterator[bytes]) -> bytes:
    pieces, size = [begun], len(begun)
    for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > _LONGEST_STATEMENT_BYTES:
            raise EngineError.make(229, "QUERY_IS_TOO_LARGE", "The statement is longer than 64 MiB")
    return b"".join(pieces)


def _form(headers: email.message.Message, body: Iterator[bytes]) -> dict[str, str]:
    """The text fields of a multipart form."""
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + _read_whole(b"", body))
    fields = {}
    for part in form.iter_parts():
        if part.get_filename():
            raise EngineError.make(48, "NOT_IMPLEMENTED", "External data can't be sent to this local server")
        content = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        fields[str(name)] = content.decode() if isinstance(content, bytes) else ""
    return fields
