"""A query's tree from JSON. Pure; raises QueryError that names the place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.serving.sql.faults import Path, QueryError
from millrace.serving.sql.tree import (
    Comparator,
    Condition,
    Function,
    Junction,
    Not,
    Order,
    Page,
    Pick,
    Query,
    Test,
)
from millrace.spec.diagnostics import did_you_mean, shown

MAX_DEPTH = 16
MAX_TESTS = 256
MAX_SELECT = 128
MAX_GROUP = 32
MAX_PAGE = 1_000_000
MAX_NAME = 255
MAX_CURSOR = 64_000
#: What stands in the names that the compiler gives itself.
RESERVED = "__"
TESTS = (*Comparator, "in", "between", "like", "starts_with", "null", "has_any", "has_all", "has_none")
_KEYS = ("select", "where", "group_by", "having", "order_by", "limit", "page")


def parse(data: Any) -> Query:
    """The query that a JSON document says. Names and values are checked by `plan`, against the API."""
    body = _object(data, (), _KEYS)
    return Query(
        select=_select(body["select"]) if body.get("select") is not None else None,
        where=_condition(body, "where"),
        group_by=_names(body.get("group_by"), ("group_by",)),
        having=_condition(body, "having"),
        order_by=tuple(_order(item, ("order_by", i)) for i, item in enumerate(_list(body, "order_by", MAX_GROUP))),
        limit=_count(body["limit"], ("limit",)) if body.get("limit") is not None else None,
        page=_page(body["page"]) if body.get("page") is not None else None,
    )


def _object(data: Any, path: Path, keys: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise QueryError(f"expected an object, got {_kind(data)}", path)
    for key in data:
        if key not in keys:
            raise QueryError(f"unknown key '{shown(str(key))}'{did_you_mean(str(key), keys)}", path)
    return data


def _list(body: Mapping[str, Any], key: str, most: int) -> Sequence[Any]:
    found = body.get(key)
    if found is None:
        return ()
    if not isinstance(found, list | tuple):
        raise QueryError(f"expected a list, got {_kind(found)}", (key,))
    if len(found) > most:
        raise QueryError(f"{len(found)} items, of at most {most}", (key,))
    return found


def _text(value: Any, path: Path, what: str) -> str:
    if not isinstance(value, str):
        raise QueryError(f"expected {what}, got {_kind(value)}", path)
    if not value or len(value) > MAX_NAME or not value.isprintable() or "`" in value:
        raise QueryError(f"{what} has 1 to {MAX_NAME} printable characters, and no backtick", path)
    return value


def _names(value: Any, path: Path) -> tuple[str, ...]:
    items = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise QueryError(f"expected a list of columns, got {_kind(value)}", path)
    if len(items) > MAX_GROUP:
        raise QueryError(f"{len(items)} columns, of at most {MAX_GROUP}", path)
    found = tuple(_text(item, (*path, index), "a column's name") for index, item in enumerate(items))
    for index, name in enumerate(found):
        if name in found[:index]:
            raise QueryError(f"'{shown(name)}' stands here twice", (*path, index))
    return found


def _count(value: Any, path: Path, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= (1 << 62):
        raise QueryError(f"expected a whole number from {least} on, got {_kind(value)}", path)
    return value


def _select(value: Any) -> tuple[Pick, ...]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items:
        raise QueryError("expected a list of columns and aggregates", ("select",))
    if len(items) > MAX_SELECT:
        raise QueryError(f"{len(items)} outputs, of at most {MAX_SELECT}", ("select",))
    found = tuple(_pick(item, ("select", index)) for index, item in enumerate(items))
    seen: set[str] = set()
    for pick in found:
        if pick.name in seen:
            raise QueryError(f"two outputs are named '{shown(pick.name)}': give one another name with 'as'", pick.path)
        seen.add(pick.name)
    return found


def _pick(item: Any, path: Path) -> Pick:
    if isinstance(item, str):
        return Pick(_output(item, path), path, item)
    body = _object(item, path, ("column", "as", "at", *Function))
    chosen = [key for key in body if key not in ("as", "at")]
    if len(chosen) != 1:
        raise QueryError(f"expected one of 'column', {', '.join(Function)}, got {len(chosen)} of them", path)
    key, name = chosen[0], body.get("as")
    if "at" in body and key != Function.QUANTILE:
        raise QueryError("only a quantile has an 'at'", (*path, "at"))
    if key == "column":
        column = _text(body[key], (*path, key), "a column's name")
        return Pick(_output(column if name is None else name, path), path, column)
    function = Function(key)
    column_ = body[key]
    over = None if column_ == "*" and function is Function.COUNT else _text(column_, (*path, key), "a column's name")
    level = _level(body.get("at"), (*path, "at")) if function is Function.QUANTILE else None
    default = str(function) if over is None else f"{function}_{over}"
    return Pick(_output(default if name is None else name, path), path, over, function, level)


def _output(name: Any, path: Path) -> str:
    found = _text(name, path, "an output's name")
    if found.startswith(RESERVED):
        raise QueryError(f"names that begin with {RESERVED} are taken", path)
    return found


def _level(value: Any, path: Path) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise QueryError("a quantile needs 'at', a number from 0 to 1, e.g. 0.99", path)
    return float(value)


def _condition(body: Mapping[str, Any], key: str) -> Condition | None:
    return _Conditions().read(body[key], (key,), 1) if body.get(key) is not None else None


class _Conditions:
    """Reads one condition, counting its tests."""

    def __init__(self) -> None:
        self._tests = 0

    def read(self, item: Any, path: Path, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise QueryError(f"more than {MAX_DEPTH} conditions inside each other", path)
        if not isinstance(item, Mapping):
            raise QueryError(f"expected a condition, e.g. {{'column': 'age', 'ge': 18}}, got {_kind(item)}", path)
        if "column" in item:
            return self._test(item, path)
        if len(item) != 1:
            raise QueryError("expected one of 'and', 'or', 'not', or a 'column' with a test", path)
        ((key, value),) = item.items()
        if key == "not":
            return Not(self.read(value, (*path, key), depth + 1))
        if key not in ("and", "or"):
            raise QueryError(
                f"unknown condition '{shown(str(key))}'{did_you_mean(str(key), ('and', 'or', 'not'))}", path
            )
        if not isinstance(value, list | tuple) or not value:
            raise QueryError("expected a list of conditions, with at least one", (*path, key))
        items = tuple(self.read(each, (*path, key, index), depth + 1) for index, each in enumerate(value))
        return Junction(key == "and", items)

    def _test(self, item: Mapping[str, Any], path: Path) -> Test:
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise QueryError(f"more than {MAX_TESTS} tests in one condition", path)
        body = _object(item, path, ("column", *TESTS))
        operators = [key for key in body if key != "column"]
        if len(operators) != 1:
            raise QueryError(f"a column has one test, got {len(operators)}: join several with 'and'", path)
        column = _text(body["column"], (*path, "column"), "a column's name")
        return Test(column, operators[0], body[operators[0]], (*path, operators[0]))


def _order(item: Any, path: Path) -> Order:
    if isinstance(item, str):
        return Order(_text(item, path, "a name"), False, path)
    body = _object(item, path, ("asc", "desc"))
    if len(body) != 1:
        raise QueryError("expected a name, or one of {'asc': name} and {'desc': name}", path)
    ((key, name),) = body.items()
    return Order(_text(name, (*path, key), "a name"), key == "desc", path)


def _page(item: Any) -> Page:
    body = _object(item, ("page",), ("size", "after"))
    size = _count(body.get("size"), ("page", "size"), 1)
    after = body.get("after")
    if size > MAX_PAGE:
        raise QueryError(f"a page has at most {MAX_PAGE} rows: stream the answer instead", ("page", "size"))
    if after is not None and (not isinstance(after, str) or len(after) > MAX_CURSOR):
        raise QueryError("expected the cursor of an earlier page", ("page", "after"))
    return Page(size, after)


def _kind(value: Any) -> str:
    """What a JSON value is, for a message; never all of a long one."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {shown(str(value), 40)}"
        case str():
            return f"the text '{shown(value, 40)}'"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return f"a {type(value).__name__}"
