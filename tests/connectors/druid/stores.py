"""What the tests of Druid share: targets on a real server, versions, batches, loads."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from millrace.connectors.base import Field, Version, Window
from millrace.connectors.druid.load import DruidTarget
from millrace.connectors.druid.options import DruidOptions
from millrace.connectors.wire.arrow_types import columns_of, to_arrow
from millrace.spec.connection import Connection
from millrace.spec.connector import Mode
from millrace.spec.types import Column, parse_type
from tests.connectors.loads import load_whole

DAY = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = (
    "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal(12,2)", "decimal(38,10)", "string",
    "binary", "date", "timestamp", "timestamp_ntz", "array<string>", "array<int>", "array<double>", "array<timestamp>",
    "array<array<int>>", "map<string,int>", "struct<a:int,b:string>",
)  # fmt: skip


def new_asset() -> str:
    """The server is shared by all tests: each has assets of its own."""
    return f"plays_{secrets.token_hex(4)}"


def target(connection: Connection, timestamp: str = "at", **options: Any) -> DruidTarget:
    return DruidTarget(DruidOptions(connection="druid_test", timestamp=timestamp, **options), connection)


def version_of(
    asset: str,
    id_: str,
    columns: Sequence[Column],
    mode: Mode = Mode.REPLACE,
    rows_id: str = "",
    day: int | None = None,
) -> Version:
    """A version; of `append`, one of a day of January 2026."""
    window = Window() if day is None else Window(DAY + timedelta(days=day - 1), DAY + timedelta(days=day))
    fields = tuple(Field(column, number) for number, column in enumerate(columns, start=1))
    return Version(asset, id_, fields, mode, rows_id, window)


def plays(count: int, note: str = "", day: int = 1, users: int = 7) -> pa.RecordBatch:
    """Rows `at`, `id`, `user`, `seconds`, `note`, one a second from the begin of a day on."""
    start = DAY + timedelta(days=day - 1)
    return pa.RecordBatch.from_pydict(
        {
            "at": pa.array([start + timedelta(seconds=n) for n in range(count)], pa.timestamp("us", tz="UTC")),
            "id": pa.array(range(count), pa.int64()),
            "user": pa.array([f"user {n % users}" for n in range(count)], pa.string()),
            "seconds": pa.array([n % 100 for n in range(count)], pa.int32()),
            "note": pa.array([note] * count, pa.string()),
        }
    )


def every_type() -> pa.RecordBatch:
    """A row of greatest values, one of least, one of nulls, and one of what is odd; a column of each type."""
    far = datetime(2999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    old = datetime(1901, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
    naive_far, naive_old = far.replace(tzinfo=None), old.replace(tzinfo=None)
    values: list[Sequence[Any]] = [
        (True, False, None, True),
        *((2**bits - 1, -(2**bits), None, 0) for bits in (7, 15, 31, 63)),
        (3.0e38, -1e-45, None, float("nan")),
        (1.7e308, 5e-324, None, float("-inf")),
        (Decimal("9999999999.99"), Decimal("-9999999999.99"), None, Decimal(0)),
        (Decimal("9" * 28 + "." + "9" * 10), Decimal("-0.0000000001"), None, Decimal(1)),
        ("ü😀\n\"\\'", "", None, "it's"),
        (b"\x00\xff", b"", None, b"a"),
        (far.date(), old.date(), None, DAY.date()),
        (far, old, None, DAY),
        (naive_far, naive_old, None, DAY.replace(tzinfo=None)),
        (["a", None, "ü"], [], None, [""]),
        ([2**31 - 1, None], [], None, [0]),
        ([1.5, float("inf")], [], None, [None]),
        ([far, None], [], None, [old]),
        ([[1], []], [], None, [None, [2]]),
        ({"k": 1, "l": None}, {}, None, {"": -1}),
        ({"a": 1, "b": "x"}, {"a": None, "b": None}, None, {"a": 0, "b": ""}),
    ]
    columns = {f"c{n}": pa.array(list(given), to_arrow(parse_type(type_))) for n, (type_, given) in
               enumerate(zip(TYPES, values, strict=True))}  # fmt: skip
    times = [DAY, datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC), far]
    return pa.RecordBatch.from_pydict({"at": pa.array(times, pa.timestamp("us", tz="UTC")), **columns})


def publish(store: DruidTarget, asset: str, id_: str, batch: pa.RecordBatch, **version: Any) -> Version:
    """Prepare, load, seal and publish a version of clean rows."""
    of = version_of(asset, id_, columns_of(batch.schema), **version)
    assert load_whole(store, of, [batch]).rows == batch.num_rows
    store.publish(of)
    return of
