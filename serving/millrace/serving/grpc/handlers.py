"""What each method of `serving.proto` does: bytes in, bytes out, with nothing built that is not needed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

from millrace.connectors.wire.varint import varint
from millrace.serving import tracing
from millrace.serving.call import Answer, Call, Context, Operation
from millrace.serving.formats import Format, encode_row
from millrace.serving.formats.rows import encode_rows
from millrace.serving.grpc.methods import Begun, Method, Streamed, Trailers, Unary
from millrace.serving.grpc.schema import PACKAGE, message
from millrace.serving.http.union import union_json
from millrace.serving.kv.api import KvApi
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.refusals import Refused
from millrace.serving.registry import Served
from millrace.serving.service import Service


def methods(service: Service) -> Mapping[str, Method]:
    """Every method of `serving.proto` by its path."""
    kv = {"Get": _kv_get, "MultiGet": _kv_multi_get, "Exists": _kv_exists, "Scan": _kv_scan}
    return {
        **{f"/{PACKAGE}.Kv/{name}": Unary(partial(do, service)) for name, do in kv.items()},
        f"/{PACKAGE}.Sql/Query": Unary(lambda data, context: (partial(_sql_query, service, data, context), False)),
        f"/{PACKAGE}.Sql/Stream": Streamed(partial(_sql_stream, service)),
        f"/{PACKAGE}.Union/Call": Unary(lambda data, context: (partial(_union_call, service, data, context), False)),
    }


def _by_hand(served: Served, context: Context) -> bool:
    """Whether a call of an API needs no timer, and so no task."""
    own = isinstance(served.api, KvApi) and served.api.in_time_by_itself
    return own and context.deadline is None and not tracing.on()


class NoSuchRow(Refused):
    """The current version has no row under this key."""

    status = 404
    slug = "not-found"


def _kv_get(service: Service, data: bytes, context: Context) -> Begun:
    request = _parsed("GetRequest", data)
    served = service.registry.find(request.api, "kv")
    return partial(_get, served, Call(Operation.GET, _key(request.key), context)), _by_hand(served, context)


async def _get(served: Served, call: Call) -> bytes:
    answer = await served.call(call)
    found: StoredRow = answer.body
    if found.stored is None:
        raise NoSuchRow("the current version has no row under this key")
    value = encode_row(found, Format.PROTOBUF)
    return _version(answer) + b"\x12" + varint(len(value)) + value + _origin(answer)


def _kv_multi_get(service: Service, data: bytes, context: Context) -> Begun:
    request = _parsed("MultiGetRequest", data)
    served = service.registry.find(request.api, "kv")
    keys: list[Any] = list(request.keys)
    keys += [tuple(key.parts) for key in request.composite]
    return partial(_multi_get, served, Call(Operation.MULTI_GET, keys, context)), _by_hand(served, context)


async def _multi_get(served: Served, call: Call) -> bytes:
    answer = await served.call(call)
    return encode_rows(answer.body, Format.PROTOBUF, answer.origin.mark)


def _kv_exists(service: Service, data: bytes, context: Context) -> Begun:
    request = _parsed("GetRequest", data)
    served = service.registry.find(request.api, "kv")
    return partial(_exists, served, Call(Operation.EXISTS, _key(request.key), context)), _by_hand(served, context)


async def _exists(served: Served, call: Call) -> bytes:
    answer = await served.call(call)
    return _version(answer) + (b"\x10\x01" if answer.body else b"") + _origin(answer)


def _kv_scan(service: Service, data: bytes, context: Context) -> Begun:
    request = _parsed("ScanRequest", data)
    served = service.registry.find(request.api, "kv")
    arguments = {"prefix": [*request.prefix], "limit": request.limit or None, "after": request.after or None}
    return partial(_scan, served, Call(Operation.SCAN, arguments, context)), False


async def _scan(served: Served, call: Call) -> bytes:
    rows: StoredRows = (await served.call(call)).body
    cursor = (rows.cursor or "").encode()
    return encode_rows(rows, Format.PROTOBUF) + (b"\x2a" + varint(len(cursor)) + cursor if cursor else b"")


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


async def _sql_stream(
    service: Service, data: bytes, context: Context, trailers: Trailers
) -> AsyncGenerator[bytes, None]:
    from millrace.serving.formats.tables import ENCODERS
    from millrace.serving.sql.stream import Summary, encoded

    request = _parsed("QueryRequest", data)
    call = Call(Operation.STREAM, _json(request.query, "query"), context)
    answer = await service.registry.call(request.api, "sql", call)
    summary = Summary()
    pieces = encoded(answer.body.batches, ENCODERS[Format.ARROW](answer.body.schema), summary)
    async with aclosing(pieces) as each:
        async for piece in each:
            yield b"\x0a" + varint(len(piece)) + piece
    trailers += [("millrace-rows", str(summary.rows)), ("millrace-checksum", summary.checksum)]


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
