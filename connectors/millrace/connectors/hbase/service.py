"""The calls of HBase's Thrift service that millrace makes, as bytes, and their replies. Pure.

https://github.com/apache/hbase/blob/master/hbase-thrift/src/main/resources/org/apache/hadoop/hbase/thrift/Hbase.thrift
(the service of Thrift 1, which `hbase thrift start` runs).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.connectors.hbase.endpoint import Refusal
from millrace.connectors.wire import thrift
from millrace.connectors.wire.thrift import I32, I64, Incomplete, NotThrift, Reader

Cells = dict[bytes, bytes]
FOREVER = 0x7FFF_FFFF

_EXCEPTIONS = {1: "IOError", 2: "IllegalArgument", 3: "AlreadyExists"}
_FRAME = struct.Struct(">I")
_SUCCESS = 0
_ROW_HEAD = b"\x0b\x00\x01"
_COLUMNS_HEAD = b"\x0d\x00\x02\x0b\x0c"
_VALUE_HEAD = b"\x0b\x00\x01"
_STAMP_SIZE = 3 + 8 + 1  # the field's head, the timestamp, the end of the cell
_SIZE = struct.Struct(">i")


@dataclass(frozen=True)
class Region:
    """A region's first key, and the first one behind it; empty where there is no bound."""

    start: bytes
    end: bytes


@dataclass(frozen=True)
class Scan:
    """What a scanner goes over: `[start, stop)`, or from `start` backwards to before `stop` when `reverse`."""

    start: bytes = b""
    stop: bytes = b""
    filter: str = ""
    reverse: bool = False
    caching: int = 1000
    cached: bool = True  # whether the blocks that it reads stay in the region servers' caches

    def to_struct(self) -> thrift.Struct:
        return {
            1: self.start or None,
            2: self.stop or None,
            5: I32(self.caching),
            6: self.filter or None,
            9: True if self.reverse else None,
            10: None if self.cached else False,
        }


def create_table(table: str, families: Sequence[str]) -> bytes:
    """A table that keeps one version of each cell, with Bloom filters by row."""
    described = [
        {1: f"{family}:", 2: I32(1), 3: "NONE", 4: False, 5: "ROW", 8: True, 9: I32(FOREVER)} for family in families
    ]
    return thrift.call("createTable", {1: table, 2: described})


def on_table(name: str, table: str) -> bytes:
    """A call whose one argument is a table: enableTable, disableTable, deleteTable, isTableEnabled, getTableRegions."""
    return thrift.call(name, {1: table})


def table_names() -> bytes:
    return thrift.call("getTableNames", {})


def get_rows(table: str, rows: Sequence[bytes]) -> bytes:
    return thrift.call("getRows", {1: table, 2: list(rows)})


def mutate_row(table: str, row: bytes, cells: Mapping[bytes, bytes | None]) -> bytes:
    """Set cells, and remove those whose value is None; at once, and for the server's own time."""
    return thrift.call("mutateRow", {1: table, 2: row, 3: [_mutation(*cell) for cell in cells.items()]})


def check_and_put(table: str, row: bytes, column: bytes, expected: bytes | None, value: bytes) -> bytes:
    """Set a cell if it holds what is expected; None: if there is none."""
    return thrift.call("checkAndPut", {1: table, 2: row, 3: column, 5: expected, 6: _mutation(column, value)})


def open_scanner(table: str, scan: Scan) -> bytes:
    return thrift.call("scannerOpenWithScan", {1: table, 2: scan.to_struct()})


def scanner_rows(scanner: int, rows: int) -> bytes:
    return thrift.call("scannerGetList", {1: I32(scanner), 2: I32(rows)})


def close_scanner(scanner: int) -> bytes:
    return thrift.call("scannerClose", {1: I32(scanner)})


def mutate_rows_head(table: str, rows: int) -> bytes:
    """What stands before the `BatchMutation` structs of a mutateRowsTs."""
    head = thrift.call_head("mutateRowsTs") + thrift.field_head(thrift.BINARY, 1) + thrift.binary(table.encode())
    return head + thrift.field_head(thrift.LIST, 2) + struct.pack(">bi", thrift.STRUCT, rows)


def mutate_rows_tail(stamp_ms: int) -> bytes:
    """What stands behind them."""
    return thrift.struct_bytes({3: I64(stamp_ms)})


def framed(payload: bytes | bytearray) -> bytes:
    return _FRAME.pack(len(payload)) + payload


def regions_of(result: Any) -> list[Region]:
    """What getTableRegions gives, in the order of the regions."""
    return sorted((Region(region.get(1, b""), region.get(2, b"")) for region in result), key=lambda found: found.start)


def _mutation(column: bytes, value: bytes | None) -> thrift.Struct:
    return {1: True, 2: column} if value is None else {2: column, 3: value}


@dataclass
class Reply:
    """One reply, read from a buffer that grows: `read` it again until it says that it is whole.

    Its rows are taken one by one, so that a long reply is not read from its beginning each time.
    """

    framed: bool = False
    result: Any = None
    size: int = 0  # bytes of the buffer that it took
    _rows: list[tuple[bytes, Cells]] = field(default_factory=list)
    _awaited_rows: int = -1

    def read(self, data: bytearray) -> bool:
        """Whether the reply is whole. Raises Refusal for an exception of the server's, NotThrift for anything else."""
        try:
            if self._awaited_rows < 0:
                self._begin(Reader(data, _FRAME.size if self.framed else 0))
            if self._awaited_rows >= 0:
                self._read_rows(data)
        except Incomplete:
            return False
        return True

    def _begin(self, reader: Reader) -> None:
        kind = reader.message()
        if kind == thrift.EXCEPTION:
            fault = reader.fields()
            self.size = reader.position
            raise Refusal("TApplicationException", fault.get(1, b"").decode("utf-8", "replace"), False)
        type_, number = reader.field()
        if type_ == thrift.LIST and number == _SUCCESS:
            start = reader.position
            element, rows = reader.list_head()
            if element == thrift.STRUCT and self._begins_a_row(reader):
                self._awaited_rows, self.size = rows, reader.position
                return
            reader.position = start
        self.result = reader.value(type_) if type_ else None
        if type_:
            reader.fields()
        self.size = reader.position
        if type_ and number != _SUCCESS:
            raise _refusal(number, self.result)

    @staticmethod
    def _begins_a_row(reader: Reader) -> bool:
        """Whether the list's elements are rows: of the structs in lists, only they have a map as their second field."""
        at = reader.position
        if reader.data[at : at + 1] == thrift.STOP:
            return False
        reader.field()
        reader.binary()
        found = reader.field() == (thrift.MAP, 2)
        reader.position = at
        return found

    def _read_rows(self, data: bytearray) -> None:
        while len(self._rows) < self._awaited_rows:
            row, cells, self.size = read_row(data, self.size)
            self._rows.append((row, cells))
        if self.size >= len(data):
            raise Incomplete
        self.size += 1  # the end of the result
        self.result = self._rows


@dataclass
class RowCount(Reply):
    """One reply to a call for rows, of which only the number is taken: `result`."""

    _counted: int = 0

    def read(self, data: bytearray) -> bool:
        whole = super().read(data)
        if whole and self._awaited_rows < 0:
            self.result = len(self.result)
        return whole

    def _read_rows(self, data: bytearray) -> None:
        while self._counted < self._awaited_rows:
            self.size = _skip_row(data, self.size)
            self._counted += 1
        if self.size >= len(data):
            raise Incomplete
        self.size += 1
        self.result = self._counted


def read_row(data: bytearray, position: int) -> tuple[bytes, Cells, int]:
    """A row's key and its cells by `family:qualifier`, and where it ends. Raises Incomplete."""
    try:
        if data[position : position + 3] != _ROW_HEAD:
            return _read_row_by_field(data, position)
        start = position + 7
        position = start + _SIZE.unpack_from(data, start - 4)[0]
        row = bytes(data[start:position])
        if data[position : position + 5] != _COLUMNS_HEAD:
            return _read_row_by_field(data, start - 7)
        count = _SIZE.unpack_from(data, position + 5)[0]
        position += 9
        cells = {}
        for _ in range(count):
            start = position + 4
            position = start + _SIZE.unpack_from(data, position)[0]
            name = bytes(data[start:position])
            start = position + 7
            position = start + _SIZE.unpack_from(data, position + 3)[0]
            cells[name] = bytes(data[start:position])
            position += _STAMP_SIZE
    except struct.error:
        raise Incomplete from None
    if position >= len(data):
        raise Incomplete
    if data[position]:
        raise NotThrift("a row has more fields than are known")
    return row, cells, position + 1


def _skip_row(data: bytearray, position: int, size_at: Callable[..., tuple[int]] = _SIZE.unpack_from) -> int:
    """Where a row ends. Raises Incomplete."""
    try:
        start = position
        position += 7 + size_at(data, position + 3)[0]
        if data[position : position + 5] != _COLUMNS_HEAD:
            return _read_row_by_field(data, start)[2]
        for _ in range(size_at(data, position + 5)[0]):
            position += 4 + size_at(data, position + 9)[0]
            position += 7 + size_at(data, position + 12)[0] + _STAMP_SIZE
        position += 9
        if data[position]:
            raise NotThrift("a row has more fields than are known")
    except (struct.error, IndexError):
        raise Incomplete from None
    return position + 1


def _read_row_by_field(data: bytearray, position: int) -> tuple[bytes, Cells, int]:
    reader = Reader(data, position)
    found = reader.fields()
    return found[1], {name: cell.get(1, b"") for name, cell in found.get(2, {}).items()}, reader.position


def _refusal(number: int, value: Any) -> Refusal:
    kind = _EXCEPTIONS.get(number, f"exception {number}")
    text = value.get(1, b"").decode("utf-8", "replace")
    return Refusal(kind, text, value.get(2) if kind == "IOError" else None)
