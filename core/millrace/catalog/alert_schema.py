"""The tables of alerts. They name assets without needing them: an asset that never ran can be late."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from millrace.catalog.columns import ID, NAME, SERIAL, FreeText, Json, UtcTime
from millrace.catalog.schema import IN_MYSQL, metadata

incident = Table(
    "millrace_incident",
    metadata,
    Column("asset", NAME, primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("event", String(32), nullable=False),
    Column("title", FreeText, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("told_at", UtcTime),
    **IN_MYSQL,
)

alert = Table(
    "millrace_alert",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("asset", NAME, nullable=False),
    Column("run_id", ID),
    Column("event", String(32), nullable=False),
    Column("destination", NAME, nullable=False),
    Column("message", Json, nullable=False),
    Column("state", String(16), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("error", FreeText, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("next_try_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Index("millrace_alert_due", "state", "next_try_at"),
    **IN_MYSQL,
)
