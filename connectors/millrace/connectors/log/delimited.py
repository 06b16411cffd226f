"""Delimited lines (CSV, TSV, …) by Arrow's CSV reader, held to one record a line.

RFC 4180 quoting, but for a line break inside quotes. Arrow closes an open quote only at the next one, lines later, so
its rows are counted: where the count is wrong, the batch is read again around the lines with an open quote.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as arrow_csv

from millrace.connectors.log.arrays import ArrowArray
from millrace.connectors.log.lines import joined
from millrace.connectors.log.salvage import Refused, salvage
from millrace.connectors.log.typed import ParsedLines, TypedField, assemble

_SMALLEST_BLOCK = 1 << 12


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written. `columns` are all of its columns in order; an empty `quote` is no quoting."""

    columns: tuple[str, ...]
    delimiter: str = ","
    quote: str = '"'


class DelimitedParser:
    """Parses delimited lines; columns of the file that are no field are left out.

    A quoted text is never null; another is when it is one of the null texts of any field.
    """

    def __init__(self, dialect: Dialect, fields: Sequence[TypedField]) -> None:
        self._dialect = dialect
        # The reader tells quoted texts from null ones, so no text stands for null afterwards.
        self._fields = [replace(field, null=()) for field in fields]
        self._schema = pa.schema([(field.name, pa.string()) for field in fields])
        null_texts = sorted({text for field in fields for text in field.null})
        self._convert_options = arrow_csv.ConvertOptions(
            column_types=self._schema,
            include_columns=self._schema.names,
            null_values=null_texts,
            strings_can_be_null=bool(null_texts),
            quoted_strings_can_be_null=False,
            check_utf8=False,
        )

    def parse(self, lines: ArrowArray) -> ParsedLines:
        """`lines`: valid UTF-8 strings without nulls. Another number of columns or an open quote makes a line dirty."""
        found = salvage(lines, self._read, self._has_open_quote, self._reason)
        columns, rows = found.columns(self._schema)
        return assemble(self._fields, columns, rows, found.dirty)

    def _read(self, lines: ArrowArray) -> tuple[pa.Table, Refused]:
        refused: list[tuple[int, str]] = []

        def refuse(row: Any) -> Literal["skip"]:
            refused.append((row.number - 1, f"{row.actual_columns} columns, expected {row.expected_columns}"))
            return "skip"

        dialect, text = self._dialect, joined(lines)
        source: Any = pa.BufferReader(text)
        table = arrow_csv.read_csv(
            source,
            read_options=arrow_csv.ReadOptions(
                column_names=list(dialect.columns), use_threads=False, block_size=max(text.size, _SMALLEST_BLOCK)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char=dialect.quote or False,
                double_quote=bool(dialect.quote),
                newlines_in_values=False,
                ignore_empty_lines=False,
                invalid_row_handler=refuse,
            ),
            convert_options=self._convert_options,
        )
        if table.num_rows + len(refused) != len(lines) or _ends_in_open_quote(table):
            raise pa.ArrowInvalid("open quote")
        return table, refused

    def _has_open_quote(self, line: str) -> bool:
        quote = self._dialect.quote
        if quote not in line:
            return False
        try:
            next(csv.reader([line], delimiter=self._dialect.delimiter, quotechar=quote, strict=True))
        except csv.Error:
            return True
        return False

    def _reason(self, _line: ArrowArray, _error: Exception) -> str:
        return f"a {self._dialect.quote} is opened and not closed in the line"


def split_header(line: str, delimiter: str, quote: str) -> tuple[str, ...]:
    """The column names in a header line. Raises ValueError for an empty name, or one that stands there twice."""
    reader = csv.reader([line], delimiter=delimiter, quotechar=quote, strict=True) if quote else [line.split(delimiter)]
    try:
        names = tuple(name.strip() for name in next(iter(reader)))
    except csv.Error as error:
        raise ValueError(str(error)) from error
    for name in names:
        if not name:
            raise ValueError("a column has no name")
        if names.count(name) > 1:
            raise ValueError(f"two columns are named '{name}'")
    return names


def _ends_in_open_quote(table: pa.Table) -> bool:
    """An open quote in the last line takes that line's end into a value."""
    if not table.num_rows:
        return False
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    return any(value is not None and "\n" in value for value in last.values())
