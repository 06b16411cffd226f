"""What an asset is in ClickHouse: names, types, tables, and the view that says which version is current. Pure.

    users                       a view: SELECT * FROM the current version's table; its comment is a `Marker`
    users__01jd3k7xw2           the table of one version, never changed once it is sealed; its comment is a `Marker`
    users__01jd3k7xw2__a1f…     what one attempt of a task writes
    users__01jd3k7xw2__p3       what one task has written: the first attempt that ends gets this name

Types: docs/clickhouse.md has the table. A type that doesn't tell its column's type (binary is a String, too) has it in
the column's comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from millrace.connectors.clickhouse.options import ClickHouseOptions
from millrace.spec.types import Column, DataType, Kind, parse_type

_PLAIN: Mapping[Kind, str] = {
    Kind.BOOLEAN: "Bool",
    Kind.TINYINT: "Int8",
    Kind.SMALLINT: "Int16",
    Kind.INT: "Int32",
    Kind.BIGINT: "Int64",
    Kind.FLOAT: "Float32",
    Kind.DOUBLE: "Float64",
    Kind.STRING: "String",
    Kind.BINARY: "String",
    Kind.DATE: "Date32",
    Kind.TIMESTAMP: "DateTime64(6, 'UTC')",
    Kind.TIMESTAMP_NTZ: "DateTime64(6, 'UTC')",
}
_KINDS: Mapping[str, Kind] = {
    "Bool": Kind.BOOLEAN,
    "Int8": Kind.TINYINT,
    "Int16": Kind.SMALLINT,
    "Int32": Kind.INT,
    "Int64": Kind.BIGINT,
    "Float32": Kind.FLOAT,
    "Float64": Kind.DOUBLE,
    "String": Kind.STRING,
    "Date": Kind.DATE,
    "Date32": Kind.DATE,
    "UInt8": Kind.SMALLINT,
    "UInt16": Kind.INT,
    "UInt32": Kind.BIGINT,
    "UUID": Kind.STRING,
    "IPv4": Kind.STRING,
    "IPv6": Kind.STRING,
}
_CONTAINERS = frozenset({Kind.ARRAY, Kind.MAP, Kind.STRUCT})
_WORD = re.compile(r"`((?:[^`\\]|\\.|``)*)`|([A-Za-z_][A-Za-z0-9_]*)")
_ATTEMPT = re.compile(r"__(?:a|p|s)[0-9a-z]+", re.ASCII)
_FORMAT = 1


def quote(name: str) -> str:
    """An identifier as SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def quote_text(text: str) -> str:
    """A string as SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class Marker:
    """What millrace notes in the comment of a table or view, to know its own and what is in it."""

    asset: str
    version: str
    sealed: bool = True
    rows_id: str = ""  # of merge and append: the first version of the line
    number: int = 1  # of merge: counts the versions of the line

    def text(self) -> str:
        found = {"millrace": _FORMAT, **asdict(self)}
        if self.rows_id in ("", self.version):  # the first of its line, or the only one
            del found["rows_id"], found["number"]
        return json.dumps(found)

    @classmethod
    def parse(cls, comment: str) -> Marker | None:
        """None for a comment that is not ours."""
        try:
            found = json.loads(comment)
            if found["millrace"] == _FORMAT:
                line = str(found.get("rows_id", found["version"])), int(found.get("number", 1))
                return cls(str(found["asset"]), str(found["version"]), bool(found["sealed"]), *line)
        except (ValueError, TypeError, KeyError):
            return None
        return None


@dataclass(frozen=True)
class Place:
    """Where one version is: the names of its tables in a database."""

    database: str
    view: str
    asset: str
    version: str
    rows_id: str = ""

    @property
    def table(self) -> str:
        return f"{self.view}__{self.version}"

    def attempt(self, unique: str) -> str:
        return f"{self.table}__a{unique}"

    def part(self, task: str) -> str:
        return f"{self.table}__p{task}"

    def sample(self, unique: str) -> str:
        return f"{self.table}__s{unique}"

    def is_staging(self, name: str) -> bool:
        """Whether a table's name is one that a load of this version gives."""
        return name.startswith(self.table) and _ATTEMPT.fullmatch(name, len(self.table)) is not None

    def is_part(self, name: str) -> bool:
        return self.is_staging(name) and name.startswith(f"{self.table}__p")

    def sql(self, name: str) -> str:
        return f"{quote(self.database)}.{quote(name)}"

    def marker(self, *, sealed: bool, number: int = 1) -> Marker:
        return Marker(self.asset, self.version, sealed, self.rows_id, number)


def clickhouse_type(type_: DataType, *, nullable: bool = True, low_cardinality: bool = False) -> str:
    """The ClickHouse type of a column type. Containers hold no null themselves; scalars in them do, map keys aside."""
    match type_.kind:
        case Kind.ARRAY:
            return f"Array({clickhouse_type(type_.fields[0].type)})"
        case Kind.MAP:
            key, value = type_.fields
            return f"Map({clickhouse_type(key.type, nullable=False)}, {clickhouse_type(value.type)})"
        case Kind.STRUCT:
            return f"Tuple({', '.join(f'{quote(m.name)} {clickhouse_type(m.type)}' for m in type_.fields)})"
        case Kind.DECIMAL:
            plain = f"Decimal({type_.precision}, {type_.scale})"
        case kind:
            plain = _PLAIN[kind]
    found = f"Nullable({plain})" if nullable else plain
    return f"LowCardinality({found})" if low_cardinality else found


def data_type(text: str) -> DataType:
    """The column type that holds every value of a ClickHouse type. Raises ValueError for one that none holds."""
    name, arguments = _call(text)
    match name:
        case "Nullable" | "LowCardinality":
            return data_type(arguments[0])
        case "Array":
            return DataType(Kind.ARRAY, fields=(Column("element", data_type(arguments[0])),))
        case "Map":
            key, value = map(data_type, arguments)
            return DataType(Kind.MAP, fields=(Column("key", key), Column("value", value)))
        case "Tuple":
            return DataType(Kind.STRUCT, fields=tuple(_member(i, a) for i, a in enumerate(arguments, start=1)))
        case "Decimal" if int(arguments[0]) <= 38:
            return DataType(Kind.DECIMAL, int(arguments[0]), int(arguments[1]))
        case "UInt64":
            return DataType(Kind.DECIMAL, 20, 0)
        case "DateTime" | "DateTime64":
            return DataType(Kind.TIMESTAMP)
        case "FixedString":
            return DataType(Kind.BINARY)
        case "Enum8" | "Enum16":
            return DataType(Kind.STRING)
    if name not in _KINDS or arguments:
        raise ValueError(f"no column type holds ClickHouse's {text}")
    return DataType(_KINDS[name])


def column_of(name: str, type_: str, comment: str = "") -> Column:
    """A column as its table describes it. Raises ValueError for a type that no column has."""
    try:
        noted = parse_type(comment)
    except ValueError:
        return Column(name, data_type(type_))
    return Column(name, noted)


def filled_columns(columns: Sequence[Column], options: ClickHouseOptions) -> frozenset[str]:
    """The columns that can't hold nulls: those of the sorting key, the partition key, the TTL and the engine."""
    expressions = [options.ttl or "", options.engine]
    keys: tuple[str, ...] = (options.interval,) if options.interval else ()
    if not _is_on(options.settings.get("allow_nullable_key", False)):
        expressions.append(options.partition_by or "")
        keys += options.order_by
    words = {a or b for text in expressions for a, b in _WORD.findall(text)}
    return frozenset(c.name for c in columns if c.name in words or c.name in keys)


def check_columns(columns: Sequence[Column], options: ClickHouseOptions) -> None:
    """Raises ValueError, for a person, when the options name columns that are not there or can't be what is asked."""
    types = {column.name: column.type for column in columns}
    if not columns:
        raise ValueError("a table needs at least one column")
    for option, names in options.referenced_columns().items():
        for name in names:
            if name not in types:
                raise ValueError(f"{option} names the column '{name}', but there are {', '.join(types)}")
    for name in options.order_by:
        if types[name].kind in (Kind.MAP, Kind.STRUCT):
            raise ValueError(f"order_by names '{name}', but a {types[name].kind} can't be sorted by")
    for name in options.low_cardinality:
        if types[name].kind not in (Kind.STRING, Kind.BINARY):
            raise ValueError(f"low_cardinality names '{name}', but that is a {types[name]}, not a string")


def create_table(
    place: Place,
    columns: Sequence[Column],
    options: ClickHouseOptions,
    engine: str | None = None,
    hidden: Sequence[str] = (),
) -> str:
    """The statement that makes the empty table of a version. Its TTL comes with the publish: see `modify_ttl`.

    `engine` in place of the options' one; `hidden` are definitions of columns besides.
    """
    lines = ",\n    ".join([*(column_definition(column, columns, options) for column in columns), *hidden])
    parts = [f"CREATE TABLE {place.sql(place.table)} (\n    {lines}\n)", f"ENGINE = {engine or options.engine}"]
    if options.partition_by:
        parts.append(f"PARTITION BY {options.partition_by}")
    if options.primary_key:
        parts.append(f"PRIMARY KEY {_names(options.primary_key)}")
    parts.append(f"ORDER BY {_names(options.order_by)}")
    if options.settings:
        parts.append("SETTINGS " + ", ".join(f"{name} = {_value(value)}" for name, value in options.settings.items()))
    parts.append(f"COMMENT {quote_text(place.marker(sealed=False).text())}")
    return "\n".join(parts)


def modify_ttl(place: Place, ttl: str) -> str:
    """The statement that lets rows of a version's table expire."""
    return f"ALTER TABLE {place.sql(place.table)} MODIFY TTL {ttl}"


def note(place: Place, marker: Marker) -> str:
    """The statement that notes what a version's table is, and whether it is complete."""
    return f"ALTER TABLE {place.sql(place.table)} MODIFY COMMENT {quote_text(marker.text())}"


def replace_view(place: Place, query: str, marker: Marker) -> str:
    """The one atomic statement that makes a version current.

    Readers need rights on the view only, as on a table: it reads with the rights of who published it.
    """
    return (
        f"CREATE OR REPLACE VIEW {place.sql(place.view)}\n"
        "DEFINER = CURRENT_USER SQL SECURITY DEFINER\n"
        f"AS {query}\n"
        f"COMMENT {quote_text(marker.text())}"
    )


def comparable_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns by which a row can be looked for exactly: no floats and no containers, if there are others."""
    scalars = [c for c in columns if c.type.kind not in _CONTAINERS]
    exact = [c for c in scalars if c.type.kind not in (Kind.FLOAT, Kind.DOUBLE)]
    return tuple(exact or scalars)


def column_definition(column: Column, columns: Sequence[Column], options: ClickHouseOptions) -> str:
    """A column of a version's table, as CREATE TABLE and ADD COLUMN have it."""
    filled = filled_columns(columns, options)
    type_ = clickhouse_type(
        column.type, nullable=column.name not in filled, low_cardinality=column.name in options.low_cardinality
    )
    codec = f" CODEC({options.codec[column.name]})" if column.name in options.codec else ""
    comment = "" if _same(data_type(type_), column.type) else f" COMMENT {quote_text(str(column.type))}"
    return f"{quote(column.name)} {type_}{comment}{codec}"


def _same(one: DataType, other: DataType) -> bool:
    return str(one) == str(other)


def _names(columns: Iterable[str]) -> str:
    return f"({', '.join(map(quote, columns))})"


def _value(value: str | int | float | bool) -> str:
    if isinstance(value, str):
        return quote_text(value)
    return str(int(value) if isinstance(value, bool) else value)


def _is_on(value: object) -> bool:
    return str(value).lower() in ("1", "true")


def _call(text: str) -> tuple[str, list[str]]:
    """`Map(String, Array(Int8))` as its name and arguments; names in backticks and texts in quotes stay whole."""
    text = text.strip()
    name, bracket, rest = text.partition("(")
    if not bracket:
        return text, []
    if not rest.endswith(")"):
        raise ValueError(f"'{text}' is not a ClickHouse type")
    arguments, depth, start, inside = [], 0, 0, rest[:-1]
    for token in re.finditer(r"`(?:[^`\\]|\\.|``)*`|'(?:[^'\\]|\\.|'')*'|[(),]", inside):
        depth += (token.group() == "(") - (token.group() == ")")
        if token.group() == "," and not depth:
            arguments.append(inside[start : token.start()].strip())
            start = token.end()
    return name, [*arguments, inside[start:].strip()]


def _member(position: int, text: str) -> Column:
    """A tuple's element: `name type`, or a type alone, which is then called by its position."""
    named = re.match(r"(?:`((?:[^`\\]|\\.|``)*)`|([A-Za-z_][A-Za-z0-9_]*))\s+(?=\S)", text)
    if named is None:
        return Column(str(position), data_type(text))
    name = named.group(2) or re.sub(r"\\(.)|`(`)", r"\1\2", named.group(1))
    return Column(name, data_type(text[named.end() :]))
