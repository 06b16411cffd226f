"""Answers of SQL APIs in each format.

| format | a table |
|---|---|
| JSON | `{"version": …, "columns": [{"name": …, "type": …}], "rows": [{…}], "next": cursor or null}` |
| Arrow, NDJSON, CSV | as a stream: see `millrace.serving.sql.stream` |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from millrace.connectors.base import Field
from millrace.serving.call import Table
from millrace.serving.formats.accept import Format
from millrace.serving.formats.values import json_plain
from millrace.serving.refusals import TooLarge
from millrace.serving.sql.stream import ArrowEncoder, CsvEncoder, Encoder, NdjsonEncoder, Summary, encode_whole
from millrace.spec.types import Column
from millrace.spec.units import parse_size

#: What a SQL API's answers can be had in; the first one when a request takes anything.
TABLES = (Format.JSON, Format.ARROW, Format.NDJSON, Format.CSV)
STREAMS = (Format.NDJSON, Format.ARROW, Format.CSV)
ENCODERS: Mapping[Format, type[Encoder]] = {
    Format.ARROW: ArrowEncoder,
    Format.NDJSON: NdjsonEncoder,
    Format.CSV: CsvEncoder,
}


def encode_table(table: Table, version: str, wanted: Format, mark: str = "") -> bytes:
    """A whole answer; `mark` (see `Origin.mark`) stands as `origin` in JSON."""
    import orjson

    columns = [Column(name, type_) for name, type_ in zip(table.columns, table.types, strict=True)]
    if wanted is not Format.JSON:
        return encode_whole(table.rows, ENCODERS[wanted](columns), Summary())
    plain = json_plain([Field(column, number) for number, column in enumerate(columns, start=1)])
    body = {
        "version": version,
        "columns": [{"name": column.name, "type": str(column.type)} for column in columns],
        "rows": [plain(row) for row in _records(table)],
        "next": table.cursor,
        **({"origin": mark} if mark else {}),
    }
    return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)


def within(limits: Mapping[str, object], body: bytes) -> bytes:
    """The body, if it is no larger than `limits.size` of its API. Raises TooLarge."""
    size = limits.get("size")
    if size is not None and len(body) > parse_size(str(size)):
        hint = "ask for less, take pages, or stream the answer"
        raise TooLarge(f"the answer has {len(body)} bytes, of at most {size}", hint=hint)
    return body


def _records(table: Table) -> Iterator[Mapping[str, object]]:
    return (dict(zip(table.columns, row, strict=True)) for row in table.rows)
