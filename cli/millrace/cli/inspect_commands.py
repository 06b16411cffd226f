"""Commands that look: status, versions, checks, dirty, get."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from millrace.catalog import AssetRecord, Catalog, CheckResult, RunRecord, VersionRecord
from millrace.cli.lag import lag_text, lag_words, lags
from millrace.cli.output import exits, results, show, table, to_json
from millrace.cli.spec_commands import Json
from millrace.cli.streams import streams
from millrace.cli.workspace import KeptSpec, kept_spec, open_catalog
from millrace.connectors.readers import SqlResult
from millrace.errors import MillraceError, NotFound
from millrace.jobs.docs_place import address
from millrace.jobs.wording import count_text
from millrace.quality.alerts import overdue
from millrace.spec.settings import Settings

AssetName = Annotated[str, typer.Argument(help="An asset.", show_default=False)]
SHOWN_RAW = 200


def add_to(app: typer.Typer) -> None:
    for command in (status, versions, checks, dirty, get, query):
        app.command()(command)


def status(
    asset: Annotated[str | None, typer.Argument(help="An asset; all of them by default.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="How many runs of an asset.")] = 10,
    as_json: Json = False,
) -> None:
    """Show the assets with their current versions, or the runs, checks and statistics of one."""
    settings = Settings.from_env()
    with exits(), open_catalog(settings) as catalog:
        if asset is None:
            _status_of_all(catalog, settings, as_json)
        else:
            _status_of_one(catalog, settings, catalog.assets.get(asset), runs, as_json)


def versions(asset: AssetName, as_json: Json = False) -> None:
    """List the versions of an asset, newest first."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        catalog.assets.get(asset)
        found = [_version(v) for v in catalog.versions.list(asset)]
        names = ("version", "state", "rows", "created", "published", "erased", "reason")
        show(found, as_json, lambda: table(asset, names, [[v[n] for n in names] for v in found], right=("rows",)))


def checks(
    asset: AssetName,
    run: Annotated[str | None, typer.Option(help="A run; by default the last one that has checked something.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a run's checks found: observed, expected, and sample rows of those that failed."""
    settings = Settings.from_env()
    with exits(), open_catalog(settings) as catalog:
        record = catalog.runs.get(run) if run else _last_checked_run(catalog, asset)
        found = [c.result for c in catalog.checks.of_run(record.id)]
        data = {
            "run": record.id,
            "version": record.version_id if record.published_at else None,
            "data_docs": _docs(settings, record) if found else None,
            "checks": [result.__dict__ for result in found],
        }

        def person() -> None:
            table(f"run {record.id}", ("", "check", "severity", "observed", "expected"),
                  [(_mark(r), r.description, r.severity, _seen(r), r.expected) for r in found])  # fmt: skip
            for result in (r for r in found if r.sample):
                table("", (result.description,), [(json.dumps(row, ensure_ascii=False),) for row in result.sample])
            if found:
                results.print(f"data docs: {data['data_docs']}", markup=False, soft_wrap=True)

        show(data, as_json, person)


def dirty(
    asset: AssetName,
    run: Annotated[str | None, typer.Option(help="A run; by default the last one with dirty records.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows.")] = 20,
    after: Annotated[int, typer.Option(help="Go on after this row's number.")] = 0,
    as_json: Json = False,
) -> None:
    """Show the rows that a run set aside, with reason, origin and the raw bytes."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        record = catalog.runs.get(run) if run else _last_dirty_run(catalog, asset)
        rows = catalog.dirty.list(record.id, after=after, limit=limit)
        reasons = catalog.dirty.reasons(record.id)
        total = catalog.dirty.count(record.id)
        data = {
            "run": record.id,
            "total": total,
            "reasons": [r.__dict__ for r in reasons],
            "rows": [{**r.__dict__, "raw": r.raw} for r in rows],
        }

        def person() -> None:
            table(f"run {record.id}: {count_text(total, 'dirty record')}", ("rows", "step", "target", "reason"),
                  [(f"{r.rows:,}", r.step, r.target, r.reason) for r in reasons], right=("rows",))  # fmt: skip
            table("", ("#", "origin", "reason", "raw"),
                  [(r.id, r.origin, r.reason, _raw(r.raw)) for r in rows], right=("#",))  # fmt: skip

        show(data, as_json, person)


def get(
    asset: Annotated[str, typer.Argument(help="A KV API, or the asset that has one.", show_default=False)],
    key: Annotated[list[str], typer.Argument(help="The key; several parts for a composite one.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Look one row up in the current version: one line of JSON. Exit code 1 when there is none."""
    from millrace.serving import connect

    with exits(), connect() as client:
        try:
            row = client.kv(asset).get(*key)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="KEY") from None
        if row is None:
            raise NotFound(f"{asset} has no row with the key {', '.join(key)}")
        show(row, as_json, lambda: print(json.dumps(row, default=to_json, ensure_ascii=False)))


def query(
    asset: AssetName,
    sql: Annotated[str, typer.Argument(help="A query in the store's own SQL.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Ask the store of an asset by SQL, e.g. ClickHouse. The asset is a table of its own name."""
    with exits():
        result = asyncio.run(_query(Settings.from_env(), asset, sql))
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        show(rows, as_json, lambda: table("", result.columns, result.rows))


async def _query(settings: Settings, asset: str, sql: str) -> SqlResult:
    from millrace.serving.plans import sql_plan

    with open_catalog(settings) as catalog:
        reader = sql_plan(catalog, asset).reader(settings)
    await reader.open()
    try:
        return await reader.query(sql)
    finally:
        await reader.close()


def _status_of_all(catalog: Catalog, settings: Settings, as_json: bool) -> None:
    assets = catalog.assets.list()
    specs = {asset.name: kept_spec(catalog, asset) for asset in assets}
    behind = lags(catalog, settings, specs)
    rows = []
    for asset in assets:
        last = next(iter(catalog.runs.list(asset.name, limit=1)), None)
        current = catalog.versions.current(asset.name)
        rows.append(
            {
                "asset": asset.name,
                "version": asset.current_version,
                "rows": current.rows if current else None,
                "published": _text(current.published_at) if current else None,
                "last_run": last.id if last else None,
                "state": str(last.state) if last else None,
                "error": last.error.message.splitlines()[0] if last and last.error else None,
                "lag": behind.get(asset.name),
                "late": _late(catalog, specs[asset.name]),
            }
        )
    told = [*(["behind"] if behind else []), *(["late"] if any(row["late"] for row in rows) else [])]
    names = ("asset", "version", "rows", "published", *told, "last_run", "state", "error")
    shown = [{**r, "behind": lag_text(behind.get(str(r["asset"])))} for r in rows]
    show(rows, as_json, lambda: table("", names, [[r[n] for n in names] for r in shown], right=("rows", "behind")))


def _status_of_one(catalog: Catalog, settings: Settings, record: AssetRecord, limit: int, as_json: bool) -> None:
    asset, spec = record.name, kept_spec(catalog, record)
    lag, reads = lags(catalog, settings, {asset: spec}).get(asset), streams(settings, spec)
    runs = catalog.runs.list(asset, limit=limit)
    checked = catalog.checks.checked([run.id for run in runs])
    checks = catalog.checks.of_run(runs[0].id) if runs and runs[0].id in checked else []
    holder = catalog.leases.holder(asset)
    data = {
        "asset": asset,
        "version": record.current_version,
        "watermark": catalog.assets.watermark(asset),
        "lag": lag,
        "late": _late(catalog, spec),
        "streams": list(reads),
        "running": holder.run_id if holder else None,
        "runs": [_run(r) | {"data_docs": _docs(settings, r) if r.id in checked else None} for r in runs],
        "checks": [{**c.result.__dict__, "run": c.run_id} for c in checks],
    }

    def person() -> None:
        version = record.current_version or "— none published"
        late = f"; late, it should have been published by {data['late']}" if data["late"] else ""
        results.print(f"{asset}: version {version}{lag_words(lag)}{late}", soft_wrap=True)
        for line in reads:
            results.print(line, markup=False, soft_wrap=True)
        names = ("run", "state", "step", "started", "seconds", "read", "loaded", "dirty", "version")
        table(
            "", names, [[_run_row(r).get(n) for n in names] for r in runs], right=("seconds", "read", "loaded", "dirty")
        )
        last = runs[0].error if runs else None
        if last is not None:
            said = last.message.splitlines()[0] if checks else last.message
            results.print(f"run {runs[0].id}: {last.kind}: {said}", markup=False, soft_wrap=True)
        if checks:
            table(f"checks of run {checks[0].run_id}", ("", "check", "observed", "expected"),
                  [(_mark(c.result), c.result.description, _seen(c.result), c.result.expected)
                   for c in checks])  # fmt: skip

    show(data, as_json, person)


def _late(catalog: Catalog, spec: KeptSpec) -> str | None:
    """When a late asset should have been published; None while it is in time, or nobody can tell."""
    return None if isinstance(spec, MillraceError) else _text(overdue(catalog, spec, datetime.now(UTC)))


def _docs(settings: Settings, record: RunRecord) -> str:
    """Where the data docs are of a run that has checked something."""
    return address(settings, record.asset, record.id)


def _run(record: RunRecord) -> dict[str, Any]:
    return {
        "run": record.id,
        "state": str(record.state),
        "attempt": record.attempt,
        "step": record.step,
        "started": _text(record.started_at),
        "ended": _text(record.ended_at),
        "version": record.version_id,
        "published": _text(record.published_at),
        "error": record.error.__dict__ if record.error else None,
        "statistics": dict(record.stats),
    }


def _run_row(record: RunRecord) -> dict[str, Any]:
    statistics = record.stats or {}
    targets = statistics.get("targets", {})
    staged = "stage" in statistics.get("step_seconds", {})
    return {
        **_run(record),
        "seconds": f"{statistics['seconds']:.1f}" if statistics else None,
        "read": f"{statistics['source']['rows_read']:,}" if staged else None,
        "loaded": ", ".join(f"{t['rows_loaded']:,}" for t in targets.values()) if targets else None,
        "dirty": f"{statistics['rows_dirty']:,}" if staged else None,
    }


def _version(record: VersionRecord) -> dict[str, Any]:
    return {
        "version": record.id,
        "state": str(record.state),
        "rows": record.rows,
        "run": record.run_id,
        "created": _text(record.created_at),
        "published": _text(record.published_at),
        "erased": _text(record.erased_at),
        "reason": record.reason.splitlines()[0] if record.reason else "",
    }


def _mark(result: CheckResult) -> str:
    return "✓" if result.passed else "✗"


def _seen(result: CheckResult) -> str:
    """What a check saw, and why it could not be evaluated, if that is so."""
    problem = result.error and f"could not be evaluated: {result.error.strip().splitlines()[0]}"
    return "; ".join(filter(None, (_observed(result.observed), problem)))


def _observed(value: Any) -> str:
    """What a check saw, for a person: a value, or how many rows of how many were not as expected."""
    match value:
        case {"rows": int(rows), "unexpected": int(unexpected)}:
            return f"{unexpected:,} of {count_text(rows, 'row')}"
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case None | str():
            return value or ""
        case _:
            return json.dumps(value, ensure_ascii=False)


def _last_checked_run(catalog: Catalog, asset: str) -> RunRecord:
    run_id = catalog.checks.last_run(catalog.assets.get(asset).name)
    if run_id is None:
        raise NotFound(f"no run of {asset} has checked anything", hint="its spec has no `checks`, or none has run yet")
    return catalog.runs.get(run_id)


def _last_dirty_run(catalog: Catalog, asset: str) -> RunRecord:
    catalog.assets.get(asset)
    for record in catalog.runs.list(asset, limit=100):
        if catalog.dirty.count(record.id):
            return record
    raise NotFound(f"no run of {asset} has set rows aside", hint="name an older run with --run")


def _raw(raw: bytes) -> str:
    text = raw.decode("utf-8", "backslashreplace")
    return text if len(text) <= SHOWN_RAW else f"{text[:SHOWN_RAW]}… ({len(raw):,} bytes)"


def _text(time: datetime | None) -> str | None:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}" if time else None
