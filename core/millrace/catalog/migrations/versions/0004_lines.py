"""Versions that share rows (merge, append), and what a caller chose for a run."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.String(16).with_variant(sa.String(16, collation="C"), "postgresql")
_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    _add("millrace_run", "publish_sequence", sa.BigInteger())
    _add("millrace_run", "choices", _TEXT)
    _add("millrace_version", "mode", sa.String(16))
    _add("millrace_version", "rows_id", _ID)
    _add("millrace_version", "window_start", sa.BigInteger())
    _add("millrace_version", "window_end", sa.BigInteger())
    _add("millrace_version", "deletes", _TEXT)


def _add(table: str, name: str, kind: sa.types.TypeEngine[Any]) -> None:
    """Add a column; it may be there already: MySQL keeps what a killed migration has made."""
    if name not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, sa.Column(name, kind))
