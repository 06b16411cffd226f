"""Incidents of assets, and the alerts that tell of them until they are delivered."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.String(16).with_variant(sa.String(16, collation="C"), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_IN_MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def upgrade() -> None:
    metadata = sa.MetaData()
    incident = sa.Table(
        "millrace_incident",
        metadata,
        sa.Column("asset", sa.String(200), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("title", _TEXT, nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger()),
        **_IN_MYSQL,
    )
    alert = sa.Table(
        "millrace_alert",
        metadata,
        sa.Column("id", _SERIAL, primary_key=True),
        sa.Column("asset", sa.String(200), nullable=False),
        sa.Column("run_id", _ID),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("destination", sa.String(200), nullable=False),
        sa.Column("message", _TEXT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("error", _TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_try_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Index("millrace_alert_due", "state", "next_try_at"),
        **_IN_MYSQL,
    )
    for table in (incident, alert):
        table.create(op.get_bind(), checkfirst=True)  # MySQL keeps what a killed migration has made
