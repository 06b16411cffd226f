"""What each method of `serving.proto` does: bytes in, bytes out, with nothing built that is not needed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from millrace.errors import MillraceError
from millrace.serving.call import Answer, Call, Context, Operation
from millrace.serving.formats import Format, encode_row
from millrace.serving.formats.rows import protobuf_rows, row_writer, varint
from millrace.serving.grpc.schema import PACKAGE, message
from millrace.serving.http.union import union_json
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.refusals import Refused, status_of
from millrace.serving.service import Service

log = logging.getLogger(__name__)

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    406: grpc.StatusCode.INVALID_ARGUMENT,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def handlers(service: Service) -> list[Any]:
    """The generic handlers of every service, for `grpc.aio.Server.add_generic_rpc_handlers`."""
    kv = {"Get": _kv_get, "MultiGet": _kv_multi_get, "Exists": _kv_exists}
    return [
        grpc.method_handlers_generic_handler(f"{PACKAGE}.Kv", {name: _unary(service, do) for name, do in kv.items()}),
        grpc.method_handlers_generic_handler(
            f"{PACKAGE}.Sql",
            {
                "Query": _unary(service, _sql_query),
                "Stream": grpc.unary_stream_rpc_method_handler(lambda data, rpc: _sql_stream(service, data, rpc)),
            },
        ),
        grpc.method_handlers_generic_handler(f"{PACKAGE}.Union", {"Call": _unary(service, _union_call)}),
    ]


def _unary(service: Service, do: Callable[[Service, bytes, Context], Any]) -> Any:
    async def handle(data: bytes, rpc: Any) -> Any:
        try:
            return await do(service, data, _context(service, rpc))
        except Exception as error:  # whatever it is, the caller gets a status, and the others are served on
            await _abort(rpc, error)

    return grpc.unary_unary_rpc_method_handler(handle)


def _context(service: Service, rpc: Any) -> Context:
    """Who calls and until when: gRPC's own deadline."""
    authorization = ""
    for name, value in rpc.invocation_metadata() or ():
        if name == "authorization":
            authorization = value
    context = service.context(authorization)
    remaining_s = rpc.time_remaining()
    if remaining_s is not None:
        context.deadline = time.monotonic() + remaining_s
    return context


async def _abort(rpc: Any, error: Exception) -> None:
    status, slug = status_of(error)
    text = f"{error.message}\n{error.hint}".strip() if isinstance(error, MillraceError) else str(error)
    trailers = [("millrace-problem", slug)]
    if isinstance(error, Refused) and error.retry_after_s is not None:
        trailers.append(("retry-after-ms", str(round(error.retry_after_s * 1000))))
    if slug == "internal":
        log.error("a gRPC call failed", exc_info=error)
        text = "a defect of the server; its log has the details"
    await rpc.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), text, tuple(trailers))


class NoSuchRow(Refused):
    """The current version has no row under this key."""

    status = 404
    slug = "not-found"


async def _kv_get(service: Service, data: bytes, context: Context) -> bytes:
    request = _parsed("GetRequest", data)
    answer = await service.registry.call(request.api, "kv", Call(Operation.GET, _key(request.key), context))
    found: StoredRow = answer.body
    if found.stored is None:
        raise NoSuchRow("the current version has no row under this key")
    value = encode_row(found, Format.PROTOBUF)
    return _version(answer) + b"\x12" + varint(len(value)) + value + _origin(answer)


async def _kv_multi_get(service: Service, data: bytes, context: Context) -> bytes:
    request = _parsed("MultiGetRequest", data)
    keys: list[Any] = list(request.keys)
    keys += [tuple(key.parts) for key in request.composite]
    answer = await service.registry.call(request.api, "kv", Call(Operation.MULTI_GET, keys, context))
    rows: StoredRows = answer.body
    write = row_writer(rows.form, Format.PROTOBUF)
    values = rows.stored if write is None else [None if one is None else write(one) for one in rows.stored]
    return protobuf_rows(rows.form.version, values, answer.origin.mark)


async def _kv_exists(service: Service, data: bytes, context: Context) -> bytes:
    request = _parsed("GetRequest", data)
    answer = await service.registry.call(request.api, "kv", Call(Operation.EXISTS, _key(request.key), context))
    return _version(answer) + (b"\x10\x01" if answer.body else b"") + _origin(answer)


async def _sql_query(service: Service, data: bytes, context: Context) -> bytes:
    from millrace.serving.formats.tables import encode_table, within

    request = _parsed("QueryRequest", data)
    call = Call(Operation.QUERY, _json(request.query, "query"), context)
    served = service.registry.find(request.api, "sql")
    answer = await served.call(call)
    table = answer.body
    arrow = within(served.plan.profile.limits, encode_table(table, answer.version, Format.ARROW))
    origin = answer.origin.mark
    reply = message("Table")(version=answer.version, arrow=arrow, cursor=table.cursor or "", origin=origin)
    found: bytes = reply.SerializeToString()
    return found


async def _sql_stream(service: Service, data: bytes, rpc: Any) -> AsyncIterator[bytes]:
    from millrace.serving.formats.tables import ENCODERS
    from millrace.serving.sql.stream import Summary, encoded

    try:
        request = _parsed("QueryRequest", data)
        call = Call(Operation.STREAM, _json(request.query, "query"), _context(service, rpc))
        answer = await service.registry.call(request.api, "sql", call)
        summary = Summary()
        async for piece in encoded(answer.body.batches, ENCODERS[Format.ARROW](answer.body.schema), summary):
            yield b"\x0a" + varint(len(piece)) + piece
        rpc.set_trailing_metadata(
            (("millrace-rows", str(summary.rows)), ("millrace-checksum", summary.checksum)),
        )
    except Exception as error:  # as for unary calls
        await _abort(rpc, error)


async def _union_call(service: Service, data: bytes, context: Context) -> bytes:
    request = _parsed("UnionRequest", data)
    call = Call(Operation.UNION, _json(request.input, "input"), context)
    answer = await service.registry.call(request.api, "union", call)
    text = union_json(answer.body)
    return b"\x0a" + varint(len(text)) + text


def _parsed(name: str, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return message(name).FromString(data)
    except DecodeError as error:
        raise Refused(f"the request is no millrace.v1.{name}: {error}") from None


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Refused(f"'{what}' is not JSON: {error}") from None


def _key(parts: Any) -> Any:
    if not parts:
        raise Refused("the request has no key")
    return parts[0] if len(parts) == 1 else tuple(parts)


def _origin(answer: Answer) -> bytes:
    """Field 3 of a `Row` and an `Existence`."""
    mark = answer.origin.mark.encode()
    return b"\x1a" + varint(len(mark)) + mark if mark else b""


def _version(answer: Answer) -> bytes:
    version = answer.version.encode()
    return b"\x0a" + varint(len(version)) + version
