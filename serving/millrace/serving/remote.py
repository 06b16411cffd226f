"""The client's APIs through a server, over HTTP: rows travel as Arrow, so that every type arrives as it is."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from millrace.errors import ConfigError, MillraceError, NotAvailable, NotFound, TransientError
from millrace.serving.call import Answer, Call, Operation, Origin, Stream, Table
from millrace.serving.kv.client import AsyncKv, Page, Row, told
from millrace.serving.plans import KvPlan
from millrace.serving.refusals import DeadlineExceeded, Forbidden, Limited, Refused, TooLarge, Unauthenticated
from millrace.serving.tls import trust
from millrace.serving.union.api import UnionAnswer

if TYPE_CHECKING:
    import httpx

_ARROW = {"accept": "application/vnd.apache.arrow.stream"}
_ERRORS = {401: Unauthenticated, 403: Forbidden, 413: TooLarge, 429: Limited}
_UNION = ("parts", "missing", "versions", "origins")
_TRIES = 2  # a pooled connection may have been closed by the server just now


class RemoteApis:
    """The APIs of one server. Its connections are pooled, and made anew when the server restarts."""

    def __init__(self, url: str, token: str, timeout_s: float, verified: ssl.SSLContext) -> None:
        import httpx

        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"'{url}' is no address of a server", hint="write it like http://serving:8080")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout_s, limits=limits, verify=verified)

    async def kv(self, name: str) -> AsyncKv:
        about = (await self.request("GET", f"/v1/kv/{quote(name, safe='')}")).json()
        return RemoteKv(self, name, str(about["version"]))

    async def find(self, name: str, kind: str | None) -> None:
        """A server is asked when there is something to ask."""

    async def call(self, api: str, kind: str | None, call: Call) -> Answer:
        """Call a SQL or union API. Raises the error that the server's problem stands for."""
        path = f"/v1/{kind}/{quote(api, safe='')}"
        match call.operation:
            case Operation.QUERY:
                answer = await self.request("POST", path, content=_json(call.arguments), headers=_ARROW)
                return Answer(_table(answer), _version(answer), _origin(answer))
            case Operation.STREAM:
                return await self._stream(f"{path}:stream", call.arguments)
            case _:
                answer = await self.request("POST", path, content=_json(call.arguments))
                found = answer.json()
                return Answer(UnionAnswer(*(found.get(n) or {} for n in _UNION)), origin=_origin(answer))

    async def close(self) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, *, missing: bool = False, **options: Any) -> httpx.Response:
        """One request. Raises the error that the server's problem stands for; a missing row is none if `missing`."""
        import httpx

        for tries_left in reversed(range(_TRIES)):
            try:
                answer = await self._http.request(method, path, **options)
            except httpx.TimeoutException as error:
                raise DeadlineExceeded(f"{method} {path}: the server did not answer in time") from error
            except httpx.TransportError as error:
                if not tries_left or "CERTIFICATE_VERIFY_FAILED" in str(error):
                    raise _unreached(f"{method} {path}: the server", error) from error
                continue
            if answer.is_success or (missing and _is_missing(answer)):
                return answer
            raise _error(answer)
        raise AssertionError("the last try returns or raises")

    async def _stream(self, path: str, arguments: Any) -> Answer:
        """All rows, read as they come: by a thread that decodes, fed piece by piece."""
        import httpx
        import pyarrow as pa

        from millrace.connectors.wire.arrow_types import columns_of

        request = self._http.build_request("POST", path, content=_json(arguments), headers=_ARROW)
        try:
            answer = await self._http.send(request, stream=True)
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"POST {path}: the server did not answer in time") from error
        except httpx.TransportError as error:
            raise _unreached(f"POST {path}: the server", error) from error
        if not answer.is_success:
            content = await answer.aread()
            await answer.aclose()
            raise _error(answer, content)
        pipe = _Pipe(answer, asyncio.get_running_loop())
        try:
            reader = await asyncio.to_thread(pa.ipc.open_stream, pa.PythonFile(pipe, mode="r"))
        except BaseException:
            await answer.aclose()
            raise
        return Answer(Stream(columns_of(reader.schema), _batches(reader, pipe, answer)), _version(answer))


class _Pipe(io.RawIOBase):
    """An answer's bytes as a file, for a reader in another thread than the loop that receives them."""

    def __init__(self, answer: httpx.Response, loop: asyncio.AbstractEventLoop) -> None:
        self._pieces = answer.aiter_bytes()
        self._loop = loop
        self._rest = b""
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, wanted = [self._rest], size - len(self._rest)
        while wanted > 0 or size < 0:
            piece = asyncio.run_coroutine_threadsafe(_next(self._pieces), self._loop).result()
            if not piece:
                break
            parts.append(piece)
            wanted -= len(piece)
        whole = b"".join(parts)
        given, self._rest = (whole, b"") if size < 0 else (whole[:size], whole[size:])
        self.digest.update(given)
        return given


async def _next(pieces: AsyncIterator[bytes]) -> bytes:
    import httpx

    try:
        return await anext(pieces, b"")
    except httpx.TransportError as error:
        raise TransientError(f"the stream of rows was cut off: {error}", hint="ask again") from error


async def _batches(reader: Any, pipe: _Pipe, answer: httpx.Response) -> AsyncIterator[Any]:
    """Batch after batch; closing it early hangs up, which ends the store's work.

    Raises TransientError for a stream that was cut off, or whose bytes are not those that were sent (its checksum).
    """
    rows = 0

    def following() -> Any:
        before = pipe.digest.copy()
        try:
            found = reader.read_next_batch_with_custom_metadata()
        except StopIteration:
            raise TransientError("the stream of rows has no end: it was cut off", hint="ask again") from None
        about = found.custom_metadata or {}
        if b"checksum" not in about:
            return found.batch
        sent, got = (int(about[b"rows"]), about[b"checksum"].decode()), (rows, f"sha256:{before.hexdigest()}")
        if sent != got:
            raise TransientError(f"the stream of rows is damaged: {sent[0]} rows were sent, {got[0]} arrived")
        return None

    try:
        while (batch := await asyncio.to_thread(following)) is not None:
            rows += batch.num_rows
            yield batch
    finally:
        await answer.aclose()


class RemoteKv(AsyncKv):
    """A KV API of a server."""

    def __init__(self, remote: RemoteApis, name: str, version: str) -> None:
        self._remote, self._name, self._version = remote, quote(name, safe=""), version

    async def get(self, first: Any, /, *more: Any) -> Row | None:
        answer = await self._remote.request("GET", self._path((first, *more)), headers=_ARROW, missing=True)
        self._note(answer)
        return None if answer.status_code == 404 else told(_rows(answer.content)[0][0], _origin(answer))

    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Row | None]:
        body = {"keys": [[*map(_text, key)] if isinstance(key, list | tuple) else _text(key) for key in keys]}
        answer = await self._remote.request("POST", f"/v1/kv/{self._name}:mget", json=body, headers=_ARROW)
        self._note(answer)
        rows, missing = _rows(answer.content)
        there = iter([told(row, _origin(answer)) for row in rows])
        return [None if place in missing else next(there) for place in range(len(keys))]

    async def exists(self, *key: Any) -> bool:
        answer = await self._remote.request("HEAD", self._path(key), missing=True)
        self._note(answer)
        return answer.status_code != 404

    async def scan(self, *prefix: Any, limit: int = 0, after: str = "") -> Page:
        asked = [("prefix", _text(value)) for value in prefix]
        asked += [(name, str(given)) for name, given in (("limit", limit), ("after", after)) if given]
        answer = await self._remote.request("GET", f"/v1/kv/{self._name}:scan", params=asked, headers=_ARROW)
        self._note(answer)
        return Page(_rows(answer.content)[0], answer.headers.get("millrace-next", ""))

    @property
    def version(self) -> str:
        return self._version

    @property
    def plan(self) -> KvPlan:
        raise NotAvailable(
            "a server does not tell where its rows are", hint="connect() without an address has the plan"
        )

    def _path(self, key: Sequence[Any]) -> str:
        return f"/v1/kv/{self._name}/" + "/".join(quote(_text(part), safe="") for part in key)

    def _note(self, answer: httpx.Response) -> None:
        self._version = _version(answer) or self._version


def admin_get(url: str, token: str, path: str, ca: str = "") -> Any:
    """What a server tells the holder of its admin token. Raises the error that its problem stands for."""
    import httpx

    headers = {"authorization": f"Bearer {token}"}
    try:
        answer = httpx.get(url.rstrip("/") + path, headers=headers, timeout=10.0, verify=trust(ca))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreached(f"the server at {url}", error) from error
    if not answer.is_success:
        raise _error(answer)
    return answer.json()


def _unreached(what: str, error: Exception) -> MillraceError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        hint = "give the authorities' certificates, a file in PEM: connect(…, ca=…), --ca, or SSL_CERT_FILE"
        return ConfigError(f"{what} has a certificate that is not trusted: {error}", hint=hint)
    return TransientError(f"{what} can't be reached: {error}")


def _table(answer: httpx.Response) -> Table:
    """A query's answer, which came as Arrow."""
    import pyarrow as pa

    from millrace.connectors.wire.arrow_types import columns_of

    found = pa.ipc.open_stream(answer.content).read_all()
    rows = [tuple(row.values()) for row in found.to_pylist(maps_as_pydicts="strict")]
    columns = columns_of(found.schema)
    names, types = [column.name for column in columns], [column.type for column in columns]
    return Table(names, rows, answer.headers.get("millrace-next"), types)


def _version(answer: httpx.Response) -> str:
    etag: str = answer.headers.get("etag", "")
    return etag[3:-1] if etag.startswith('W/"') else ""


def _origin(answer: httpx.Response) -> Origin:
    found = answer.headers.get("x-millrace-origin", "")
    return Origin(found) if found in list(Origin) else Origin.STORE


def _json(arguments: Any) -> bytes:
    """A call's arguments; dates and decimals as the text that the server parses back."""
    return json.dumps(arguments, default=str).encode()


def _rows(content: bytes) -> tuple[list[Row], set[int]]:
    """The rows of an Arrow answer, and the places of the keys that have none."""
    import pyarrow as pa

    found = pa.ipc.open_stream(content).read_all()
    about = found.schema.metadata or {}
    return [*found.to_pylist(maps_as_pydicts="strict")], set(json.loads(about.get(b"missing", b"[]")))


def _text(value: Any) -> str:
    """A key's part as the text that the server parses back."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_missing(answer: httpx.Response) -> bool:
    """Whether a version has no such row. An answer to HEAD has no body to say so, but it is of a version then."""
    if answer.status_code != 404:
        return False
    slug = str(_problem(answer.content).get("type", "")).rpartition(":")[2]
    return slug == "not-found" or (not answer.content and "etag" in answer.headers)


def _problem(content: bytes) -> Mapping[str, Any]:
    import orjson

    try:
        found = orjson.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error(answer: httpx.Response, content: bytes | None = None) -> MillraceError:
    """The error that a problem stands for."""
    problem = _problem(answer.content if content is None else content)
    status = answer.status_code
    asked = answer.request
    message = str(problem.get("detail") or f"{asked.method} {asked.url.path}: the server answered {status}")
    hint = str(problem.get("hint") or "")
    if status == 404:
        return NotFound(message, hint=hint)
    if status == 504:
        return DeadlineExceeded(message, hint=hint)
    if status >= 500:
        return TransientError(message, hint=hint)
    return _ERRORS.get(status, Refused)(message, hint=hint)
