"""A local Airflow on the specs of a folder, and the pools of a larger one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.cli.output import exits, messages, results, show, table
from millrace.cli.spec_commands import Json
from millrace.errors import ConfigError
from millrace.spec.settings import Settings

Config = Annotated[Path | None, typer.Option(help="The file airflow.yaml: pools, retries, links, where Spark runs.")]
Specs = Annotated[list[Path], typer.Argument(help="Folders of specs.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    airflow = typer.Typer(no_args_is_help=True, help="Specs as Airflow DAGs: an Airflow of your own on this machine.")
    for name, command in (("up", up), ("status", status), ("down", down), ("pools", pools)):
        airflow.command(name=name)(command)
    app.add_typer(airflow, name="airflow")


def up(
    specs: Specs,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; by default a free one.")] = 0,
    config: Config = None,
    parallelism: Annotated[int, typer.Option(min=1, help="Tasks at the same time.")] = 4,
    as_json: Json = False,
) -> None:
    """Start an Airflow on 127.0.0.1 with a DAG for each spec; it stays until `millrace airflow down`.

    Stores whose connections are declared nowhere are embedded.
    """
    with exits():
        _needs_airflow()
        from millrace.dags.local import server

        settings = Settings.from_env()
        for name in server.embed_what_is_not_declared(specs, settings):
            messages.print(f"{name} is declared nowhere: an embedded store", markup=False)
        messages.print("starting Airflow; the first start takes a minute")
        _show(server.up(settings, specs, config=config, port=port, parallelism=parallelism), as_json)


def status(as_json: Json = False) -> None:
    """Show the address and the login of the local Airflow."""
    with exits():
        _needs_airflow()
        from millrace.dags.local import server

        found = server.running(Settings.from_env())
        if found is None:
            show(None, as_json, lambda: results.print("no Airflow is running; start one with `millrace airflow up`"))
        else:
            _show(found, as_json)


def down() -> None:
    """Stop the local Airflow, and the tasks that run in it. What it knows stays on disk for the next start."""
    with exits():
        _needs_airflow()
        from millrace.dags.local import server

        results.print("airflow: stopped" if server.down(Settings.from_env()) else "airflow: was not running")


def pools(
    specs: Specs,
    config: Config = None,
    parallelism: Annotated[int, typer.Option(min=1, help="Slots that Airflow has in all.")] = 32,
    as_json: Json = False,
) -> None:
    """Show the pools that specs need in Airflow, by business line and priority. The DAG bundle makes them itself."""
    with exits():
        from millrace.dags.config import load_config
        from millrace.dags.layout import spec_files
        from millrace.dags.outline import Outline
        from millrace.dags.pools import pools_for
        from millrace.spec import load_spec
        from millrace.spec.priority import Priority

        outlines = [Outline.of(load_spec(path)) for path in spec_files(specs)]
        lines = [(outline.business_line, Priority(outline.priority)) for outline in outlines]
        made = pools_for(lines, load_config(config), parallelism)
        rows = [(pool.name, pool.slots, pool.description) for pool in made]
        data = [dict(zip(("name", "slots", "description"), row, strict=True)) for row in rows]
        show(data, as_json, lambda: table("", ("pool", "slots", ""), rows, right=("slots",)))


def _show(found: Any, as_json: bool) -> None:
    data = {
        "address": found.address,
        "user": found.user,
        "password": found.password,
        "airflow_home": str(found.home),
        "log": str(found.log),
    }

    def person() -> None:
        results.print(f"Airflow is at {found.address}, user {found.user}, password {found.password}", markup=False)
        results.print(f"for its own command: export AIRFLOW_HOME={found.home}", markup=False)
        results.print("stop it with `millrace airflow down`")

    show(data, as_json, person)


def _needs_airflow() -> None:
    from importlib.util import find_spec

    if find_spec("airflow") is None:
        raise ConfigError(
            "Airflow is not installed", hint="install the extra that brings it: `pip install 'millrace[airflow]'`"
        )
