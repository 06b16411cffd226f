"""The writing half of sorted sets, lists and sets: array columns as the arguments of a row's command. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from millrace.connectors.base import Field
from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.options import ValueLayout
from millrace.connectors.wire import resp, text
from millrace.connectors.wire.rows import Integers, grouped
from millrace.spec.types import Column, DataType, Kind

_pc: Any = pyarrow.compute  # whose stubs know only some of the functions
SCORE = DataType(Kind.DOUBLE)
COMMANDS: Mapping[ValueLayout, bytes] = {
    ValueLayout.SORTED_SET: b"ZADD",
    ValueLayout.LIST: b"RPUSH",
    ValueLayout.SET: b"SADD",
}
_NUMBERS = frozenset({Kind.TINYINT, Kind.SMALLINT, Kind.INT, Kind.BIGINT, Kind.FLOAT, Kind.DOUBLE, Kind.DECIMAL})


def column_problem(manifest_key: Sequence[str], members: str, scores: str | None, columns: Sequence[Column]) -> str:
    """Why a collection can't hold these columns; empty when it can."""
    types = {c.name: c.type for c in columns}
    for name in filter(None, (members, scores)):
        if name not in types:
            return f"there is no column '{name}'; there are {', '.join(types)}"
        if types[name].kind is not Kind.ARRAY:
            return f"the column '{name}' is a {types[name]}, and must be an array"
    if scores is not None and types[scores].fields[0].type.kind not in _NUMBERS:
        return f"the column '{scores}' is {types[scores]}, and scores are numbers"
    others = [name for name in types if name not in (*manifest_key, members, scores)]
    return f"it has no place for the column '{others[0]}'" if others else ""


@dataclass(frozen=True)
class Members:
    """Row i has `counts[i]` arguments, which stand in `arguments[i]`; `refused` maps a row to the reason."""

    arguments: pa.LargeBinaryArray
    counts: Integers
    refused: Mapping[int, str]


def encode_members(manifest: Manifest, batch: pa.RecordBatch) -> Members:
    """The arguments of each row's command."""
    assert manifest.members is not None
    lists = batch.column(manifest.members)
    lengths = _lengths(lists)
    rows = np.repeat(np.arange(batch.num_rows), lengths)
    refused = dict.fromkeys(np.flatnonzero(lengths == 0).tolist(), "it has no members, and Redis keeps no empty one")
    cells = [_texts(_flat(lists), manifest.types[manifest.members].fields[0].type, "member", rows, refused)]
    per_member = 1
    if manifest.scores is not None:
        scores = batch.column(manifest.scores)
        different = lengths != _lengths(scores)
        refused |= dict.fromkeys(np.flatnonzero(different).tolist(), "it has not as many scores as members")
        if different.any():  # put the rows that fit side by side again
            kept = np.flatnonzero(~different)
            part = encode_members(manifest, batch.take(pa.array(kept, pa.int64())))
            return _spread(part, kept, batch.num_rows, refused)
        numbers = _flat(scores).cast(pa.float64())
        nans = np.flatnonzero(np.isnan(numbers.to_numpy(zero_copy_only=False)))
        refused |= {int(rows[place]): "a score is NaN or null" for place in nans}
        cells.insert(0, _texts(numbers, SCORE, "score", rows, refused))
        per_member = 2
    fragments = resp.arguments(cells)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return Members(grouped(fragments, offsets).values, lengths * per_member, refused)


def _spread(part: Members, rows: Integers, count: int, refused: Mapping[int, str]) -> Members:
    """The members of some rows among all; the others have none."""
    places = np.full(count, -1, np.int64)
    places[rows] = np.arange(len(rows))
    counts = np.zeros(count, np.int64)
    counts[rows] = part.counts
    chosen = pa.array(places, pa.int64(), mask=places < 0)
    arguments = _pc.fill_null(part.arguments.take(chosen), b"")
    return Members(arguments, counts, {**{int(rows[r]): why for r, why in part.refused.items()}, **refused})


def _lengths(lists: Any) -> Integers:
    found: Integers = _pc.fill_null(_pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _flat(lists: Any) -> Any:
    return lists.flatten()


def _texts(values: Any, type_: DataType, what: str, rows: Integers, refused: dict[int, str]) -> Any:
    """The values' texts; rows with a null or one that has no text are refused."""
    field = Field(Column("value", type_), 1)
    found = text.encode(pa.RecordBatch.from_arrays([values], ["value"]), [field])
    for place in np.flatnonzero(np.asarray(values.is_null())).tolist():
        refused[int(rows[place])] = f"a {what} is null"
    for place, reason in found.refused.items():
        refused[int(rows[place])] = f"a {what}: {reason}"
    return _pc.fill_null(found.columns[0], b"")
