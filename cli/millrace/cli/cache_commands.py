"""`millrace caches`: what the caches of a running server bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from millrace.cli.output import exits, results, show, table
from millrace.cli.spec_commands import Json
from millrace.spec.settings import Settings

_ORIGINS = ("store", "l1", "l2", "stale", "default")
_NUMBERS = (*_ORIGINS, "L2 hits", "kept", "saved")


def add_to(app: typer.Typer) -> None:
    app.command(name="caches")(caches)


def caches(
    server: Annotated[str, typer.Argument(help="A server's address.", metavar="ADDRESS")] = "http://127.0.0.1:8080",
    ca: Annotated[str, typer.Option(help="The authorities that a server's certificate may be of, in PEM.")] = "",
    as_json: Json = False,
) -> None:
    """Show where a server's answers came from, and what compression saves in the shared cache.

    Of all its workers, since it started. It asks with the admin token, MILLRACE_ADMIN_TOKEN.
    """
    from millrace.serving.remote import admin_get

    with exits():
        found = admin_get(server, Settings.from_env().admin_token, "/v1/admin/caches", ca)
        show(found, as_json, lambda: _tell(found))


def _tell(found: Mapping[str, Any]) -> None:
    if not found["caches"]:
        results.print("no API was called yet")
        return
    table("", ("API", *_NUMBERS), [_row(entry) for entry in found["caches"]], right=_NUMBERS)


def _row(entry: Mapping[str, Any]) -> list[Any]:
    shared = entry.get("shared") or {}
    asked = shared.get("hit", 0) + shared.get("miss", 0)
    hits = f"{shared['hit'] / asked:.0%}" if asked else ""
    kept = f"{shared.get('kept_bytes', 0):,} of {shared.get('plain_bytes', 0):,} bytes" if shared else ""
    saved = f"{shared['saved']:.0%}" if shared else ""
    return [entry["api"], *(entry["answers"].get(origin, "") for origin in _ORIGINS), hits, kept, saved]
