"""Rows that an encoder can't encode, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.connectors.wire.rows import Integers


@dataclass(frozen=True)
class Encoded:
    """One encoded value a row. `values` is null exactly in the rows of `refused`, which maps a row to its reason."""

    values: pa.LargeBinaryArray
    refused: Mapping[int, str] = field(default_factory=dict)


class Refusals:
    """Collects the first reason for each row; the rows of nested values are lifted to the rows that hold them."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}

    def add(self, rows: Iterable[int], reason: str) -> None:
        for row in rows:
            self.reasons.setdefault(int(row), reason)

    def lift(self, inner: Refusals, offsets: Integers) -> None:
        """Take over what was said of list elements: row i holds elements `offsets[i]` to `offsets[i + 1]`."""
        for element, reason in inner.reasons.items():
            self.reasons.setdefault(int(offsets.searchsorted(element, side="right")) - 1, reason)

    def encoded(self, values: pa.LargeBinaryArray) -> Encoded:
        """`values` with a null in each refused row."""
        if not self.reasons:
            return Encoded(values)
        import numpy as np

        from millrace.connectors.wire.rows import from_offsets, offsets_of

        keep = np.ones(len(values), np.bool_)
        keep[list(self.reasons)] = False
        shown = from_offsets(offsets_of(values), values.buffers()[2], keep)
        return Encoded(shown, dict(sorted(self.reasons.items())))
