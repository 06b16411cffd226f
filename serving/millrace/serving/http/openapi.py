"""What is served, as an OpenAPI 3.1 document and as a small page that reads it. Made anew when the snapshot changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from millrace.connectors.base import Field
from millrace.errors import NotFound
from millrace.serving.formats.accept import ROWS, Format
from millrace.serving.http.messages import Request, Response
from millrace.serving.http.openapi_page import PAGE
from millrace.serving.http.routes import Route
from millrace.serving.kv.api import KvApi
from millrace.serving.registry import Served, Snapshot
from millrace.serving.service import Service
from millrace.spec.types import DataType, Kind

Json = dict[str, Any]

_INTEGERS = {Kind.TINYINT: 8, Kind.SMALLINT: 16, Kind.INT: 32, Kind.BIGINT: 64}
_TEXTS = {Kind.BINARY: "base64", Kind.DATE: "date", Kind.TIMESTAMP: "date-time", Kind.DECIMAL: "decimal"}
_BINARY = {"type": "string", "format": "binary"}
_SECURITY: Sequence[Json] = ({"token": []}, {})
_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


def routes(service: Service) -> list[Route]:
    """`/openapi.json` and `/docs`."""
    kept: list[tuple[Snapshot, bytes]] = []

    async def document_(_request: Request) -> Response:
        snapshot = service.registry.snapshot
        if not kept or kept[0][0] is not snapshot:
            kept[:] = [(snapshot, json.dumps(document(snapshot), ensure_ascii=False).encode())]
        return Response(200, kept[0][1], headers=((b"cache-control", b"no-cache"),))

    async def page(_request: Request) -> Response:
        return Response(200, PAGE.encode(), b"text/html; charset=utf-8", ((b"content-security-policy", _POLICY),))

    return [Route(("GET",), "/openapi.json", document_), Route(("GET",), "/docs", page)]


def document(snapshot: Snapshot) -> Json:
    """The whole document: each API's own addresses, with the columns of its rows."""
    paths: Json = {}
    schemas: Json = {"Problem": _PROBLEM}
    for name, served in sorted(snapshot.apis.items()):
        match served.plan.kind:
            case "kv":
                _add_kv(name, served, paths, schemas)
            case "sql":
                about = {"tags": [name], "security": _SECURITY, "requestBody": _body({"type": "object"})}
                table = {"application/json": {"schema": {"type": "object", "required": ["columns", "rows"]}}}
                rows = {f.content_type: {"schema": _BINARY} for f in (Format.ARROW, Format.NDJSON, Format.CSV)}
                paths[f"/v1/sql/{name}"] = {
                    "post": {**about, **_said(served, table | rows), "operationId": f"sql_{name}"}
                }
                stream = {**about, **_said(served, rows), "operationId": f"stream_{name}"}
                paths[f"/v1/sql/{name}:stream"] = {"post": stream}
            case "union":
                answer = {"application/json": {"schema": {"type": "object", "required": ["parts", "missing"]}}}
                about = {"tags": [name], "security": _SECURITY, "requestBody": _body({"type": "object"})}
                paths[f"/v1/union/{name}"] = {
                    "post": {**about, **_said(served, answer), "operationId": f"union_{name}"}
                }
    for path in ("/livez", "/readyz"):
        content = {"application/json": {"schema": {"type": "object"}}}
        responses = {
            "200": {"description": "Yes.", "content": content},
            "503": {"description": "No.", "content": content},
        }
        paths[path] = {"get": {"tags": ["server"], "operationId": path[1:], "responses": responses}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "millrace", "version": version("millrace"), "description": "What runs have published."},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _add_kv(name: str, served: Served, paths: Json, schemas: Json) -> None:
    fields, key_columns = _shape(served)
    schemas[name] = {"type": "object", "properties": {f.name: _nullable(_type(f.column.type)) for f in fields}}
    row = {"$ref": f"#/components/schemas/{name}"}
    types = {field.name: field.column.type for field in fields}
    keys = key_columns or ("key",)
    parameters = [
        {"name": key, "in": "path", "required": True, "schema": _type(types[key]) if key in types else _KEY}
        for key in keys
    ]
    proto = {"description": "The rows as a Protobuf message", "url": f"/v1/kv/{name}.proto"}
    get = {**_said(served, _contents(row)), "tags": [name], "operationId": f"get_{name}", "parameters": parameters}
    get["externalDocs"] = proto
    exists = {**get, "operationId": f"exists_{name}", "summary": "Whether there is a row under this key"}
    exists["responses"] = {"200": {"description": "There is."}, "default": {"description": "There is none."}}
    paths[f"/v1/kv/{name}/" + "/".join(f"{{{key}}}" for key in keys)] = {
        "get": {**get, "security": _SECURITY},
        "head": {**exists, "security": _SECURITY},
    }
    items = {"type": "array", "items": {"oneOf": [row, {"type": "null"}]}}
    rows = {"type": "object", "properties": {"version": {"type": "string"}, "rows": items}}
    body = _body({"type": "object", "required": ["keys"], "properties": {"keys": {"type": "array"}}})
    post = {**_said(served, _contents(rows)), "tags": [name], "operationId": f"mget_{name}", "requestBody": body}
    paths[f"/v1/kv/{name}:mget"] = {"post": {**post, "security": _SECURITY}}
    definition = getattr(served.plan, "definition", None)
    if definition is not None and definition.prefix:
        scan = {**_said(served, _contents(rows)), "tags": [name], "operationId": f"scan_{name}", "parameters": _SCAN}
        paths[f"/v1/kv/{name}:scan"] = {"get": {**scan, "security": _SECURITY}}


def _shape(served: Served) -> tuple[Sequence[Field], Sequence[str]]:
    """The columns of an API's rows, and those of its key, as far as they are known."""
    if isinstance(served.api, KvApi):
        try:
            return served.api.form.fields, served.api.form.key_columns
        except NotFound:
            pass
    return getattr(served.plan, "fields", ()), ()


def _said(served: Served, content: Json) -> Json:
    """What every operation of an API says of itself: what it is for, and what can come back."""
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        "summary": served.plan.profile.description or f"{served.plan.kind} over {served.plan.asset}",
        "responses": {
            "200": {"description": "The answer; its version is the ETag.", "content": content},
            "default": {"description": "A problem (RFC 9457).", "content": {"application/problem+json": problem}},
        },
    }


def _contents(json_schema: Json) -> Json:
    return {f.content_type: {"schema": json_schema if f is Format.JSON else _BINARY} for f in ROWS}


def _body(schema: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _type(type_: DataType) -> Json:
    """A column's type as JSON has it: see `connectors.wire.json`."""
    kind = type_.kind
    if kind in _INTEGERS:
        most = 1 << (_INTEGERS[kind] - 1)
        return {"type": "integer", "minimum": -most, "maximum": most - 1}
    match kind:
        case Kind.BOOLEAN:
            return {"type": "boolean"}
        case Kind.FLOAT | Kind.DOUBLE:
            return {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
        case Kind.ARRAY:
            return {"type": "array", "items": _nullable(_type(type_.fields[0].type))}
        case Kind.MAP:
            return {"type": "object", "additionalProperties": _nullable(_type(type_.fields[1].type))}
        case Kind.STRUCT:
            return {"type": "object", "properties": {f.name: _nullable(_type(f.type)) for f in type_.fields}}
        case _:
            return {"type": "string", **({"format": _TEXTS[kind]} if kind in _TEXTS else {})}


_KEY: Json = {"type": "string"}
_SCAN: Sequence[Json] = (
    {"name": "prefix", "in": "query", "schema": {"type": "array", "items": _KEY}},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
    {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "The `Millrace-Next` of a page."},
)
_PROBLEM: Json = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "What to do next."},
        "api": {"type": "string"},
    },
}
