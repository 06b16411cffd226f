"""What one consumer may see of an API: some columns, some rows. Applied to KV answers after the cache.

SQL APIs plan a query within a view (`SqlRules.restricted`), so that their store does the work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from millrace.connectors.readers import Form
from millrace.serving.kv.rows import Row, StoredRow, StoredRows
from millrace.serving.sql.matching import matcher


@dataclass(frozen=True, eq=False)
class View:
    """`columns` None: all. `condition` None: all rows; else the query tree's JSON. Equal only to itself."""

    columns: tuple[str, ...] | None = None
    condition: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """The same for two views that show the same: for keys of caches."""
        return json.dumps([self.columns and sorted(self.columns), self.condition], sort_keys=True)


@lru_cache(maxsize=1024)
def within(own: View, of_consumer: View) -> View:
    """A consumer's view of an API that has a view of its own: a column must be in both."""
    if own.columns is None or of_consumer.columns is None:
        return View(own.columns or of_consumer.columns, of_consumer.condition)
    return View(tuple(name for name in own.columns if name in of_consumer.columns), of_consumer.condition)


def narrowed_row(found: StoredRow, view: View) -> StoredRow:
    """The row as the view shows it; without anything stored when it hides the row."""
    lens = _lens(found.form, view)
    return StoredRow(lens.form, lens.show(found.stored))


def narrowed_rows(found: StoredRows, view: View) -> StoredRows:
    """The same for many rows; a hidden one is as if it were missing."""
    lens = _lens(found.form, view)
    return StoredRows(lens.form, [lens.show(stored) for stored in found.stored], found.cursor)


@dataclass(frozen=True)
class _Lens:
    """One view over one version's rows. `form` is of what it shows: rows as they are, of fewer columns."""

    form: Form
    show: Callable[[Any], Row | None]


@lru_cache(maxsize=1024)
def _lens(form: Form, view: View) -> _Lens:
    fields = tuple(f for f in form.fields if view.columns is None or f.name in view.columns)
    names = [field.name for field in fields]
    matches = None if view.condition is None else matcher(view.condition, [f.column for f in form.fields])
    decode = form.decode

    def show(stored: Any) -> Row | None:
        if stored is None:
            return None
        row = decode(stored)
        if matches is not None and not matches(row):
            return None
        return {name: row.get(name) for name in names}

    keys = tuple(name for name in form.key_columns if name in names)
    return _Lens(Form(form.version, fields, keys, "row", form.key, form.text_key, _same), show)


def _same(row: Any) -> Any:
    return row
