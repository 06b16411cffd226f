"""Measures of an asset's runs, with which the drift of later ones is compared."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.String(16).with_variant(sa.String(16, collation="C"), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_IN_MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    metadata = sa.MetaData()
    sa.Table("millrace_asset", metadata, sa.Column("name", sa.String(200), primary_key=True), **_IN_MYSQL)
    sa.Table("millrace_run", metadata, sa.Column("id", _ID, primary_key=True), **_IN_MYSQL)
    measure = sa.Table(
        "millrace_measure",
        metadata,
        sa.Column("id", _SERIAL, primary_key=True),
        sa.Column("run_id", _ID, sa.ForeignKey("millrace_run.id", ondelete="CASCADE"), nullable=False),
        sa.Column("asset", sa.String(200), sa.ForeignKey("millrace_asset.name", ondelete="CASCADE"), nullable=False),
        sa.Column("measure", sa.String(32), nullable=False),
        sa.Column("column", _TEXT, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Index("millrace_measure_asset", "asset", "measure", "id"),
        sa.Index("millrace_measure_run", "run_id"),
        **_IN_MYSQL,
    )
    measure.create(op.get_bind(), checkfirst=True)  # MySQL keeps what a killed migration has made
