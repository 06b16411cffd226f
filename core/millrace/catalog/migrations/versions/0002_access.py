"""Who may read what: consumers, tokens, grants, audit."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGTEXT

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NAME = sa.String(200)
_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_TIME = sa.BigInteger()
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    metadata = sa.MetaData()
    _consumers(metadata)
    _grants(metadata)
    _audit(metadata)
    bind = op.get_bind()
    # Each may be there already: MySQL keeps what a killed migration has made.
    for table in metadata.sorted_tables:
        table.create(bind, checkfirst=True)
        for index in table.indexes:
            index.create(bind, checkfirst=True)


def _table(name: str, metadata: sa.MetaData, *parts: Any) -> None:
    sa.Table(name, metadata, *parts, mysql_engine="InnoDB", mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin")


def _needed(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _consumer() -> sa.Column[Any]:
    parent = sa.ForeignKey("millrace_consumer.name", ondelete="CASCADE")
    return sa.Column("consumer", _NAME, parent, nullable=False)


def _consumers(metadata: sa.MetaData) -> None:
    _table(
        "millrace_consumer",
        metadata,
        sa.Column("name", _NAME, primary_key=True),
        _needed("owner", _TEXT),
        _needed("description", _TEXT),
        _needed("priority", sa.String(16)),
        _needed("created_at", _TIME),
        sa.Column("disabled_at", _TIME),
    )
    _table(
        "millrace_token",
        metadata,
        sa.Column("id", sa.String(16), primary_key=True),
        _consumer(),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        _needed("created_at", _TIME),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
    )


def _grants(metadata: sa.MetaData) -> None:
    _table(
        "millrace_grant",
        metadata,
        sa.Column("id", _SERIAL, primary_key=True),
        _consumer(),
        _needed("api", _NAME),
        _needed("state", sa.String(16)),
        _needed("purpose", _TEXT),
        _needed("reason", _TEXT),
        sa.Column("column_names", _TEXT),
        sa.Column("row_filter", _TEXT),
        sa.Column("requests_per_second", sa.Integer()),
        sa.Column("quota", sa.BigInteger()),
        sa.Column("quota_period", sa.String(16)),
        _needed("requested_at", _TIME),
        _needed("requested_by", _TEXT),
        sa.Column("decided_at", _TIME),
        sa.Column("decided_by", _TEXT),
        sa.Column("expires_at", _TIME),
        sa.Index("millrace_grant_consumer", "consumer", "api"),
        sa.Index("millrace_grant_state", "state"),
    )


def _audit(metadata: sa.MetaData) -> None:
    _table(
        "millrace_audit",
        metadata,
        sa.Column("id", _SERIAL, primary_key=True),
        _needed("at", _TIME),
        _needed("actor", _TEXT),
        _needed("action", sa.String(32)),
        _needed("consumer", _NAME),
        _needed("api", _NAME),
        sa.Column("details", _TEXT),
        sa.Index("millrace_audit_consumer", "consumer", "id"),
    )
