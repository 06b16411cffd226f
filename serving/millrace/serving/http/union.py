"""The address of union APIs."""

from __future__ import annotations

import orjson

from millrace.serving.call import Call, Operation
from millrace.serving.http.json_body import json_body
from millrace.serving.http.kv import context_of, headers_of
from millrace.serving.http.messages import JSON, Header, Request, Response
from millrace.serving.http.routes import Route
from millrace.serving.refusals import UnknownApi
from millrace.serving.service import Service
from millrace.serving.sql.values import to_json
from millrace.serving.union.api import UnionAnswer

PREFIX = "/v1/union/"


def routes(service: Service) -> list[Route]:
    """`POST /v1/union/{api}`."""
    return [Route(("POST",), PREFIX, lambda request: _post(service, request))]


async def _post(service: Service, request: Request) -> Response:
    name, *more = request.segments()[2:]
    if more or not name:
        raise UnknownApi("there is nothing to POST to at this address", hint=f"POST to {PREFIX}{{api}}")
    fields = json_body(request, "an object of the union's fields")
    served = service.registry.find(name, "union")
    answer = await served.call(Call(Operation.UNION, fields, context_of(service, request)))
    found: UnionAnswer = answer.body
    headers: tuple[Header, ...] = headers_of(served, answer)
    if found.missing:
        headers += ((b"millrace-missing", ", ".join(found.missing).encode()),)
    return Response(200, union_json(found), JSON, headers)


def union_json(found: UnionAnswer) -> bytes:
    """`{"parts": {name: row, rows or default}, "missing": {name: why}, "versions": {name: version}}`.

    `"origins": {name: "stale" or "default"}` besides, where there are such parts.
    """
    body = {"parts": to_json(found.parts), "missing": dict(found.missing), "versions": dict(found.versions)}
    if found.origins:
        body["origins"] = dict(found.origins)
    return orjson.dumps(body)
