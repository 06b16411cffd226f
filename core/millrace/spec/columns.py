"""The columns that flow from the source through the transform, followed as far as a spec tells them.

Pure: a step and the columns before it go in, the columns after it and what is wrong come out. Paths of problems are
relative to the step, the check or the entry. A name that is not there is reported once and then taken as if it were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from millrace.spec import model
from millrace.spec.connector import Options
from millrace.spec.diagnostics import Problem, did_you_mean, shown
from millrace.spec.expectations import COLUMN_ARGUMENTS
from millrace.spec.named_query import parse_named
from millrace.spec.sql import INPUT, Expression, Output, Query, Reference, SqlError, Star, parse_expression, parse_query
from millrace.spec.types import Column, DataType, Kind

Columns: TypeAlias = Mapping[str, DataType | None]
"""Names in their order, with the type where it is known."""


def source_columns(options: Options) -> Columns | None:
    """What the source yields; None when that shows only at plan time."""
    known = options.known_columns()
    if known is None:
        return None
    return {c.name if isinstance(c, Column) else c: c.type if isinstance(c, Column) else None for c in known}


def missing(name: str, columns: Columns) -> str:
    """The message for a column that isn't there."""
    return f"unknown column '{shown(name)}'{did_you_mean(name, columns)}"


def absent(columns: Columns | None, names: Sequence[str], *path: str | int) -> Iterator[Problem]:
    """A problem for each name that is not among the columns; none when the columns are unknown."""
    for index, name in enumerate(names):
        if columns is not None and name not in columns:
            yield Problem((*path, index), missing(name, columns))


def follow(step: model.Step, columns: Columns | None) -> tuple[Columns | None, list[Problem]]:
    """The columns after a step, and what is wrong with the step."""
    match step:
        case model.Where(expression):
            return columns, _parsed(expression, columns, "where")[1]
        case model.Select(names):
            return _selected(names, columns), list(absent(columns, names, "select"))
        case model.Derive(expressions):
            return _derived(expressions, columns)
        case model.Rename(names):
            return _renamed(names, columns)
        case model.Cast(types):
            return _retyped(columns, types), list(_keys(columns, types, "cast"))
        case model.Dedupe(key, _, by):
            problems = list(absent(columns, key, "dedupe", "key"))
            return columns, problems + _one(columns, by, "dedupe", "by")
        case model.Mask(names, _):
            masked = dict.fromkeys(names, DataType(Kind.STRING))
            return _retyped(columns, masked), list(absent(columns, names, "mask", "columns"))
        case model.Sql(query):
            return _queried(query, columns)


def check_problems(check: model.Check, columns: Columns | None) -> list[Problem]:
    """The columns that a check names and the stage doesn't have."""
    match check:
        case model.NotNull(names):
            return list(absent(columns, names, "not_null", "columns"))
        case model.Unique(names):
            return list(absent(columns, names, "unique", "columns"))
        case model.Between(name):
            return _one(columns, name, "between", "column")
        case model.InSet(name):
            return _one(columns, name, "in_set", "column")
        case model.RowCount():
            return []
        case model.Fresh(name):
            return _one(columns, name, "fresh", "column")
        case model.SqlCheck(_, query, _, subject):
            return _checked(query, subject, columns)
        case model.Drift(_, names):
            return list(absent(columns, names, "drift", "columns"))
        case model.Reconcile(_, names):
            return list(absent(columns, names, "reconcile", "sum"))
        case model.Expectation(name, arguments):
            found: list[Problem] = []
            for argument in COLUMN_ARGUMENTS:
                value = arguments.get(argument)
                if isinstance(value, list | tuple):
                    found += absent(columns, [str(v) for v in value], name, argument)
                elif isinstance(value, str):
                    found += _one(columns, value, name, argument)
            return found


def option_problems(options: Options, columns: Columns | None) -> Iterator[Problem]:
    """The columns that a connector's options refer to and that are not there; paths are relative to the options."""
    for option, names in options.referenced_columns().items() if columns is not None else ():
        for name in names:
            if columns is not None and name not in columns:
                yield Problem(tuple(option.split(".")), missing(name, columns), name=name)


def _one(columns: Columns | None, name: str | None, *path: str | int) -> list[Problem]:
    if columns is None or name is None or name in columns:
        return []
    return [Problem(path, missing(name, columns))]


def _keys(columns: Columns | None, names: Iterable[str], *path: str | int) -> Iterator[Problem]:
    for name in names:
        if columns is not None and name not in columns:
            yield Problem((*path, name), missing(name, columns), on_key=True)


def _selected(names: Sequence[str], columns: Columns | None) -> Columns:
    return {name: (columns or {}).get(name) for name in names}


def _retyped(columns: Columns | None, types: Mapping[str, DataType]) -> Columns | None:
    return None if columns is None else {**columns, **types}


def _parsed(text: str, columns: Columns | None, *path: str | int) -> tuple[Expression, list[Problem]]:
    try:
        found = parse_expression(text)
    except SqlError as error:
        return Expression(()), [Problem(path, str(error), offset=error.offset, length=error.length)]
    return found, list(_unknown(found.references, columns, *path))


def _unknown(references: Iterable[Reference], columns: Columns | None, *path: str | int) -> Iterator[Problem]:
    """Spark finds columns in any case of letters, and so does this."""
    missed = [r for r in references if r.name not in columns] if columns is not None else []
    lowered = {name.lower() for name in columns or ()} if missed else set()
    for reference in missed:
        if columns is not None and reference.name.lower() not in lowered:
            message = missing(reference.name, columns)
            yield Problem(path, message, offset=reference.offset, length=reference.length)


def _derived(expressions: Mapping[str, str], columns: Columns | None) -> tuple[Columns | None, list[Problem]]:
    """A new name that differs from an old one in the case of its letters only takes that one's place, as in Spark."""
    problems: list[Problem] = []
    found = None if columns is None else dict(columns)
    lowered = {name.lower(): name for name in columns or ()}
    for name, text in expressions.items():
        expression, wrong = _parsed(text, found, "derive", name)
        problems += wrong
        if found is not None:
            old = lowered.get(name.lower(), name)
            if old != name:
                found = {name if c == old else c: t for c, t in found.items()}
            found[name] = expression.type
            lowered[name.lower()] = name
    return found, problems


def _renamed(names: Mapping[str, str], columns: Columns | None) -> tuple[Columns | None, list[Problem]]:
    problems = list(_keys(columns, names, "rename"))
    taken = {c.lower() for c in columns or () if c not in names}
    for old, new in names.items():
        if new.lower() in taken:
            problems.append(Problem(("rename", old), f"there is already a column '{shown(new)}'"))
        taken.add(new.lower())
    if columns is None:
        return None, problems
    missed = {new: None for old, new in names.items() if old not in columns}
    return {**{names.get(c, c): t for c, t in columns.items()}, **missed}, problems


def query_problems(text: str, parameters: Collection[str], columns: Columns | None) -> list[Problem]:
    """What is wrong with a named query over `input`; paths lead to the key `sql`."""
    try:
        parse_named(text, parameters)
    except SqlError as error:
        return [Problem(("sql",), str(error), offset=error.offset, length=error.length)]
    return _queried(text, columns)[1]


def _queried(text: str, columns: Columns | None) -> tuple[Columns | None, list[Problem]]:
    try:
        query = parse_query(text)
    except SqlError as error:
        return None, [Problem(("sql",), str(error), offset=error.offset, length=error.length)]
    given = _given(query, columns)
    problems = list(_unknown(query.references or (), columns, "sql"))
    if given is None:
        return None, problems
    counts = Counter(name.lower() for name, _ in given)
    twice = next((name for name, _ in given if counts[name.lower()] > 1), None)
    if twice is not None:
        hint = f": write * except ({twice})" if any(isinstance(o, Star) for o in query.outputs or ()) else ""
        problems.append(Problem(("sql",), f"this query gives two columns named '{shown(twice)}'{hint}"))
    return dict(given), problems


def _checked(text: str, subject: model.Subject, columns: Columns | None) -> list[Problem]:
    path = ("sql", "query")
    try:
        query = parse_query(text, (subject.value, INPUT))
    except SqlError as error:
        return [Problem(path, str(error), offset=error.offset, length=error.length)]
    return list(_unknown(query.references or (), columns, *path))


def _given(query: Query, columns: Columns | None) -> list[tuple[str, DataType | None]] | None:
    """The query's columns in their order; a name may stand twice."""
    if query.outputs is None:
        return None
    found: list[tuple[str, DataType | None]] = []
    lowered = {name.lower(): type_ for name, type_ in (columns or {}).items()}
    for output in query.outputs:
        match output:
            case Star(dropped):
                if columns is None:
                    return None
                found += [(name, type_) for name, type_ in columns.items() if name.lower() not in dropped]
            case Output(name, type_, source):
                found.append((name, lowered.get(source.lower()) if source is not None else type_))
    return found
