"""The KV addresses: one key, composite ones too, and many keys in one request."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import orjson

from millrace.serving import tracing
from millrace.serving.call import Answer, Call, Operation
from millrace.serving.formats import encode_row, encode_rows, negotiate
from millrace.serving.http.messages import Header, Request, Response
from millrace.serving.http.problems import problem
from millrace.serving.http.routes import Route
from millrace.serving.keys.api import IntervalApi
from millrace.serving.kv.api import KvApi
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.refusals import Refused, UnknownApi
from millrace.serving.registry import Served
from millrace.serving.service import Service

PREFIX = "/v1/kv/"
_MGET = ":mget"
_SCAN = ":scan"
_PROTO = ".proto"
_MEMBERS = frozenset({"keys"})


def routes(service: Service) -> list[Route]:
    """`GET /v1/kv/{api}/{key}`, `{api}:scan`, `{api}` and `{api}.proto`; `POST /v1/kv/{api}:mget`."""
    return [
        Route(("GET",), PREFIX, lambda request: _get(service, request)),
        Route(("POST",), PREFIX, lambda request: _post(service, request)),
    ]


async def _get(service: Service, request: Request) -> Response:
    name, *key = request.segments()[2:]
    if name.endswith(_SCAN) and not key:
        return await _scan(service, request, name.removesuffix(_SCAN))
    if name.endswith(_PROTO) and not key:
        return _proto(service, name.removesuffix(_PROTO))
    if name and not key:
        return _about(service, name)
    if not key or key == [""]:
        raise Refused("the address has no key", hint=f"write it like {PREFIX}{name}/42")
    served = service.registry.find(name, "kv")
    call = Call(Operation.GET, key[0] if len(key) == 1 else tuple(key), context_of(service, request))
    wanted = negotiate(request.header(b"accept"))
    answer = await served.call(call)
    found: StoredRow = answer.body
    headers = headers_of(served, answer)
    if found.stored is None:
        return problem(404, "not-found", "the current version has no row under this key", headers=headers, api=name)
    if request.headers.get(b"if-none-match") == _etag(answer):
        return Response(304, headers=headers)
    return Response(200, encode_row(found, wanted), wanted.content_type.encode(), headers)


async def _scan(service: Service, request: Request, name: str) -> Response:
    """`?prefix=a&prefix=b&limit=100&after=…`: the first key columns' values, and the cursor of the page before."""
    served = service.registry.find(name, "kv")
    wanted = negotiate(request.header(b"accept"))
    given = parse_qs(request.target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)
    arguments: dict[str, Any] = {key: values[-1] for key, values in given.items()} | {"prefix": given.get("prefix", [])}
    if "limit" in arguments:
        arguments["limit"] = int(arguments["limit"]) if str(arguments["limit"]).isdecimal() else arguments["limit"]
    answer = await served.call(Call(Operation.SCAN, arguments, context_of(service, request)))
    rows: StoredRows = answer.body
    headers: tuple[Header, ...] = headers_of(served, answer)
    if rows.cursor is not None:
        headers += ((b"millrace-next", rows.cursor.encode()),)
    return Response(200, encode_rows(rows, wanted), wanted.content_type.encode(), headers)


def _about(service: Service, name: str) -> Response:
    """What an API's rows look like: its asset, its current version, its key or interval, and its columns."""
    served = service.registry.find(name, "kv")
    api: KvApi | IntervalApi = served.api  # type: ignore[assignment]  # those of kind kv
    form = api.form
    body = {
        "api": name,
        "asset": served.plan.asset,
        "description": served.plan.profile.description,
        "version": form.version,
        **({"interval": [*api.ends]} if isinstance(api, IntervalApi) else {"key": [*form.key_columns]}),
        "columns": [{"name": f.name, "type": str(f.column.type), "number": f.number} for f in form.fields],
    }
    return Response(200, orjson.dumps(body))


def _proto(service: Service, name: str) -> Response:
    """The declaration of an API's rows in Protobuf."""
    from millrace.serving.clients.proto import proto_files

    (text,) = proto_files(service.registry.find(name, "kv").plan).values()
    return Response(200, text.encode(), b"text/plain; charset=utf-8", ((b"cache-control", b"no-cache"),))


async def _post(service: Service, request: Request) -> Response:
    name, *more = request.segments()[2:]
    if more or not name.endswith(_MGET):
        raise UnknownApi("there is nothing to POST to at this address", hint=f"POST to {PREFIX}{{api}}{_MGET}")
    served = service.registry.find(name.removesuffix(_MGET), "kv")
    wanted = negotiate(request.header(b"accept"))
    keys = keys_of(request.body)
    answer = await served.call(Call(Operation.MULTI_GET, keys, context_of(service, request)))
    rows: StoredRows = answer.body
    body = encode_rows(rows, wanted, answer.origin.mark)
    return Response(200, body, wanted.content_type.encode(), headers_of(served, answer))


def context_of(service: Service, request: Request) -> Any:
    """Who calls, until when, and whether the cache may answer (`Cache-Control: no-cache` passes it by)."""
    try:
        context = service.context(
            request.header(b"authorization"),
            request.header(b"x-timeout-ms"),
            fresh="no-cache" in request.header(b"cache-control").lower(),
        )
    except Refused:
        raise
    except ValueError as error:
        raise Refused(f"X-Timeout-Ms: {error}", hint="a number of milliseconds, e.g. 50") from error
    context.trace = tracing.parent_of(request.headers)
    return context


def headers_of(served: Served, answer: Answer) -> tuple[Header, ...]:
    """Caching headers, where the answer came from, and how long each stage took."""
    cache = getattr(served.plan, "cache", None)
    seconds = int(cache.ttl.total_seconds()) if cache is not None else 0
    found: list[Header] = [
        (b"cache-control", b"private, max-age=%d" % seconds if seconds else b"no-cache"),
        (b"vary", b"accept, accept-encoding, authorization"),
        (b"x-millrace-origin", str(answer.origin).encode()),
    ]
    if answer.version:
        found.append((b"etag", _etag(answer)))
    if answer.stages:
        stages = ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in answer.stages)
        found.append((b"server-timing", stages.encode()))
    return tuple(found)


def _etag(answer: Answer) -> bytes:
    return b'W/"%b"' % answer.version.encode()


def keys_of(body: bytes | bytearray) -> list[Any]:
    """The keys of `{"keys": [1, "b", ["de", 3]]}`; a list is a composite key, and becomes a tuple."""
    return with_tuples(plain_keys_of(body))


def with_tuples(keys: list[Any]) -> list[Any]:
    """Keys whose composite ones are tuples."""
    return [tuple(key) if type(key) is list else key for key in keys] if list in {*map(type, keys)} else keys


def plain_keys_of(body: bytes | bytearray) -> list[Any]:
    """The keys as JSON has them."""
    try:
        found = orjson.loads(body)
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}", hint='write {"keys": [1, 2]}') from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise Refused("the body has no list of 'keys'", hint='write {"keys": [1, 2]}; a composite key is a list')
    if unknown := found.keys() - _MEMBERS:
        raise Refused(f"the body has unknown members: {', '.join(sorted(unknown))}", hint='it has "keys" alone')
    return keys
