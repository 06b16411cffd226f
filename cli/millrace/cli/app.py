"""The command `millrace`. Each command is a thin edge: it parses, calls one thing, and prints what came back."""

from __future__ import annotations

import os
from importlib import metadata
from typing import Annotated

import typer

from millrace.cli import (
    access_commands,
    airflow_commands,
    alert_commands,
    cache_commands,
    client_commands,
    inspect_commands,
    local_commands,
    run_commands,
    serve_commands,
    spec_commands,
)
from millrace.cli.output import DEBUG, results

app = typer.Typer(
    name="millrace",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    epilog="Exit codes: 0 done, 1 failed, 2 the spec or the settings are wrong, 3 a check refused the data, "
    "4 too many dirty records, 5 another run holds the asset, 6 a server was away, 130 cancelled.",
)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(help="Show the whole trace of an error.", envvar=DEBUG)] = False,
    version: Annotated[bool, typer.Option("--version", help="Show millrace's version.")] = False,
) -> None:
    """One YAML spec from source to served: plan, stage, check, load, verify, publish, look up."""
    if version:
        results.print(f"millrace {metadata.version('millrace')}", highlight=False)
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail("Missing command.")
    if debug:
        os.environ[DEBUG] = "1"


for module in (
    spec_commands,
    run_commands,
    inspect_commands,
    serve_commands,
    cache_commands,
    client_commands,
    access_commands,
    local_commands,
    airflow_commands,
    alert_commands,
):
    module.add_to(app)
