"""The embedded servers: stores that millrace starts on this machine for connections written `embedded`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from millrace.cli.output import exits, results, show, table
from millrace.cli.spec_commands import Json
from millrace.spec.settings import Settings


def add_to(app: typer.Typer) -> None:
    embedded = typer.Typer(
        no_args_is_help=True,
        help="Look at and stop the embedded stores. They start by themselves when a connection is `embedded`.",
    )
    embedded.command(name="status")(embedded_status)
    embedded.command(name="down")(embedded_down)
    app.add_typer(embedded, name="embedded")


def embedded_status(as_json: Json = False) -> None:
    """List the embedded servers of this folder's .millrace, with port, process and data."""
    from millrace.connectors.embedded import status

    with exits():
        rows: list[dict[str, Any]] = [
            {"name": s.name, "running": s.pid is not None, "pid": s.pid, "port": s.port, "data": str(s.data)}
            for s in status(Settings.from_env().home)
        ]
        names = ("name", "running", "pid", "port", "data")
        show(rows, as_json, lambda: table("", names, [[r[n] for n in names] for r in rows], right=("pid", "port")))


def embedded_down(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; all of them by default.")] = None,
) -> None:
    """Stop embedded servers. What they hold stays on disk for the next start."""
    from millrace.connectors.embedded import status, stop

    with exits():
        home = Settings.from_env().home
        for name in names or [s.name for s in status(home)]:
            stopped = stop(name, home)
            results.print(f"{name}: {'stopped' if stopped else 'was not running'}")
