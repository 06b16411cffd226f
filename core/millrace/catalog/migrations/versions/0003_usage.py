"""How many requests each grant has made, for its quota."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    metadata = sa.MetaData()
    sa.Table("millrace_grant", metadata, sa.Column("id", _SERIAL, primary_key=True))
    usage = sa.Table(
        "millrace_usage",
        metadata,
        sa.Column(
            "grant_id",
            _SERIAL,
            sa.ForeignKey("millrace_grant.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("period_start", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    usage.create(op.get_bind(), checkfirst=True)  # MySQL keeps what a killed migration has made
