"""The typed Python client of an API: one module that needs httpx alone. Pure: a plan in, text out.

Rows are frozen dataclasses, whose fields have the columns' types; any value may be None.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping, Sequence

from millrace.serving.call import Plan
from millrace.serving.plans import KvPlan
from millrace.serving.sql.api import SqlApiPlan
from millrace.serving.union.plan import UnionPlan
from millrace.spec.types import Column, DataType, Kind

_TYPES: Mapping[Kind, str] = {
    Kind.BOOLEAN: "bool",
    Kind.TINYINT: "int",
    Kind.SMALLINT: "int",
    Kind.INT: "int",
    Kind.BIGINT: "int",
    Kind.FLOAT: "float",
    Kind.DOUBLE: "float",
    Kind.DECIMAL: "Decimal",
    Kind.STRING: "str",
    Kind.BINARY: "bytes",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "datetime",
    Kind.TIMESTAMP_NTZ: "datetime",
}
_READS: Mapping[Kind, str] = {
    Kind.FLOAT: "float({})",
    Kind.DOUBLE: "float({})",
    Kind.DECIMAL: "Decimal({})",
    Kind.BINARY: "b64decode({})",
    Kind.DATE: "date.fromisoformat({})",
    Kind.TIMESTAMP: "datetime.fromisoformat({})",
    Kind.TIMESTAMP_NTZ: "datetime.fromisoformat({})",
}
_HEAD = '''"""Client of the {kind} API `{api}` of the asset `{asset}`. Written by `millrace client`."""

from __future__ import annotations

import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import httpx


class ApiError(Exception):
    """An answer that is a problem (RFC 9457): `status`, `type`, and the server's words."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(" ".join(str(problem[key]) for key in ("title", "detail", "hint") if problem.get(key)))
        self.status = status
        self.type = str(problem.get("type", ""))


def _plain(value: Any) -> Any:
    """A value as the API's JSON has it."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, Mapping):
        return {{key: _plain(item) for key, item in value.items()}}
    return [_plain(item) for item in value] if isinstance(value, list | tuple | set) else value

'''
_CLIENT = '''
class {name}:
    """Calls the API. Make one for a process; it keeps its connections. Close it, or use it in `with`."""

    def __init__(
        self, url: str, token: str = "", timeout_s: float = 10.0, verify: ssl.SSLContext | bool = True
    ) -> None:
        """`verify`: what the server's certificate is checked by: `ssl.create_default_context(cafile="ca.pem")`."""
        headers = {{"authorization": f"Bearer {{token}}"}} if token else {{}}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, verify=verify)

    def __enter__(self) -> {name}:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
{methods}
    def _post(self, path: str, body: Any) -> Any:
        return _checked(self._http.post(path, json=_plain(body))).json()


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        is_problem = answer.content and "json" in answer.headers.get("content-type", "")
        raise ApiError(answer.status_code, answer.json() if is_problem else {{"title": answer.text}})
    return answer
'''
_KV = '''
    def get(self, {key}) -> Row | None:
        """The row under a key, None when there is none."""
        answer = self._http.get("/v1/kv/{api}/" + "/".join(quote(str(_plain(part)), safe="") for part in ({parts},)))
        if answer.status_code == 404 and answer.json().get("type", "").endswith(":not-found"):
            return None
        return Row.read(_checked(answer).json())

    def multi_get(self, keys: Sequence[Any]) -> list[Row | None]:
        """One answer for each key, in order, all of one version; a composite key is a tuple."""
        found = self._post("/v1/kv/{api}:mget", {{"keys": keys}})["rows"]
        return [None if row is None else Row.read(row) for row in found]

    def exists(self, {key}) -> bool:
        """Whether there is a row under a key."""
        answer = self._http.head("/v1/kv/{api}/" + "/".join(quote(str(_plain(part)), safe="") for part in ({parts},)))
        return not (answer.status_code == 404 and "etag" in answer.headers) and _checked(answer).is_success
'''
_SCAN = '''
    def scan(self, *prefix: Any, size: int = 100) -> Iterator[Row]:
        """The rows whose keys begin with these values, page after page of this size, in the order of their keys."""
        asked: dict[str, Any] = {{"prefix": [str(_plain(value)) for value in prefix], "limit": size}}
        while True:
            answer = _checked(self._http.get("/v1/kv/{api}:scan", params=asked))
            yield from map(Row.read, answer.json()["rows"])
            if "millrace-next" not in answer.headers:
                return
            asked["after"] = answer.headers["millrace-next"]
'''
_SQL = '''
    def query(self, tree: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query's tree, as JSON has them."""
        found: list[dict[str, Any]] = self._post("/v1/sql/{api}", tree)["rows"]
        return found

    def pages(self, tree: Mapping[str, Any], size: int) -> Iterator[list[dict[str, Any]]]:
        """Page after page of a query, all of one version."""
        after: dict[str, str] = {{}}
        while True:
            found = self._post("/v1/sql/{api}", {{**tree, "page": {{"size": size, **after}}}})
            yield found["rows"]
            if found["next"] is None:
                return
            after = {{"after": found["next"]}}
'''
_NAMED = '''
    def {method}(self{parameters}) -> list[{row}]:
        """The rows of the named query `{query}`."""
        call = {{"query": "{query}", "parameters": {{{arguments}}}}}
        return [{row}.read(row) for row in self._post("/v1/sql/{api}", call)["rows"]]
'''
_UNION = '''
    def call(self, {fields}) -> Answer:
        """What the parts give."""
        found = self._post("/v1/union/{api}", {{{arguments}}})
        return Answer(found["parts"], found["missing"], found["versions"], found.get("origins", {{}}))
'''
_ANSWER = '''
@dataclass(frozen=True)
class Answer:
    """Part → what it gave, part → why it is missing, part → version, part → `stale` or `default` where it is that."""

    parts: Mapping[str, Any]
    missing: Mapping[str, str]
    versions: Mapping[str, str]
    origins: Mapping[str, str]

'''


def python_client(plan: Plan) -> str:
    """The module's text."""
    head = _HEAD.format(kind=plan.kind, api=plan.api, asset=plan.asset)
    client = f"{_camel(plan.api)}Client"
    match plan:
        case KvPlan():
            columns = [f.column for f in plan.fields if plan.columns is None or f.name in plan.columns]
            body, methods = _row("Row", columns), _kv_methods(plan)
        case SqlApiPlan():
            rows = (_row(_camel(q.name) + "Row", q.columns) for q in plan.queries.values())
            body, methods = "".join(rows), _sql_methods(plan)
        case UnionPlan():
            body, methods = _ANSWER, _union_method(plan)
        case _:
            raise ValueError(f"no client is written for APIs of kind '{plan.kind}'")
    return head + body + _CLIENT.format(name=client, methods=methods)


def _kv_methods(plan: KvPlan) -> str:
    names = ["key"] if plan.definition is not None and plan.definition.range is not None else list(_key_columns(plan))
    types = {f.name: _python_type(f.column.type) for f in plan.fields}
    given = [_identifier(name) for name in names]
    key = ", ".join(f"{i}: {types.get(name, 'Any')}" for i, name in zip(given, names, strict=True))
    methods = _KV.format(api=plan.api, key=key, parts=", ".join(given))
    return methods + _SCAN.format(api=plan.api) if plan.definition is not None and plan.definition.prefix else methods


def _key_columns(plan: KvPlan) -> Sequence[str]:
    """The columns of the target's key template: the option that has one, whatever its name."""
    from millrace.connectors.wire.key_template import KeyTemplate

    for option in ("key", "row_key"):
        if isinstance(plan.options.get(option), str):
            return KeyTemplate.parse(plan.options[option]).columns
    return ["key"]


def _sql_methods(plan: SqlApiPlan) -> str:
    found = [_SQL.format(api=plan.api)]
    for query in plan.queries.values():
        names = {p.name: _identifier(p.name) for p in query.parameters}
        parameters = "".join(f", {names[p.name]}: {_python_type(p.type)}" for p in query.parameters)
        arguments = ", ".join(f'"{name}": {given}' for name, given in names.items())
        method = _identifier(query.name if query.name not in ("query", "pages", "close") else f"{query.name}_")
        row = _camel(query.name) + "Row"
        found.append(
            _NAMED.format(
                method=method, parameters=parameters, row=row, query=query.name, arguments=arguments, api=plan.api
            )
        )
    return "".join(found)


def _union_method(plan: UnionPlan) -> str:
    fields = ", ".join(f"{_identifier(name)}: Any" for name in plan.fields)
    arguments = ", ".join(f'"{name}": {_identifier(name)}' for name in plan.fields)
    return _UNION.format(api=plan.api, fields=fields or "*_: Any", arguments=arguments)


def _row(name: str, columns: Sequence[Column]) -> str:
    taken: dict[str, str] = {}
    for column in columns:
        given = _identifier(column.name)
        while given in taken.values():
            given += "_"
        taken[column.name] = given
    lines = ["", "@dataclass(frozen=True)", f"class {name}:"]
    lines += [f"    {taken[c.name]}: {_python_type(c.type)} | None" for c in columns]
    lines += ["", "    @classmethod", f"    def read(cls, found: Mapping[str, Any]) -> {name}:", "        return cls("]
    lines += [f"            {line}," for line in _reads(columns)]
    return "\n".join([*lines, "        )", "", ""])


def _reads(columns: Sequence[Column]) -> Iterator[str]:
    for column in columns:
        value = f"found.get({column.name!r})"
        read = _read(column.type, "value")
        yield value if read == "value" else f"None if (value := {value}) is None else {read}"


def _read(type_: DataType, value: str) -> str:
    """An expression that turns a JSON value, not null, into the type's Python value."""
    if type_.kind is Kind.ARRAY:
        read = _read(type_.fields[0].type, "item")
        return value if read == "item" else f"[None if item is None else {read} for item in {value}]"
    return _READS[type_.kind].format(value) if type_.kind in _READS else value


def _python_type(type_: DataType) -> str:
    match type_.kind:
        case Kind.ARRAY:
            return f"list[{_python_type(type_.fields[0].type)}]"
        case Kind.MAP | Kind.STRUCT:
            return "dict[str, Any]"
        case _:
            return _TYPES[type_.kind]


def _identifier(name: str) -> str:
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    found = f"_{found}" if not found or found[0].isdigit() else found
    return f"{found}_" if keyword.iskeyword(found) or found in ("self", "found", "read") else found


def _camel(name: str) -> str:
    found = "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]+", name))
    return found if found[:1].isalpha() else f"Api{found}"
