"""What makes one row of `merge` newer than another, and why a check could not be asked."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    _add("millrace_version", "by_interval", sa.Boolean())
    _add("millrace_version", "latest_by", _TEXT)
    _add("millrace_version", "newest", sa.BigInteger())
    _add("millrace_check", "error", _TEXT)


def _add(table: str, name: str, kind: sa.types.TypeEngine[Any]) -> None:
    """Add a column; it may be there already: MySQL keeps what a killed migration has made."""
    if name not in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, sa.Column(name, kind))
