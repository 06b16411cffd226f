"""That a column's values all differ is shown from the stage's files, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.jobs.distinct import values_if_all_differ

Numbers = list[int | None]
BIG = pa.decimal128(20, 0)


def shown(folder: Path, *files: Sequence[Any], type_: pa.DataType | None = None, group: int = 2) -> int | None:
    paths = []
    for number, values in enumerate(files):
        table = pa.table({"other": pa.array(["x"] * len(values)), "v": pa.array(values, type_ or pa.int64())})
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=group)
        paths.append(folder / f"{number}.parquet")
    return values_if_all_differ(paths, "v")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.none() | st.integers(-12, 12) | st.integers(-(2**63), 2**63 - 1), max_size=7), min_size=1))
def test_what_is_shown_is_true(tmp_path_factory: pytest.TempPathFactory, files: list[Numbers]) -> None:
    values = [value for file in files for value in file if value is not None]
    assert shown(tmp_path_factory.getbasetemp(), *files) in (None, len(values))
    if len(set(values)) < len(values):
        assert shown(tmp_path_factory.getbasetemp(), *files) is None


def test_whole_numbers_of_any_kind_are_shown_to_differ(tmp_path: Path) -> None:
    assert shown(tmp_path, [3, None, -4], [], [None, None, None], [7, 5]) == 4
    assert shown(tmp_path, [Decimal(2**40), Decimal(2**40 + 1)], type_=BIG) == 2
    assert shown(tmp_path, [1, 2, 0], type_=pa.int8()) == 3


def test_other_columns_are_left_to_spark(tmp_path: Path) -> None:
    assert shown(tmp_path, [0.5, 1.5], type_=pa.float64()) is None
    assert shown(tmp_path, ["a", "b"], type_=pa.string()) is None
    assert shown(tmp_path, [Decimal("1.5")], type_=pa.decimal128(9, 1)) is None
    assert shown(tmp_path, [Decimal(2**64 - 1), Decimal(2**64 - 2)], type_=BIG) is None
    assert shown(tmp_path, [1, 2**50]) is None, "too far from each other for a byte each"
    assert shown(tmp_path, [None]) is None
