"""The first catalog: assets, specs, APIs, runs, steps, versions, leases, pointers, checks, dirty records."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME = sa.String(200)
_WORD = sa.String(255)
_ID = sa.String(16).with_variant(sa.String(16, collation="C"), "postgresql")
_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_RAW = sa.LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")
_TIME = sa.BigInteger()
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    metadata = sa.MetaData()
    _assets(metadata)
    _read_from_specs(metadata)
    _pointers(metadata)
    _runs(metadata)
    _versions(metadata)
    _results(metadata)
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


def _asset(*, key: bool = False) -> sa.Column[Any]:
    parent = sa.ForeignKey("millrace_asset.name", ondelete="CASCADE")
    return sa.Column("asset", _NAME, parent, primary_key=key, nullable=False)


def _run(*, key: bool = False) -> sa.Column[Any]:
    parent = sa.ForeignKey("millrace_run.id", ondelete="CASCADE")
    return sa.Column("run_id", _ID, parent, primary_key=key, nullable=False)


def _error() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("error_kind", sa.String(100)),
        sa.Column("error_message", _TEXT),
        sa.Column("error_hint", _TEXT),
    )


def _assets(metadata: sa.MetaData) -> None:
    _table(
        "millrace_asset",
        metadata,
        sa.Column("name", _NAME, primary_key=True),
        _needed("owner", _TEXT),
        _needed("spec_digest", sa.String(64)),
        sa.Column("current_version", _ID),
        sa.Column("previous_version", _ID),
        _needed("generation", sa.BigInteger()),
        _needed("sequence", sa.BigInteger()),
        sa.Column("flip_host", _WORD),
        sa.Column("flip_pid", sa.Integer()),
        sa.Column("flip_machine", _WORD),
        sa.Column("flip_started", sa.String(64)),
        sa.Column("flip_until", _TIME),
        _needed("registered_at", _TIME),
        _needed("updated_at", _TIME),
    )


def _read_from_specs(metadata: sa.MetaData) -> None:
    _table(
        "millrace_spec",
        metadata,
        sa.Column("digest", sa.String(64), primary_key=True),
        _asset(key=True),
        _needed("text", _TEXT),
        _needed("registered_at", _TIME),
    )
    _table(
        "millrace_api",
        metadata,
        sa.Column("name", _NAME, primary_key=True),
        _asset(),
        _needed("kind", sa.String(32)),
        sa.Column("definition", _TEXT),
        sa.Column("published_at", _TIME),
    )
    _table(
        "millrace_field",
        metadata,
        _asset(key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        _needed("name", _TEXT),
        _needed("type", _TEXT),
    )


def _pointers(metadata: sa.MetaData) -> None:
    _table(
        "millrace_watermark",
        metadata,
        _asset(key=True),
        sa.Column("cursor", _TEXT),
        _needed("sequence", sa.BigInteger()),
        _needed("updated_at", _TIME),
    )
    _table(
        "millrace_lease",
        metadata,
        _asset(key=True),
        _needed("token", sa.BigInteger()),
        sa.Column("run_id", _ID),
        _needed("by_process", sa.Boolean()),
        _needed("acquired_at", _TIME),
        _needed("expires_at", _TIME),
    )
    _table(
        "millrace_pointer",
        metadata,
        _asset(key=True),
        sa.Column("target", _NAME, primary_key=True),
        _needed("version_id", _ID),
        _needed("confirmed_at", _TIME),
    )


def _runs(metadata: sa.MetaData) -> None:
    _table(
        "millrace_run",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        _asset(),
        _needed("state", sa.String(16)),
        _needed("cause", _WORD),
        sa.Column("run_key", sa.String(250)),
        sa.Column("window_start", _TIME),
        sa.Column("window_end", _TIME),
        _needed("spec_digest", sa.String(64)),
        _needed("attempt", sa.Integer()),
        sa.Column("step", _WORD),
        _needed("host", _WORD),
        _needed("pid", sa.Integer()),
        _needed("machine", _WORD),
        _needed("process_started", sa.String(64)),
        _needed("started_at", _TIME),
        _needed("heartbeat_at", _TIME),
        sa.Column("published_at", _TIME),
        sa.Column("ended_at", _TIME),
        sa.Column("version_id", _ID),
        _needed("watermark_sequence", sa.BigInteger()),
        sa.Column("plan", _TEXT),
        sa.Column("stats", _TEXT),
        *_error(),
        sa.UniqueConstraint("asset", "run_key", name="millrace_run_key"),
        sa.Index("millrace_run_asset", "asset", "id"),
        sa.Index("millrace_run_state", "state"),
    )
    _table(
        "millrace_step",
        metadata,
        _run(key=True),
        sa.Column("name", _WORD, primary_key=True),
        _needed("position", sa.Integer()),
        _needed("state", sa.String(16)),
        _needed("attempt", sa.Integer()),
        sa.Column("started_at", _TIME),
        sa.Column("ended_at", _TIME),
        sa.Column("stats", _TEXT),
        *_error(),
    )


def _versions(metadata: sa.MetaData) -> None:
    _table(
        "millrace_version",
        metadata,
        sa.Column("id", _ID, primary_key=True),
        _asset(),
        _run(),
        _needed("state", sa.String(16)),
        sa.Column("row_count", sa.BigInteger()),
        _needed("fields", _TEXT),
        _needed("targets", _TEXT),
        _needed("stage_path", _TEXT),
        sa.Column("sequence", sa.BigInteger()),
        _needed("reason", _TEXT),
        sa.Column("watermark", _TEXT),
        _needed("created_at", _TIME),
        sa.Column("published_at", _TIME),
        sa.Column("retired_at", _TIME),
        sa.Column("erase_started_at", _TIME),
        sa.Column("erased_at", _TIME),
        sa.Index("millrace_version_asset", "asset", "id"),
        sa.Index("millrace_version_run", "run_id"),
    )


def _results(metadata: sa.MetaData) -> None:
    _table(
        "millrace_check",
        metadata,
        sa.Column("id", _SERIAL, primary_key=True),
        _run(),
        _asset(),
        _needed("step", _WORD),
        _needed("kind", _NAME),
        _needed("description", _TEXT),
        _needed("severity", sa.String(32)),
        _needed("passed", sa.Boolean()),
        sa.Column("observed", _TEXT),
        sa.Column("expected", _TEXT),
        _needed("sample", _TEXT),
        _needed("checked_at", _TIME),
        sa.Index("millrace_check_asset", "asset", "kind", "id"),
        sa.Index("millrace_check_run", "run_id"),
    )
    _table(
        "millrace_dirty",
        metadata,
        sa.Column("id", _SERIAL, primary_key=True),
        _run(),
        _needed("step", _WORD),
        _needed("target", _NAME),
        _needed("reason", _TEXT),
        _needed("origin", _TEXT),
        _needed("raw", _RAW),
        sa.Index("millrace_dirty_run", "run_id", "id"),
    )
