"""The binary protocol as thriftpy2, another implementation, reads and writes it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.connectors.hbase import service
from millrace.connectors.hbase.endpoint import Refusal
from millrace.connectors.hbase.service import Reply, Scan
from millrace.connectors.wire import thrift
from tests.connectors.hbase.happybase_types import protocol, transport
from tests.connectors.hbase.happybase_types import service as hbase
from tests.connectors.hbase.happybase_types import thrift as reference

NAMES = st.binary(min_size=1, max_size=20)
CELLS = st.dictionaries(NAMES, st.binary(max_size=40), max_size=5)
ROWS = st.lists(st.tuples(NAMES, CELLS), max_size=5)


def written(name: str, result: Any, kind: int = reference.TMessageType.REPLY) -> bytearray:
    """A reply as thriftpy2's server writes it."""
    buffer = transport.TMemoryBuffer()
    writer = protocol.TBinaryProtocol(buffer)
    writer.write_message_begin(name, kind, 7)
    writer.write_struct(result)
    writer.write_message_end()
    return bytearray(buffer.getvalue())


def arguments(payload: bytes, name: str) -> Any:
    """The arguments of a call as thriftpy2's server reads them."""
    reader = protocol.TBinaryProtocol(transport.TMemoryBuffer(payload))
    assert reader.read_message_begin()[:2] == (name, reference.TMessageType.CALL)
    found = getattr(hbase.Hbase, f"{name}_args")()
    reader.read_struct(found)
    return found


def rows_reply(rows: list[tuple[bytes, dict[bytes, bytes]]]) -> bytearray:
    results = [
        hbase.TRowResult(row=row, columns={name: hbase.TCell(value, 1234567890123) for name, value in cells.items()})
        for row, cells in rows
    ]
    return written("getRows", hbase.Hbase.getRows_result(success=results))


@given(ROWS, st.data())
@settings(max_examples=150)
def test_rows_are_read_however_they_arrive(rows: list[tuple[bytes, dict[bytes, bytes]]], data: st.DataObject) -> None:
    whole = rows_reply(rows)
    reply, received, next_one = Reply(), bytearray(), rows_reply([(b"next", {})])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)))
    for start, end in zip([0, *cuts], cuts, strict=False):
        received += whole[start:end]
        assert not reply.read(received)
    received += whole[cuts[-1] if cuts else 0 :] + next_one
    assert reply.read(received)
    assert reply.result == rows
    assert received[reply.size :] == next_one


def test_a_frame_is_taken_off() -> None:
    reply = Reply(framed=True)
    assert reply.read(bytearray(service.framed(rows_reply([(b"r", {b"f:q": b"v"})]))))
    assert reply.result == [(b"r", {b"f:q": b"v"})]


def test_regions_come_in_their_order() -> None:
    found = [hbase.TRegionInfo(b"m", b"", 2, b"n", 1, b"h", 1), hbase.TRegionInfo(b"", b"m", 1, b"n", 1, b"h", 1)]
    reply = Reply()
    assert reply.read(written("getTableRegions", hbase.Hbase.getTableRegions_result(success=found)))
    assert service.regions_of(reply.result) == [service.Region(b"", b"m"), service.Region(b"m", b"")]


def test_what_a_server_refuses_is_told_in_its_words() -> None:
    trace = "org.apache.hadoop.hbase.TableNotFoundException: people_v1\n\tat org.apache.hadoop.Thing.get(Thing.java:1)"
    reply = Reply()
    with pytest.raises(Refusal) as refused:
        reply.read(written("getRows", hbase.Hbase.getRows_result(io=hbase.IOError(trace))) + b"rest")
    assert refused.value.summary == "org.apache.hadoop.hbase.TableNotFoundException: people_v1"
    assert refused.value.table_is_gone
    unknown = reference.TApplicationException(
        reference.TApplicationException.UNKNOWN_METHOD, "Invalid method name: 'getRows'"
    )
    with pytest.raises(Refusal, match="Invalid method name"):
        Reply().read(written("getRows", unknown, reference.TMessageType.EXCEPTION))


@pytest.mark.parametrize(
    "junk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x82\x21\x01\x04ping\x00", b"-ERR unknown\r\n"]
)
def test_what_is_no_reply_is_not_taken_for_one(junk: bytes) -> None:
    with pytest.raises(thrift.NotThrift):
        Reply().read(bytearray(junk))


@given(NAMES, st.dictionaries(NAMES, st.none() | st.binary(max_size=40), max_size=4))
def test_mutations_are_what_a_server_reads(row: bytes, cells: dict[bytes, bytes | None]) -> None:
    found = arguments(service.mutate_row("ns:table", row, cells), "mutateRow")
    assert (found.tableName, found.row) == (b"ns:table", row)
    sent = {m.column: None if m.isDelete else m.value for m in found.mutations}
    assert sent == cells


def test_calls_are_what_a_server_reads() -> None:
    scan = arguments(
        service.open_scanner("t", Scan(b"a", b"b", "KeyOnlyFilter()", reverse=True)), "scannerOpenWithScan"
    )
    assert (scan.scan.startRow, scan.scan.stopRow, scan.scan.filterString) == (b"a", b"b", b"KeyOnlyFilter()")
    assert (scan.scan.reversed, scan.scan.caching, scan.scan.timestamp) == (True, 1000, None)
    put = arguments(service.check_and_put("t", b"r", b"f:q", None, b"v"), "checkAndPut")
    assert (put.column, put.value, put.mput.column, put.mput.value) == (b"f:q", None, b"f:q", b"v")
    made = arguments(service.create_table("t", ["p", "s"]), "createTable").columnFamilies
    assert [(family.name, family.maxVersions, family.bloomFilterType) for family in made] == [
        (b"p:", 1, "ROW"),
        (b"s:", 1, "ROW"),
    ]
    assert arguments(service.get_rows("t", [b"a", b"b"]), "getRows").rows == [b"a", b"b"]
    assert arguments(service.scanner_rows(7, 100), "scannerGetList").nbRows == 100
