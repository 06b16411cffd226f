"""`millrace client`: a typed Python client and a `.proto` for one published API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.output import exits, results
from millrace.cli.workspace import open_catalog


def add_to(app: typer.Typer) -> None:
    app.command(name="client")(client)


def client(
    api: Annotated[str, typer.Argument(help="A published API.", metavar="API")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to; made when it isn't there.")] = Path(),
) -> None:
    """Write a typed Python client, and the .proto of its rows, for an API."""
    from millrace.serving.clients.proto import proto_files
    from millrace.serving.clients.python import python_client
    from millrace.serving.local import plan_of
    from millrace.spec.settings import Settings

    with exits():
        with open_catalog(Settings.from_env()) as catalog:
            plan = plan_of(catalog, api)
        out.mkdir(parents=True, exist_ok=True)
        for name, text in {f"{api}_client.py": python_client(plan), **proto_files(plan)}.items():
            (out / name).write_text(text, encoding="utf-8")
            results.print(f"wrote {out / name}", soft_wrap=True)
