from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millrace.connectors.wire.columns import binary_cells
from millrace.connectors.wire.rows import Cells, RowBuilder, from_matrix, grouped, offsets_of, view

CELLS = st.lists(st.one_of(st.none(), st.binary(max_size=9)), min_size=1, max_size=20)


class _Head:
    def __call__(self, number: int) -> bytes:
        return b"<%d>" % number


HEAD = _Head()


@given(CELLS, st.data())
def test_rows_are_their_pieces_from_left_to_right(column: list[bytes | None], data: st.DataObject) -> None:
    shown = data.draw(st.lists(st.booleans(), min_size=len(column), max_size=len(column)))
    cells = binary_cells(pa.array(column, pa.binary()))
    builder = RowBuilder(len(column))
    builder.constant(b"a")
    builder.constant(b"b")
    builder.head(HEAD, cells.lengths, cells.present)
    builder.cells(cells)
    builder.choice(np.array(shown), b"yes", b"no")
    builder.constant(b"!", np.array(shown))
    builder.cells(cells, np.array(shown))

    expected = [
        b"ab" + (b"" if cell is None else b"<%d>%s" % (len(cell), cell)) + (b"yes!" if s else b"no") + (cell or b"") * s
        for cell, s in zip(column, shown, strict=True)
    ]
    built = builder.build()
    assert built.to_pylist() == expected
    assert view(built.buffers()[2]).tobytes() == b"".join(expected)


@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=30))
def test_heads_of_any_number_are_made_once_each(numbers: list[int]) -> None:
    builder = RowBuilder(len(numbers))
    builder.head(HEAD, np.array(numbers))
    assert builder.build().to_pylist() == [b"<%d>" % number for number in numbers]


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=20))
def test_padded_storage_reads_as_its_cells(column: list[bytes]) -> None:
    matrix = np.zeros((len(column), 5), np.uint8)
    for row, cell in enumerate(column):
        matrix[row, : len(cell)] = list(cell)
    cells = from_matrix(matrix, np.array([len(cell) for cell in column]))
    assert cells.compact().to_pylist() == column
    assert cells.lengths.tolist() == [len(cell) for cell in column]


@given(st.lists(st.lists(st.binary(max_size=4), max_size=4), max_size=8))
def test_grouping_joins_the_elements_of_each_list(lists: list[list[bytes]]) -> None:
    elements = pa.array([item for items in lists for item in items], pa.large_binary())
    offsets = np.cumsum([0, *map(len, lists)])
    assert grouped(elements, offsets).compact().to_pylist() == [b"".join(items) for items in lists]


def test_no_rows_and_no_pieces_are_fine() -> None:
    assert RowBuilder(0).build().to_pylist() == []
    assert RowBuilder(2).build().to_pylist() == [b"", b""]
    empty = RowBuilder(0)
    empty.cells(Cells(pa.array([], pa.large_binary())))
    empty.head(HEAD, np.zeros(0, np.int64))
    assert empty.build().to_pylist() == []


def test_a_slice_keeps_its_own_offsets() -> None:
    array = pa.array([b"aa", b"b", b"", b"cccc"], pa.large_binary()).slice(1, 2)
    assert offsets_of(array).tolist() == [2, 3, 3]
    assert Cells(array).data().tobytes() == b"b"
