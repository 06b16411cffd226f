"""Named queries: an SQL text of the spec, compiled when its API is published, bound when it is called. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlglot import exp

from millrace.errors import SpecError
from millrace.serving.sql.compile import predicate_over
from millrace.serving.sql.conditions import Resolver, Values
from millrace.serving.sql.dialects import Dialect, Statement, Table, dialect
from millrace.serving.sql.dialects.base import ALIAS, cut
from millrace.serving.sql.faults import QueryError
from millrace.serving.sql.rules import SqlRules
from millrace.serving.sql.shape import Param, Predicate, Ref
from millrace.spec.diagnostics import did_you_mean, shown
from millrace.spec.named_query import parse_named
from millrace.spec.types import Column, DataType, Kind, parse_type

_NAMES = {"text": "string", "varchar": "string", "datetime": "timestamp", "timestamptz": "timestamp"}


@dataclass(frozen=True)
class NamedQuery:
    """`text` is as the spec has it; `parameters` by name, a list as an array; `columns` are what it gives."""

    name: str
    text: str
    parameters: tuple[Column, ...]
    columns: tuple[Column, ...]


def named_queries(definition: Mapping[str, Any], rules: SqlRules) -> dict[str, NamedQuery]:
    """The queries of an API's definition over what it allows. Raises SpecError for one that can't be compiled."""
    return {name: _named(name, body, rules) for name, body in (definition.get("queries") or {}).items()}


def named_statement(
    query: NamedQuery,
    arguments: Mapping[str, Any],
    table: Table,
    dialect_name: str,
    rules: SqlRules,
    limit: int | None,
) -> Statement:
    """The statement for these arguments. Raises QueryError for a wrong or missing one."""
    values = Values(rules.values)
    for name in arguments:
        if all(name != parameter.name for parameter in query.parameters):
            known = [parameter.name for parameter in query.parameters]
            raise QueryError(f"unknown parameter '{shown(name)}'{did_you_mean(name, known)}", ("parameters",))
    for parameter in query.parameters:
        path = ("parameters", parameter.name)
        if parameter.name not in arguments:
            raise QueryError(f"the parameter is missing; it is a {parameter.type}", path)
        value = arguments[parameter.name]
        if parameter.type.kind is Kind.ARRAY:
            values.many(value, parameter.type.fields[0].type, path)
        else:
            values.one(value, parameter.type, path)
    filter_ = None
    if rules.filter is not None:
        stored = {name: Ref(name, type_) for name, type_ in rules.stored.items()}
        filter_ = Resolver(stored, values).predicate(rules.filter)
    pieces = _pieces(query, table, dialect_name, filter_, limit)
    return dialect(dialect_name).bind(pieces, values.found)


def _named(name: str, body: Mapping[str, Any], rules: SqlRules) -> NamedQuery:
    parameters = tuple(Column(key, parse_type(text)) for key, text in (body.get("parameters") or {}).items())
    declared = {key: parse_type(text) for key, text in (body.get("returns") or {}).items()}
    text = str(body["sql"])
    tree = _columns_checked(parse_named(text, [p.name for p in parameters]), name, rules)
    return NamedQuery(name, text, parameters, tuple(_columns(tree, declared, name, rules)))


def _columns_checked(tree: Any, name: str, rules: SqlRules) -> Any:
    aliases = {found.alias.lower() for found in tree.expressions if isinstance(found, exp.Alias)}
    for column in tree.find_all(exp.Column):
        if column.name not in rules.columns and column.name.lower() not in aliases:
            message = f"the query '{name}' of {rules.api} names '{column.name}', which the API doesn't have"
            raise SpecError(f"{message}{did_you_mean(column.name, rules.columns)}")
    return tree


def _columns(tree: Any, declared: Mapping[str, DataType], name: str, rules: SqlRules) -> list[Column]:
    from sqlglot.optimizer.annotate_types import annotate_types

    typed_tree = _qualified(tree.copy(), ALIAS)
    schema: dict[str, object] = {ALIAS: {column: str(type_) for column, type_ in rules.columns.items()}}
    annotated = annotate_types(typed_tree, schema=schema, dialect="spark")
    found: list[Column] = []
    for position, item in enumerate(annotated.expressions):
        if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
            found += [Column(column, type_) for column, type_ in rules.columns.items()]
            continue
        output = item.alias_or_name or f"column_{position + 1}"
        type_ = declared.get(output) or _stored_type(item, rules) or _inferred(item)
        if type_ is None:
            message = f"the query '{name}' of {rules.api} gives '{output}', whose type is not plain from the text"
            raise SpecError(message, hint=f"say it: `returns: {{{output}: double}}`, or write `cast(… as double)`")
        found.append(Column(output, type_))
    return found


def _stored_type(item: Any, rules: SqlRules) -> DataType | None:
    plain = item.this if isinstance(item, exp.Alias) else item
    return rules.columns.get(plain.name) if isinstance(plain, exp.Column) else None


def _inferred(item: Any) -> DataType | None:
    found = item.type
    text = "" if found is None or found.this is exp.DataType.Type.UNKNOWN else found.sql("spark").lower()
    try:
        return parse_type(_NAMES.get(text, text))
    except ValueError:
        return None


def _qualified(tree: Any, table: str) -> Any:
    """Columns that an alias doesn't hide, under the table's one name."""
    aliases = {found.alias.lower() for found in tree.expressions if isinstance(found, exp.Alias)}
    for column in list(tree.find_all(exp.Column)):
        in_output = column.find_ancestor(exp.Order, exp.Having, exp.Group) is None
        if column.table or in_output or column.name.lower() not in aliases:
            column.set("table", exp.to_identifier(table))
    source = tree.find(exp.Table)
    source.set("alias", exp.TableAlias(this=exp.to_identifier(table)))
    return tree


@lru_cache(maxsize=512)
def _pieces(
    query: NamedQuery, table: Table, dialect_name: str, filter_: Predicate | None, limit: int | None
) -> tuple[str | Param, ...]:
    found = dialect(dialect_name)
    params: dict[int, Param] = {}
    tree = _qualified(parse_named(query.text, [p.name for p in query.parameters]), ALIAS)
    _bind_parameters(tree, query, found, params)
    _name_columns(tree, table)
    _read_from(tree, table, found, filter_, params)
    inside = "q"
    for position, item in enumerate(tree.expressions):
        if not isinstance(item, exp.Star) and not item.alias_or_name:
            tree.expressions[position].replace(exp.alias_(item.copy(), f"column_{position + 1}", quoted=True))
    outputs = [
        exp.alias_(
            found.given(exp.column(exp.to_identifier(c.name, quoted=True), table=inside), c.type), f"__{i}", quoted=True
        )
        for i, c in enumerate(query.columns)
    ]
    outer = exp.select(*outputs).from_(tree.subquery(inside))
    if limit is not None:
        outer = outer.limit(limit)
    return tuple(cut(found.text(outer), params))


def _bind_parameters(tree: Any, query: NamedQuery, found: Dialect, params: dict[int, Param]) -> None:
    places = {p.name: (index, p.type) for index, p in enumerate(query.parameters)}
    for placeholder in list(tree.find_all(exp.Placeholder)):
        index, type_ = places[placeholder.name]
        many = type_.kind is Kind.ARRAY
        param = params[index] = Param(index, type_.fields[0].type if many else type_, many)
        parent = placeholder.parent
        if many and isinstance(parent, exp.In):
            parent.replace(found.member(parent.this.copy(), param, negated=False))
        elif many:
            raise SpecError(f"the query '{query.name}' uses the list ':{placeholder.name}' outside of `in (…)`")
        else:
            placeholder.replace(found.value(param))


def _name_columns(tree: Any, table: Table) -> None:
    renamed = dict(table.renamed)
    for column in list(tree.find_all(exp.Column)):
        if column.table == ALIAS and column.name in renamed:
            named = column.parent_select is tree and isinstance(column.parent, exp.Select)
            real = table.column(column.name)
            column.replace(exp.alias_(real, column.name, quoted=True) if named else real)


def _read_from(tree: Any, table: Table, found: Dialect, filter_: Predicate | None, params: dict[int, Param]) -> None:
    source = table.source(found.sqlglot)
    if filter_ is not None:
        rows = exp.select("*").from_(table.source(found.sqlglot)).where(predicate_over(filter_, table, found, params))
        source = rows.subquery(ALIAS)
    tree.find(exp.Table).replace(source)
