"""What a spec says of log files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from millrace.connectors.log.time_layout import EPOCHS, layouts_of
from millrace.spec.connector import Options
from millrace.spec.shape.fields import ColumnName, Part, TypeText
from millrace.spec.types import Column, DataType, Kind, column
from millrace.spec.units import Size

_TIMES = frozenset({Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ})
_NESTED_PARTS = frozenset(Kind) - {Kind.DATE, Kind.BINARY, Kind.MAP}


class Format(StrEnum):
    """How a line is written."""

    COMBINED = "combined"
    JSON = "json"
    CSV = "csv"
    REGEX = "regex"


class Compression(StrEnum):
    """How a file is compressed."""

    AUTO = "auto"
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class Invalid(StrEnum):
    """What becomes of a line with bytes that are not of the encoding."""

    DIRTY = "dirty"
    REPLACE = "replace"


class Which(StrEnum):
    """Which lines a run reads."""

    ALL = "all"
    NEW = "new"


class LogField(Part):
    """One column: its type and, for dates and times, how they are written."""

    type: TypeText = Field(
        default=DataType(Kind.STRING), description="The column's type.", examples=["timestamp", "bigint"]
    )
    format: str = Field(
        default="",
        description="How a date or time is written: strptime directives, `iso`, or as a number `epoch`, `epoch_ms`,"
        " `epoch_us`. By default `iso`, and %Y-%m-%d for a date.",
        examples=["%d/%b/%Y:%H:%M:%S %z", "epoch_ms"],
    )
    zone: str = Field(
        default="UTC",
        description="The time zone of a `timestamp` that is written without one.",
        examples=["Europe/Berlin"],
    )
    null: tuple[str, ...] | None = Field(
        default=None,
        description="Texts that mean null in this column, instead of the option `null`.",
        examples=[["-", "N/A"]],
    )

    @model_validator(mode="after")
    def _format_and_zone_fit(self) -> LogField:
        if self.format and self.type.kind not in _TIMES:
            raise ValueError(f"`format` is for dates and times, not for {self.type}: leave it out")
        if self.format and self.format not in EPOCHS:
            layouts_of(self.format)
        if self.zone != "UTC" and self.type.kind is not Kind.TIMESTAMP:
            raise ValueError(f"`zone` is for the type timestamp, not for {self.type}: leave it out")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone '{self.zone}', expected an IANA name such as Europe/Berlin") from None
        return self


def _field(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else value


def _paths(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


FieldOrType = Annotated[LogField, BeforeValidator(_field, json_schema_input_type=TypeText | LogField)]
Paths = Annotated[
    tuple[str, ...],
    BeforeValidator(_paths),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


class LogOptions(Options):
    """Lines of text files, one record a line: on a local disk, or on any file system that Hadoop can read."""

    path: Paths = Field(
        min_length=1,
        description="Files to read: paths or URLs with the wildcards * ? [a-z] {a,b} and ** (any folders); one or a"
        " list. Files that start with _ or . are left out.",
        examples=["/var/log/nginx/access.log*", ["s3a://logs/nginx/2024-05-01/*.gz"]],
    )
    format: Format = Field(
        default=Format.COMBINED,
        description="How a line is written: the combined log format of Apache and nginx, JSON lines, delimited text,"
        " or a pattern.",
        examples=["combined", "json"],
    )
    fields: dict[ColumnName, FieldOrType] = Field(
        default={},
        description="The columns, with a type or with type, format, zone and null. For `json` the fields to read, for"
        " `csv` the columns in order or, with a header, those to read; for `regex` the types of its groups. What has no"
        " type is a string.",
        examples=[{"time": {"type": "timestamp", "format": "epoch_ms"}, "bytes": "bigint", "user": "string"}],
    )
    pattern: str = Field(
        default="",
        description="For `regex`: an RE2 pattern with a named group for each column; it must match the whole line.",
        examples=[r"(?P<time>\S+) (?P<level>[A-Z]+) (?P<message>.*)"],
    )
    header: bool = Field(default=False, description="For `csv`: the first line of each file names the columns.")
    delimiter: str = Field(
        default=",",
        min_length=1,
        max_length=1,
        description="For `csv`: one ASCII character between values.",
        examples=[";", "\t"],
    )
    quote: str = Field(
        default='"', max_length=1, description="For `csv`: one ASCII character around values; empty for no quoting."
    )
    null: tuple[str, ...] | None = Field(
        default=None,
        description="Texts that mean null in every column; by default `-` for combined and regex, the empty text for"
        " csv. An empty text is always null in a column that isn't text.",
        examples=[["-", ""]],
    )
    compression: Compression = Field(
        default=Compression.AUTO, description="How files are compressed; `auto` tells by .gz, .zst and the like."
    )
    encoding: str = Field(default="utf-8", description="The files' character encoding.", examples=["latin-1"])
    invalid: Invalid = Field(
        default=Invalid.DIRTY,
        description="A line with invalid bytes is set aside as dirty, or read with U+FFFD in their place.",
    )
    max_line_bytes: Annotated[Size, Field(ge=1, le=64 << 20)] = Field(
        default=1 << 20, description="A longer line is dirty; at most 64MiB.", examples=["64KiB"]
    )
    read: Which = Field(
        default=Which.ALL,
        description="Every run reads `all` lines of the files, or only those that are `new` since the last publish:"
        " files are known again when they have grown, were renamed, or compressed. For `mode: merge` and `append`.",
        examples=["new"],
    )
    allow_empty: bool = Field(
        default=False, description="Whether a path may match no file; the run then reads no rows instead of failing."
    )

    @model_validator(mode="after")
    def _options_fit_the_format(self) -> LogOptions:
        self._check_only_for(Format.REGEX, "pattern")
        self._check_only_for(Format.CSV, "header", "delimiter", "quote")
        match self.format:
            case Format.COMBINED if self.fields:
                raise ValueError("`format: combined` has its own fields: leave `fields` out, or use `format: regex`")
            case Format.JSON if not self.fields:
                raise ValueError("`format: json` needs `fields`: the names of the fields to read, with their types")
            case Format.CSV if not (self.fields or self.header):
                raise ValueError("`format: csv` needs `header: true`, or `fields` with the columns in order")
            case Format.REGEX:
                self._check_pattern()
        self._check_fields()
        return self

    @model_validator(mode="after")
    def _text_can_be_split(self) -> LogOptions:
        for name in ("delimiter", "quote"):
            value = getattr(self, name)
            if value and (not value.isascii() or value in "\r\n"):
                raise ValueError(f"`{name}` must be one ASCII character and no line break, got {value!r}")
        if self.delimiter == self.quote:
            raise ValueError("`delimiter` and `quote` are the same character")
        try:
            line_end = "\n".encode(self.encoding)
        except LookupError:
            raise ValueError(f"unknown encoding '{self.encoding}', expected a name such as utf-8 or latin-1") from None
        if line_end != b"\n":
            raise ValueError(
                f"the encoding '{self.encoding}' can't be split into lines: convert the files to UTF-8 first"
            )
        return self

    def reads_changes_by(self) -> str | None:
        """`read`, when it says so."""
        return "read" if self.read is Which.NEW else None

    @property
    def null_texts(self) -> tuple[str, ...]:
        """The texts that mean null in a column that doesn't say so itself."""
        defaults = {Format.COMBINED: ("-",), Format.REGEX: ("-",), Format.CSV: ("",), Format.JSON: ()}
        return defaults[self.format] if self.null is None else self.null

    def known_columns(self) -> Sequence[Column | str] | None:
        """All columns, but for delimited files whose header tells them."""
        match self.format:
            case Format.COMBINED:
                return COMBINED_COLUMNS
            case Format.REGEX:
                return [Column(name, self._type(name)) for name in self.groups]
            case Format.CSV if not self.fields:
                return None
            case _:
                return [Column(name, self._type(name)) for name in self.fields]

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the pattern's groups, in order."""
        index = re.compile(self.pattern).groupindex
        return tuple(sorted(index, key=lambda name: index[name]))

    def _type(self, name: str) -> DataType:
        return self.fields[name].type if name in self.fields else DataType(Kind.STRING)

    def _check_only_for(self, format_: Format, *names: str) -> None:
        for name in names:
            if name in self.model_fields_set and self.format is not format_:
                raise ValueError(f"`{name}` is for `format: {format_}`, not for `format: {self.format}`")

    def _check_pattern(self) -> None:
        if not self.pattern:
            raise ValueError("`format: regex` needs `pattern`, with a named group (?P<name>…) for each column")
        try:
            compiled = re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"bad pattern: {error}") from None
        if not compiled.groupindex:
            raise ValueError("the pattern has no named group: write (?P<name>…) around each column")
        if compiled.groups > len(compiled.groupindex):
            raise ValueError("the pattern has a group without a name: write (?:…), or (?P<name>…) for a column")
        for name in self.fields:
            if name not in compiled.groupindex:
                known = ", ".join(self.groups)
                raise ValueError(f"`fields` has '{name}', which is no group of the pattern; there are: {known}")
        _check_with_re2(self.pattern)

    def _check_fields(self) -> None:
        for name, field in self.fields.items():
            if not field.type.nested:
                continue
            if self.format is not Format.JSON:
                raise ValueError(f"the field '{name}' has type {field.type}, which only `format: json` can hold")
            if bad := unreadable_in_json(field.type):
                raise ValueError(f"the field '{name}' has type {field.type}: {bad} can't be read inside a JSON field")


def _check_with_re2(pattern: str) -> None:
    """Without Arrow at hand the check waits until the run is planned."""
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
    except ModuleNotFoundError:
        return
    try:
        pc.extract_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ValueError(f"bad pattern for RE2, which has no look-around and no backreferences: {error}") from None


def unreadable_in_json(type_: DataType) -> Kind | None:
    if type_.kind not in _NESTED_PARTS:
        return type_.kind
    return next((bad for part in type_.fields if (bad := unreadable_in_json(part.type))), None)


COMBINED_COLUMNS: Sequence[Column] = (
    column("host", "string"),
    column("ident", "string"),
    column("user", "string"),
    column("time", "timestamp"),
    column("method", "string"),
    column("path", "string"),
    column("protocol", "string"),
    column("status", "int"),
    column("bytes", "bigint"),
    column("referer", "string"),
    column("agent", "string"),
)
