"""Rows of the catalog's tables to the records of `model`, and the locked look at an asset that writes begin with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from millrace.catalog import schema
from millrace.catalog.model import (
    AssetField,
    AssetRecord,
    Change,
    RunError,
    RunRecord,
    RunState,
    StepRecord,
    StepState,
    VersionRecord,
    VersionState,
)
from millrace.errors import NotFound

Row = RowMapping

#: A version without its watermark, which may be large and only a rollback needs.
VERSION_COLUMNS = tuple(c for c in schema.version.columns if c.name != "watermark")


def lock_asset(connection: Connection, name: str) -> Row:
    """The asset's row, locked until the transaction's end: writes to one asset happen one after another.

    Whatever locks more than one row of an asset begins here, so two can't wait for each other. Raises NotFound.
    """
    statement = select(schema.asset).where(schema.asset.c.name == name).with_for_update()
    return _one(connection.execute(statement).mappings().first(), f"asset '{name}'", "`millrace status` lists them")


def run_row(connection: Connection, run_id: str) -> Row:
    statement = select(schema.run).where(schema.run.c.id == run_id)
    found = connection.execute(statement).mappings().first()
    return _one(found, f"run '{run_id}'", "`millrace status ASSET` lists an asset's runs")


def version_row(connection: Connection, version_id: str) -> Row:
    statement = select(*VERSION_COLUMNS).where(schema.version.c.id == version_id)
    found = connection.execute(statement).mappings().first()
    return _one(found, f"version '{version_id}'", "`millrace versions ASSET` lists an asset's versions")


def to_asset(row: Row) -> AssetRecord:
    return AssetRecord(
        name=row["name"],
        owner=row["owner"],
        spec_digest=row["spec_digest"],
        current_version=row["current_version"],
        generation=row["generation"],
        registered_at=row["registered_at"],
        updated_at=row["updated_at"],
    )


def to_run(row: Row, steps: Sequence[Row]) -> RunRecord:
    return RunRecord(
        id=row["id"],
        asset=row["asset"],
        state=RunState(row["state"]),
        trigger=row["cause"],
        key=row["run_key"],
        window_start=row["window_start"],
        window_end=row["window_end"],
        spec_digest=row["spec_digest"],
        attempt=row["attempt"],
        step=row["step"],
        host=row["host"],
        pid=row["pid"],
        started_at=row["started_at"],
        heartbeat_at=row["heartbeat_at"],
        published_at=row["published_at"],
        ended_at=row["ended_at"],
        version_id=row["version_id"],
        plan=row["plan"],
        stats=row["stats"] or {},
        error=_error(row),
        steps=tuple(to_step(s) for s in steps),
        choices=row["choices"] or {},
    )


def to_step(row: Row) -> StepRecord:
    return StepRecord(
        name=row["name"],
        state=StepState(row["state"]),
        attempt=row["attempt"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        stats=row["stats"] or {},
        error=_error(row),
    )


def to_version(row: Row) -> VersionRecord:
    return VersionRecord(
        id=row["id"],
        asset=row["asset"],
        run_id=row["run_id"],
        state=VersionState(row["state"]),
        rows=row["row_count"],
        fields=tuple(AssetField(name, type_, number) for name, type_, number in row["fields"]),
        targets=row["targets"],
        stage_path=row["stage_path"],
        sequence=row["sequence"],
        reason=row["reason"],
        created_at=row["created_at"],
        published_at=row["published_at"],
        retired_at=row["retired_at"],
        erase_started_at=row["erase_started_at"],
        erased_at=row["erased_at"],
        change=_change(row),
    )


def _change(row: Row) -> Change:
    return Change(
        mode=row["mode"] or "replace",
        rows_id=row["rows_id"],
        window_start=row["window_start"],
        window_end=row["window_end"],
        deletes=row["deletes"],
        by_interval=bool(row["by_interval"]),
        latest_by=row["latest_by"],
        newest=row["newest"],
    )


def error_values(error: RunError | None) -> dict[str, Any]:
    """The columns that hold an error; all NULL for none."""
    return {
        "error_kind": error.kind if error else None,
        "error_message": error.message if error else None,
        "error_hint": error.hint if error else None,
    }


def _error(row: Row) -> RunError | None:
    if row["error_kind"] is None:
        return None
    return RunError(row["error_kind"], row["error_message"] or "", row["error_hint"] or "")


def _one(found: Row | None, what: str, hint: str) -> Row:
    if found is None:
        raise NotFound(f"the catalog knows no {what}", hint=hint)
    return found
