"""SQL APIs: filters, groups and aggregates over an asset, as a tree that a store's own SQL is compiled from.

    tree or builder ─▶ parse ─▶ plan ─▶ compile ─▶ execute
       JSON            typed    against   a dialect's  the reader of
                       nodes    the API   statement    the store

All stages but the last are pure. Values never become text: they are bound by the store.
"""

from __future__ import annotations

from millrace.serving.sql.builder import (
    Select,
    approx_distinct,
    asc,
    avg,
    col,
    count,
    count_distinct,
    desc,
    max_,
    min_,
    quantile,
    sum_,
)

__all__ = [
    "Select",
    "approx_distinct",
    "asc",
    "avg",
    "col",
    "count",
    "count_distinct",
    "desc",
    "max_",
    "min_",
    "quantile",
    "sum_",
]
