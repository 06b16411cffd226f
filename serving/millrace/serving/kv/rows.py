"""Rows as a store holds them, with what is needed to read them: decoded only when somebody wants to look inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.connectors.readers import Form

Row = Mapping[str, Any]


@dataclass(slots=True)
class StoredRow:
    """The answer to one key; `stored` is None when there is no such row."""

    form: Form
    stored: Any

    def row(self) -> Row | None:
        return None if self.stored is None else self.form.decode(self.stored)


@dataclass(slots=True)
class StoredRows:
    """The answer to many keys, in their order, all of one version; None where there is no such row."""

    form: Form
    stored: Sequence[Any]
    cursor: str | None = None

    def rows(self) -> list[Row | None]:
        decode = self.form.decode
        return [None if stored is None else decode(stored) for stored in self.stored]
