"""Messages' values to typed columns, a batch at a time; values that can't be read are marked with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from millrace.connectors.kafka.avro import AvroParser, parse_schema
from millrace.connectors.kafka.options import Envelope, KafkaOptions, MessageFormat
from millrace.connectors.kafka.protobuf import ProtobufParser, parse_descriptor
from millrace.connectors.kafka.texts import decoded
from millrace.connectors.log.arrays import ArrowArray, pc, text_bounds, to_arrow_array, to_flags
from millrace.connectors.log.delimited import DelimitedParser, Dialect
from millrace.connectors.log.json_lines import JsonParser
from millrace.connectors.log.time_layout import ISO, ISO_DATE
from millrace.connectors.log.typed import ParsedLines, TypedField
from millrace.spec.types import Column, Kind

_NEWLINE = 10
_ENVELOPE_BYTES = 5  # a zero byte, and the schema's id in its registry
# A string that is open where a line ends; RE2, so linear in the text.
_BREAK_IN_STRING = r'(?s)^(?:[^"]*"(?:[^"\\\n]|\\.)*")*[^"]*"(?:[^"\\\n]|\\.)*\n'


class ValueParser(Protocol):
    """Parses the values of a batch of messages, binary and without nulls; pure."""

    def parse(self, values: ArrowArray) -> ParsedLines: ...


class LineParser(Protocol):
    """Parses texts without line breaks; pure."""

    def parse(self, lines: ArrowArray) -> ParsedLines: ...


@dataclass(frozen=True)
class RawParser:
    """Values as they are."""

    def parse(self, values: ArrowArray) -> ParsedLines:
        return ParsedLines(pa.RecordBatch.from_arrays([values], ["value"]), ())


@dataclass(frozen=True)
class TextParser:
    """Values that are UTF-8 texts; `json` ones may stand on several lines."""

    lines: LineParser
    json: bool

    def parse(self, values: ArrowArray) -> ParsedLines:
        texts, invalid = decoded(values)
        refused = [(row, "the message is not valid UTF-8") for row in invalid]
        several = self._several_lines(texts)
        if several is not None:
            refused += [(int(row), reason) for row, reason in several]
        if not refused:
            return self.lines.parse(self._one_line(texts))
        good = np.delete(np.arange(len(values)), [row for row, _ in refused])
        parsed = self.lines.parse(self._one_line(texts.take(to_arrow_array(good))))
        return ParsedLines(parsed.batch, sorted([*refused, *((int(good[row]), why) for row, why in parsed.dirty)]))

    def _several_lines(self, texts: ArrowArray) -> list[tuple[int, str]] | None:
        if not _has_breaks(texts):
            return None
        if self.json:
            bad, reason = pc.match_substring_regex(texts, _BREAK_IN_STRING), "a line break inside a JSON string"
        else:
            bad, reason = pc.match_substring(pc.utf8_rtrim(texts, "\r\n"), "\n"), "the message has several lines"
        return [(int(row), reason) for row in np.flatnonzero(to_flags(pc.fill_null(bad, False)))]

    def _one_line(self, texts: ArrowArray) -> ArrowArray:
        if not self.json:
            return pc.utf8_rtrim(texts, "\r\n")
        if _has_breaks(texts):
            return pc.replace_substring(texts, "\n", " ")
        return texts


def _has_breaks(texts: ArrowArray) -> bool:
    """Whether any text has a line break: over all bytes at once, three times as fast as asking text by text."""
    bounds, data = text_bounds(texts)
    return bool((data[bounds[0] : bounds[-1]] == _NEWLINE).any())


def parser_of(options: KafkaOptions, columns: Sequence[Column], schema_file: bytes = b"") -> ValueParser:
    """The parser of the options' format, for these columns of the values."""
    if options.format is MessageFormat.RAW:
        return RawParser()
    skip = _ENVELOPE_BYTES if options.envelope is Envelope.CONFLUENT else 0
    if options.format is MessageFormat.AVRO:
        return AvroParser(parse_schema(schema_file), skip)
    if options.format is MessageFormat.PROTOBUF:
        return ProtobufParser(parse_descriptor(schema_file, options.message or ""), confluent=bool(skip))
    fields = tuple(_field(options, c) for c in columns)
    if options.format is MessageFormat.CSV:
        dialect = Dialect(tuple(c.name for c in columns), options.delimiter)
        return TextParser(DelimitedParser(dialect, fields), json=False)
    return TextParser(JsonParser(fields), json=True)


def _field(options: KafkaOptions, c: Column) -> TypedField:
    declared = (options.row_schema or {}).get(c.name)
    defaults = ("",) if options.format is MessageFormat.CSV else ()
    null = defaults if declared is None or declared.null is None else declared.null
    time_format = declared.format if declared else ""
    if not time_format and c.type.kind in (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMP_NTZ):
        time_format = ISO_DATE if c.type.kind is Kind.DATE else ISO
    return TypedField(c.name, c.type, time_format, declared.zone if declared else "UTC", null)
