"""The tables of who may read what: consumers, their tokens, grants by API, and the log of every change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table

from millrace.catalog.columns import NAME, SERIAL, FreeText, Json, UtcTime
from millrace.catalog.schema import IN_MYSQL, metadata


def _consumer(*, key: bool = False) -> Column[Any]:
    parent = ForeignKey("millrace_consumer.name", ondelete="CASCADE")
    return Column("consumer", NAME, parent, primary_key=key, nullable=False)


consumer = Table(
    "millrace_consumer",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("owner", FreeText, nullable=False),
    Column("description", FreeText, nullable=False),
    Column("priority", String(16), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("disabled_at", UtcTime),
    **IN_MYSQL,
)

token = Table(
    "millrace_token",
    metadata,
    Column("id", String(16), primary_key=True),
    _consumer(),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    **IN_MYSQL,
)

grant = Table(
    "millrace_grant",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _consumer(),
    Column("api", NAME, nullable=False),
    Column("state", String(16), nullable=False),
    Column("purpose", FreeText, nullable=False),
    Column("reason", FreeText, nullable=False),
    Column("column_names", Json),
    Column("row_filter", Json),
    Column("requests_per_second", Integer),
    Column("quota", BigInteger),
    Column("quota_period", String(16)),
    Column("requested_at", UtcTime, nullable=False),
    Column("requested_by", FreeText, nullable=False),
    Column("decided_at", UtcTime),
    Column("decided_by", FreeText),
    Column("expires_at", UtcTime),
    Index("millrace_grant_consumer", "consumer", "api"),
    Index("millrace_grant_state", "state"),
    **IN_MYSQL,
)

audit = Table(
    "millrace_audit",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("actor", FreeText, nullable=False),
    Column("action", String(32), nullable=False),
    Column("consumer", NAME, nullable=False),
    Column("api", NAME, nullable=False),
    Column("details", Json),
    Index("millrace_audit_consumer", "consumer", "id"),
    **IN_MYSQL,
)

usage = Table(
    "millrace_usage",
    metadata,
    Column(
        "grant_id", SERIAL, ForeignKey("millrace_grant.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("period_start", UtcTime, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    **IN_MYSQL,
)
