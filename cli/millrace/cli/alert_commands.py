"""Commands on alerts: what is open and on its way, sending it, trying a destination, and looking for late assets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.catalog import AlertRecord, AlertState, IncidentRecord
from millrace.cli.output import exits, messages, results, show, table, tell
from millrace.cli.spec_commands import Json
from millrace.cli.workspace import open_catalog
from millrace.errors import NotFound, SpecError
from millrace.spec import Spec, load_spec
from millrace.spec.settings import Settings


def add_to(app: typer.Typer) -> None:
    alerts = typer.Typer(no_args_is_help=True, help="Who was told of what: open incidents, alerts on their way.")
    alerts.command(name="list")(list_alerts)
    alerts.command(name="send")(send_alerts)
    alerts.command(name="test")(try_destination)
    alerts.command(name="late")(late_assets)
    app.add_typer(alerts, name="alerts")


def list_alerts(
    state: Annotated[AlertState | None, typer.Option(help="Only alerts in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many alerts.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what is wrong with assets now, and the newest alerts with how they went."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        incidents = [_incident(found) for found in catalog.alerts.incidents()]
        alerts = [_alert(found) for found in catalog.alerts.list(state=state, limit=limit)]

        def person() -> None:
            shown = ("asset", "event", "seen", "since", "what")
            table("open incidents", shown, [[i[name] for name in shown] for i in incidents], right=("seen",))
            names = ("alert", "created", "asset", "event", "destination", "state", "tries", "error")
            table("alerts", names, [[a[name] for name in names] for a in alerts], right=("alert", "tries"))

        show({"incidents": incidents, "alerts": alerts}, as_json, person)


def send_alerts(
    now: Annotated[bool, typer.Option("--now", help="Also those whose next try is later.")] = False,
    as_json: Json = False,
) -> None:
    """Send the alerts that are due. Ends with code 6 when a destination was away."""
    from millrace.jobs.context import connections_of
    from millrace.quality.alerts import deliver

    with exits():
        settings = Settings.from_env()
        with open_catalog(settings) as catalog:
            if now:
                catalog.alerts.retry_all()
            went = deliver(catalog, connections_of(settings), lambda: datetime.now(UTC))
        rows = [
            {"alert": w.alert.id, "asset": w.alert.asset, "event": w.alert.event, "destination": w.alert.destination,
             "sent": not w.error, "error": w.error}
            for w in went
        ]  # fmt: skip
        names = ("alert", "asset", "event", "destination", "sent", "error")
        show(rows, as_json, lambda: table("", names, [[row[n] for n in names] for row in rows], right=("alert",)))
        if any(w.error for w in went):
            raise typer.Exit(6)


def try_destination(
    destination: Annotated[str, typer.Argument(help="The name of a connection.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Send a message to a destination that says that it is a test."""
    from millrace.jobs.context import connections_of
    from millrace.quality.alerts import send_test

    with exits():
        message = send_test(destination, connections_of(Settings.from_env()), datetime.now(UTC))
        data = {"destination": destination, "subject": message.subject}
        show(data, as_json, lambda: results.print(f"told '{destination}': {message.subject}", markup=False))


def late_assets(
    specs: Annotated[list[Path], typer.Argument(help="Spec files, or folders of them.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Find assets that were not published by the time that their specs say, tell it, and send what is due."""
    from millrace.jobs.alerting import late
    from millrace.jobs.context import connections_of
    from millrace.quality.alerts import deliver

    with exits():
        settings, now = Settings.from_env(), datetime.now(UTC)
        loaded, wrong = _loaded(_files(specs))
        with open_catalog(settings) as catalog:
            rows = [{"asset": spec.asset, "late": late(catalog, spec, settings, now)} for spec in loaded]
            went = deliver(catalog, connections_of(settings), lambda: datetime.now(UTC))
        for failed in (w for w in went if w.error):
            messages.print(f"'{failed.alert.destination}' is told later: {failed.error}", markup=False)

        def person() -> None:
            for row in rows:
                results.print(f"{row['asset']}: {'late' if row['late'] else 'in time'}", markup=False)

        show(rows, as_json, person)
        for error in wrong:
            tell(error)
        if wrong:
            raise typer.Exit(SpecError.exit_code)


def _loaded(paths: list[Path]) -> tuple[list[Spec], list[SpecError]]:
    """The specs, and what is wrong with others: one bad spec keeps no other asset from being found late."""
    specs: list[Spec] = []
    wrong: list[SpecError] = []
    for path in paths:
        try:
            specs.append(load_spec(path))
        except SpecError as error:
            wrong.append(error)
    return specs, wrong


def _files(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += sorted((*path.rglob("*.yaml"), *path.rglob("*.yml"))) if path.is_dir() else [path]
    if not found:
        raise NotFound(f"there is no spec in {', '.join(map(str, paths))}", hint="specs end in .yaml or .yml")
    return found


def _incident(found: IncidentRecord) -> dict[str, Any]:
    return {
        "asset": found.asset,
        "event": found.event,
        "seen": found.seen,
        "since": _time(found.opened_at),
        "last": _time(found.seen_at),
        "what": found.title,
    }


def _alert(found: AlertRecord) -> dict[str, Any]:
    waits = found.state is AlertState.WAITING
    return {
        "alert": found.id,
        "created": _time(found.created_at),
        "asset": found.asset,
        "run": found.run_id,
        "event": found.event,
        "destination": found.destination,
        "state": found.state.value.replace("_", " "),
        "tries": found.tries,
        "next_try": _time(found.next_try_at) if waits else None,
        "error": found.error,
        "subject": found.message["subject"],
    }


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
