"""What a task does with the lines that it was given: bound, decode, parse, report to the gate, pass on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from millrace.connectors.base import DirtyRow, Gate
from millrace.connectors.channel import timed
from millrace.connectors.log.arrays import ArrowArray
from millrace.connectors.log.combined import CombinedParser
from millrace.connectors.log.delimited import DelimitedParser, Dialect, split_header
from millrace.connectors.log.json_lines import JsonParser
from millrace.connectors.log.lines import RawLines, decode_lines, drop_long_lines, refuse_lines
from millrace.connectors.log.local import Piece, compression_of, read_lines
from millrace.connectors.log.options import Format, Invalid, LogOptions
from millrace.connectors.log.patterns import PatternParser
from millrace.connectors.log.typed import ParsedLines, TypedField
from millrace.errors import SourceError


class LineParser(Protocol):
    """Parses a batch of lines into typed columns; pure."""

    def parse(self, lines: ArrowArray) -> ParsedLines: ...


@dataclass(frozen=True)
class LineReading:
    """How the lines of a run are read; picklable. `file_columns`: for `csv`, all columns of the files in order."""

    options: LogOptions
    fields: tuple[TypedField, ...]
    file_columns: tuple[str, ...]

    def parser(self) -> LineParser:
        """The parser of the options' format. Raises SourceError for a pattern that RE2 refuses."""
        match self.options.format:
            case Format.COMBINED:
                return CombinedParser(self.fields)
            case Format.JSON:
                return JsonParser(self.fields)
            case Format.CSV:
                return DelimitedParser(
                    Dialect(self.file_columns, self.options.delimiter, self.options.quote), self.fields
                )
            case Format.REGEX:
                return PatternParser(self.options.pattern, self.fields)

    def read_pieces(self, pieces: Sequence[Piece], gate: Gate) -> Iterator[pa.RecordBatch]:
        """The rows of local pieces, through the gate."""
        yield from self.read(self._lines_of(pieces), gate)

    def read(self, blocks: Iterable[RawLines], gate: Gate) -> Iterator[pa.RecordBatch]:
        """The rows of some blocks of lines, through the gate: a batch for each block that has any."""
        parser = self.parser()
        for waited_s, block in timed(blocks):
            batch, dirty = self.parse_block(block, parser)
            gate.admit(batch.num_rows + len(dirty), block.size)
            gate.done(batch.num_rows, block.size, dirty, waited_s)
            if batch.num_rows:
                yield batch

    def parse_block(self, block: RawLines, parser: LineParser) -> tuple[pa.RecordBatch, Sequence[DirtyRow]]:
        """The typed rows of a block, and the rows to set aside. Raises SourceError for a header that is another."""
        options = self.options
        lines = drop_long_lines(block, options.max_line_bytes)
        lines, texts = decode_lines(lines, options.encoding, replace_invalid=options.invalid is Invalid.REPLACE)
        if options.header:
            lines, texts = self._without_header(lines, texts)
        parsed = parser.parse(texts)
        return parsed.batch, (*lines.dirty, *refuse_lines(lines, parsed.dirty))

    def _lines_of(self, pieces: Sequence[Piece]) -> Iterator[RawLines]:
        options = self.options
        for piece in pieces:
            compression = compression_of(piece.file.path, options.compression)
            yield from read_lines(piece, compression, options.max_line_bytes)

    def _without_header(self, lines: RawLines, texts: ArrowArray) -> tuple[RawLines, ArrowArray]:
        """Drop a file's first line, which must name the same columns as the plan."""
        place = lines.place
        if place.offset or place.split_start or not len(texts):
            return lines, texts
        first = texts[0].as_py()
        try:
            found = split_header(first, self.options.delimiter, self.options.quote)
        except ValueError as error:
            raise SourceError(f"{place.path} has a header that can't be read: {error}", hint=_HEADER_HINT) from error
        if found != self.file_columns:
            raise SourceError(
                f"{place.path} has the columns {', '.join(found)}; the run has planned {', '.join(self.file_columns)}",
                hint=_HEADER_HINT,
            )
        return lines.keep(np.arange(1, len(texts)), ()), texts.slice(1)


_HEADER_HINT = "the files of one source have the same header; read others as a source of their own"
