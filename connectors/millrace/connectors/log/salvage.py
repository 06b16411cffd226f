"""Reading a batch of lines with a reader that refuses all of it for one bad line.

When it is refused, every line gets a quick look; those that look bad are read one by one, and the rest together. What
is still refused then is split in halves until the bad lines stand alone. The reader has the last word in any case:
whether a line is good does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from millrace.connectors.log.arrays import ArrowArray, Ints, one_chunk, to_arrow_array

Refused = Sequence[tuple[int, str]]
Reader = Callable[[ArrowArray], tuple[pa.Table, Refused]]


@dataclass
class Salvaged:
    """The tables that were read, the numbers of their rows' lines, and the lines that are bad, with a reason."""

    tables: list[pa.Table] = field(default_factory=list)
    rows: list[Ints] = field(default_factory=list)
    dirty: list[tuple[int, str]] = field(default_factory=list)

    def columns(self, schema: pa.Schema) -> tuple[list[ArrowArray], Ints]:
        """The columns in the order of the lines, and those lines' numbers."""
        tables = self.tables or [schema.empty_table()]
        rows = np.concatenate(self.rows) if self.rows else np.zeros(0, np.int64)
        table = pa.concat_tables(tables)
        if len(tables) > 1 and (np.diff(rows) < 0).any():
            order = np.argsort(rows)
            table, rows = table.take(to_arrow_array(order)), rows[order]
        return [one_chunk(table.column(name)) for name in schema.names], rows


def salvage(
    lines: ArrowArray, read: Reader, looks_bad: Callable[[str], bool], why: Callable[[ArrowArray, Exception], str]
) -> Salvaged:
    """Read what can be read. `read` raises ArrowInvalid for lines that it can't tell apart; `why` words one line's."""
    found = Salvaged()
    everything = np.arange(len(lines))
    if not len(lines) or _read(lines, everything, read, found) is None:
        return found
    texts = lines.to_pylist()
    suspect = np.fromiter((looks_bad(text) for text in texts), np.bool_, len(texts))
    todo = [everything[suspect][i : i + 1] for i in range(int(suspect.sum()))]
    todo.append(everything[~suspect])
    while todo:
        rows = todo.pop()
        if not len(rows):
            continue
        part = lines.take(to_arrow_array(rows))
        error = _read(part, rows, read, found)
        if error is None:
            continue
        if len(rows) == 1:
            found.dirty.append((int(rows[0]), why(part, error)))
        else:
            half = len(rows) // 2
            todo += [rows[:half], rows[half:]]
    return found


def _read(lines: ArrowArray, rows: Ints, read: Reader, found: Salvaged) -> Exception | None:
    try:
        table, refused = read(lines)
    except pa.ArrowInvalid as error:
        return error
    bad = [row for row, _ in refused]
    found.tables.append(table)
    found.rows.append(np.delete(rows, bad) if bad else rows)
    found.dirty += [(int(rows[row]), reason) for row, reason in refused]
    return None
