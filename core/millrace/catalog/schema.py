"""The catalog's tables as they are at `HEAD`. Every change here is a new file in `migrations/versions/`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from millrace.catalog.columns import ID, KEY_LENGTH, LONG_TEXT, NAME, RAW, SERIAL, FreeText, Json, UtcTime

#: Every revision, oldest first. Kept here so that an up-to-date catalog opens without importing alembic.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
HEAD = REVISIONS[-1]
REVISION_TABLE = "millrace_schema"

metadata = MetaData()
IN_MYSQL: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}


def _asset(*, key: bool = False) -> Column[str]:
    return Column("asset", NAME, ForeignKey("millrace_asset.name", ondelete="CASCADE"), primary_key=key, nullable=False)


def _run(*, key: bool = False) -> Column[str]:
    return Column("run_id", ID, ForeignKey("millrace_run.id", ondelete="CASCADE"), primary_key=key, nullable=False)


def _error() -> tuple[Column[str], ...]:
    return (
        Column("error_kind", String(100)),
        Column("error_message", FreeText),
        Column("error_hint", FreeText),
    )


asset = Table(
    "millrace_asset",
    metadata,
    Column("name", NAME, primary_key=True),
    Column("owner", FreeText, nullable=False),
    Column("spec_digest", String(64), nullable=False),
    Column("current_version", ID),
    Column("previous_version", ID),
    Column("generation", BigInteger, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("flip_host", String(255)),
    Column("flip_pid", Integer),
    Column("flip_machine", String(255)),
    Column("flip_started", String(64)),
    Column("flip_until", UtcTime),
    Column("registered_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    **IN_MYSQL,
)

spec = Table(
    "millrace_spec",
    metadata,
    Column("digest", String(64), primary_key=True),
    _asset(key=True),
    Column("text", LONG_TEXT, nullable=False),
    Column("registered_at", UtcTime, nullable=False),
    **IN_MYSQL,
)

api = Table(
    "millrace_api",
    metadata,
    Column("name", NAME, primary_key=True),
    _asset(),
    Column("kind", String(32), nullable=False),
    Column("definition", Json),
    Column("published_at", UtcTime),
    **IN_MYSQL,
)

field = Table(
    "millrace_field",
    metadata,
    _asset(key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", FreeText, nullable=False),
    Column("type", FreeText, nullable=False),
    **IN_MYSQL,
)

watermark = Table(
    "millrace_watermark",
    metadata,
    _asset(key=True),
    Column("cursor", Json),
    Column("sequence", BigInteger, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    **IN_MYSQL,
)

run = Table(
    "millrace_run",
    metadata,
    Column("id", ID, primary_key=True),
    _asset(),
    Column("state", String(16), nullable=False),
    Column("cause", String(255), nullable=False),
    Column("run_key", String(KEY_LENGTH)),
    Column("window_start", UtcTime),
    Column("window_end", UtcTime),
    Column("spec_digest", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("step", String(255)),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("machine", String(255), nullable=False),
    Column("process_started", String(64), nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("heartbeat_at", UtcTime, nullable=False),
    Column("published_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("version_id", ID),
    Column("watermark_sequence", BigInteger, nullable=False),
    Column("publish_sequence", BigInteger),
    Column("choices", Json),
    Column("plan", Json),
    Column("stats", Json),
    *_error(),
    UniqueConstraint("asset", "run_key", name="millrace_run_key"),
    Index("millrace_run_asset", "asset", "id"),
    Index("millrace_run_state", "state"),
    **IN_MYSQL,
)

step = Table(
    "millrace_step",
    metadata,
    _run(key=True),
    Column("name", String(255), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("stats", Json),
    *_error(),
    **IN_MYSQL,
)

version = Table(
    "millrace_version",
    metadata,
    Column("id", ID, primary_key=True),
    _asset(),
    _run(),
    Column("state", String(16), nullable=False),
    Column("row_count", BigInteger),
    Column("fields", Json, nullable=False),
    Column("targets", Json, nullable=False),
    Column("stage_path", FreeText, nullable=False),
    Column("sequence", BigInteger),
    Column("mode", String(16)),
    Column("rows_id", ID),
    Column("window_start", UtcTime),
    Column("window_end", UtcTime),
    Column("deletes", FreeText),
    Column("by_interval", Boolean),
    Column("latest_by", FreeText),
    Column("newest", BigInteger),
    Column("reason", FreeText, nullable=False),
    Column("watermark", Json),
    Column("created_at", UtcTime, nullable=False),
    Column("published_at", UtcTime),
    Column("retired_at", UtcTime),
    Column("erase_started_at", UtcTime),
    Column("erased_at", UtcTime),
    Index("millrace_version_asset", "asset", "id"),
    Index("millrace_version_run", "run_id"),
    **IN_MYSQL,
)

lease = Table(
    "millrace_lease",
    metadata,
    _asset(key=True),
    Column("token", BigInteger, nullable=False),
    Column("run_id", ID),
    Column("by_process", Boolean, nullable=False),
    Column("acquired_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    **IN_MYSQL,
)

pointer = Table(
    "millrace_pointer",
    metadata,
    _asset(key=True),
    Column("target", NAME, primary_key=True),
    Column("version_id", ID, nullable=False),
    Column("confirmed_at", UtcTime, nullable=False),
    **IN_MYSQL,
)

check = Table(
    "millrace_check",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _run(),
    _asset(),
    Column("step", String(255), nullable=False),
    Column("kind", NAME, nullable=False),
    Column("description", FreeText, nullable=False),
    Column("severity", String(32), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("observed", Json),
    Column("expected", Json),
    Column("sample", Json, nullable=False),
    Column("error", FreeText),
    Column("checked_at", UtcTime, nullable=False),
    Index("millrace_check_asset", "asset", "kind", "id"),
    Index("millrace_check_run", "run_id"),
    **IN_MYSQL,
)

measure = Table(
    "millrace_measure",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _run(),
    _asset(),
    Column("measure", String(32), nullable=False),
    Column("column", FreeText, nullable=False),
    Column("value", Double, nullable=False),
    Index("millrace_measure_asset", "asset", "measure", "id"),
    Index("millrace_measure_run", "run_id"),
    **IN_MYSQL,
)

dirty = Table(
    "millrace_dirty",
    metadata,
    Column("id", SERIAL, primary_key=True),
    _run(),
    Column("step", String(255), nullable=False),
    Column("target", NAME, nullable=False),
    Column("reason", FreeText, nullable=False),
    Column("origin", FreeText, nullable=False),
    Column("raw", RAW, nullable=False),
    Index("millrace_dirty_run", "run_id", "id"),
    **IN_MYSQL,
)
