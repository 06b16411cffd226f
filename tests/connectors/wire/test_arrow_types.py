from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given

from millrace.connectors.wire.arrow_types import columns_of, from_arrow, schema_of, to_arrow
from millrace.spec.types import DataType, column, parse_type
from tests.connectors.wire.cases import all_types


@given(all_types())
def test_every_type_goes_there_and_back(type_: DataType) -> None:
    found = from_arrow(to_arrow(type_))
    assert str(found) == str(type_)


@pytest.mark.parametrize(
    ("arrow", "type_"),
    [
        (pa.uint8(), "smallint"),
        (pa.uint16(), "int"),
        (pa.uint32(), "bigint"),
        (pa.uint64(), "decimal(20,0)"),
        (pa.float16(), "float"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.binary(16), "binary"),
        (pa.date64(), "date"),
        (pa.timestamp("ns", "Asia/Tokyo"), "timestamp"),
        (pa.timestamp("s"), "timestamp_ntz"),
        (pa.decimal32(5, 2), "decimal(5,2)"),
        (pa.decimal256(38, 10), "decimal(38,10)"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.large_list(pa.list_view(pa.int8())), "array<array<tinyint>>"),
        (pa.list_(pa.int64(), 3), "array<bigint>"),
        (pa.uuid(), "binary"),
    ],
)
def test_other_arrow_types_find_the_type_that_holds_them(arrow: pa.DataType, type_: str) -> None:
    assert from_arrow(arrow) == parse_type(type_)


@pytest.mark.parametrize(
    "arrow", [pa.time64("us"), pa.duration("s"), pa.null(), pa.decimal256(50, 2), pa.decimal128(5, -2)]
)
def test_what_no_column_holds_is_refused(arrow: pa.DataType) -> None:
    with pytest.raises(ValueError, match="no column type holds"):
        from_arrow(arrow)


def test_timestamps_are_in_utc_and_microseconds() -> None:
    assert to_arrow(parse_type("timestamp")) == pa.timestamp("us", tz="UTC")
    assert to_arrow(parse_type("timestamp_ntz")) == pa.timestamp("us")


def test_schemas_go_there_and_back_and_name_the_column_that_does_not() -> None:
    columns = (column("id", "bigint"), column("at", "timestamp"))
    assert columns_of(schema_of(columns)) == columns
    with pytest.raises(ValueError, match="column 'lunch': no column type holds"):
        columns_of(pa.schema([("lunch", pa.time64("us"))]))
