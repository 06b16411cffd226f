"""Commands that read sources or write stores: plan, preview, run, test, rollback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from millrace.cli.output import exits, messages, rate_text, results, show, table, tell
from millrace.cli.progress import ProgressDisplay
from millrace.cli.spec_commands import Json, SpecFile
from millrace.cli.workspace import find_spec, open_catalog, targets_of
from millrace.connectors.base import Window
from millrace.jobs.request import RunRequest
from millrace.jobs.windows import parse_window
from millrace.jobs.wording import count_text, size_text
from millrace.spec import Spec, load_spec
from millrace.spec.settings import Settings
from millrace.spec.yaml_text import flow

Interval = Annotated[
    str | None,
    typer.Option(metavar="START/END", help="The data interval, in ISO 8601 and UTC, e.g. 2026-03-01/2026-03-02."),
]
FullRefresh = Annotated[
    bool, typer.Option("--full-refresh", help="Read the source from the start, into new rows, whatever the mode.")
]
SHOWN_SPLITS = 8
SHOWN_WIDTH = 60


def add_to(app: typer.Typer) -> None:
    for command in (plan, preview, run, rollback):
        app.command()(command)
    app.command(name="test")(trial_run)


def plan(path: SpecFile, interval: Interval = None, full_refresh: FullRefresh = False, as_json: Json = False) -> None:
    """Show what a run would read and write. Nothing is read but the source's own statistics."""
    from millrace.jobs.preview import plan_of

    with exits():
        settings, spec = Settings.from_env(), load_spec(path)
        with open_catalog(settings) as catalog:
            made = plan_of(spec, settings, catalog, window=_window(interval), full_refresh=full_refresh)
        data = made.to_json()
        show(data, as_json, lambda: _print_plan(spec, data))


def preview(
    path: SpecFile,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="How many rows.")] = 20,
    interval: Interval = None,
    as_json: Json = False,
) -> None:
    """Show the first rows after source and transform. Nothing is written."""
    from millrace.jobs.preview import preview_rows

    with exits():
        settings, spec = Settings.from_env(), load_spec(path)
        with open_catalog(settings) as catalog:
            found = preview_rows(spec, settings, catalog, rows, _window(interval))
        columns = [str(column) for column in found.columns]
        shown = [[_short(value) for value in row.values()] for row in found.rows]
        data = {"columns": columns, "rows": list(found.rows), "dirty": [d.__dict__ for d in found.dirty]}
        show(data, as_json, lambda: table("", [c.split(" ")[0] for c in columns], shown))
        for row in found.dirty:
            messages.print(f"dirty: {row.origin}: {row.reason}", markup=False)


def run(
    path: SpecFile,
    interval: Interval = None,
    full_refresh: FullRefresh = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for another run of the asset.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Run a spec: plan, stage, check, load, verify, publish, retire."""
    with exits():
        settings, spec = Settings.from_env(), load_spec(path)
        _run(spec, settings, RunRequest(_window(interval), full_refresh, wait_s=wait), as_json)


def trial_run(path: SpecFile, as_json: Json = False) -> None:
    """Run a whole spec against its own `test` connections, then take away all that it wrote."""
    from millrace.jobs.session import SessionHolder
    from millrace.jobs.trial import trial

    with exits():
        settings, spec = Settings.from_env(), load_spec(path)
        session = SessionHolder(settings, f"millrace test {spec.asset}", spec.limits.channels)
        with session, ProgressDisplay(messages) as display:
            report = trial(spec, settings, display, session)
        _show_report(report, as_json, "has passed the test and is removed")


def rollback(
    asset: Annotated[str, typer.Argument(help="An asset, or its spec file.", show_default=False)],
    to: Annotated[str | None, typer.Option(help="The version; by default the one before the current.")] = None,
    reason: Annotated[str, typer.Option(help="Kept with the version that is taken back.")] = "",
    as_json: Json = False,
) -> None:
    """Make an older version current again, in every target."""
    from millrace.jobs.publishing import rollback as flip_back

    with exits():
        settings = Settings.from_env()
        with open_catalog(settings) as catalog:
            spec = find_spec(catalog, asset)
            flip = flip_back(catalog, spec, targets_of(settings, spec), to, reason)
        previous = flip.previous.id if flip.previous else None
        data = {"asset": flip.asset, "version": flip.version.id, "previous": previous}
        show(
            data, as_json, lambda: results.print(f"{flip.asset}: version {flip.version.id} is current, was {previous}")
        )


def _window(interval: str | None) -> Window:
    return Window() if interval is None else parse_window(interval)


def _run(spec: Spec, settings: Settings, request: RunRequest, as_json: bool) -> None:
    from millrace.jobs import runner
    from millrace.jobs.session import SessionHolder

    session = SessionHolder(settings, f"millrace {spec.asset}", spec.limits.channels)
    with open_catalog(settings) as catalog, ProgressDisplay(messages) as display:
        try:
            report = runner.run(spec, settings, catalog, session, request, display)
        finally:
            session.leave()
    _show_report(report, as_json, "is published")


def _show_report(report: Any, as_json: bool, became: str) -> None:
    error = report.error
    data = {
        "run": report.run_id,
        "asset": report.asset,
        "version": report.version,
        "error": None
        if error is None
        else {"kind": type(error).__name__, "message": error.message, "hint": error.hint},
        "statistics": report.statistics.to_json(),
    }
    show(data, as_json, lambda: _print_statistics(data, became))
    if error is not None:
        tell(error)
        raise typer.Exit(error.exit_code)


def _print_statistics(data: Mapping[str, Any], became: str) -> None:
    """What the finished steps have done: a step that failed has no line."""
    statistics = data["statistics"]
    source, steps = statistics["source"], statistics["step_seconds"]
    rows = []
    if "stage" in steps:
        rows += [
            ("read", source["rows_read"], source["bytes_read"], source["seconds"], source["waited_s"], None,
             source["rows_dirty"]),
            ("staged", source["rows_staged"], source["bytes_staged"], source["seconds"], None, None, None),
        ]  # fmt: skip
    for name, t in statistics["targets"].items():
        rows.append(
            (f"→ {name}", t["rows_loaded"], t["bytes_loaded"], t["seconds"], t["source_waited_s"], t["target_waited_s"],
             t["rows_dirty"])
        )  # fmt: skip
    title = f"run {data['run']} of {data['asset']}"
    if rows:
        columns = ("", "rows", "bytes", "seconds", "rows/s", "waited for source", "waited for target", "dirty")
        cells = [
            (name, f"{count:,}", size_text(size), f"{seconds:.2f}", rate_text(count, seconds), _seconds(source_s),
             _seconds(target_s), dirty)
            for name, count, size, seconds, source_s, target_s, dirty in rows
        ]  # fmt: skip
        table(title, columns, cells, right=columns[1:])
    else:
        results.print(title)
    aside = f", {statistics['rows_quarantined']:,} quarantined" if statistics["rows_quarantined"] else ""
    older = max((t["rows_superseded"] for t in statistics["targets"].values()), default=0)
    aside += f", {older:,} superseded" if older else ""
    counts = f"{source['rows_filtered']:,} filtered, {statistics['rows_dirty']:,} dirty{aside}; " if rows else ""
    results.print(
        f"{counts}{statistics['seconds']:.1f} s in all, of which Spark's start {statistics['session_seconds']:.1f} s"
    )
    if steps:
        results.print(" · ".join(f"{name} {seconds:.2f} s" for name, seconds in steps.items()))
    if data["version"]:
        results.print(f"{data['asset']}: version {data['version']} {became}")


def _print_plan(spec: Spec, data: Mapping[str, Any]) -> None:
    source = data["source"]
    about = [f"about {count_text(source['estimated_rows'], 'row')}"] if source["estimated_rows"] is not None else []
    if source["estimated_bytes"] is not None:
        about.append(size_text(source["estimated_bytes"]))
    results.print(f"{spec.asset}: read from {source['connector']}" + (f", {', '.join(about)}" if about else ""))
    for note in source["notes"]:
        results.print(f"  {note}", markup=False)
    splits, channels = count_text(len(source["splits"]), "split"), count_text(data["channels"], "channel")
    results.print(f"  {splits} over {channels}:")
    for split in source["splits"][:SHOWN_SPLITS]:
        results.print("    " + ", ".join(f"{k}={_short(v)}" for k, v in split.items()), markup=False)
    if len(source["splits"]) > SHOWN_SPLITS:
        results.print(f"    … and {len(source['splits']) - SHOWN_SPLITS} more (--json shows all)")
    results.print(f"  columns: {', '.join(c['name'] + ' ' + c['type'] for c in source['columns'])}", markup=False)
    for target in data["targets"]:
        options = ", ".join(f"{k}={_short(v)}" for k, v in target["options"].items())
        results.print(f"{data['mode']} in {target['name']}: {options}", markup=False)


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, bytes) else flow(value) if isinstance(value, list | dict) else str(value)
    return text if len(text) <= SHOWN_WIDTH else text[: SHOWN_WIDTH - 1] + "…"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
