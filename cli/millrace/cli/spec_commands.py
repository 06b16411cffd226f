"""Commands on a spec that start nothing: init, validate, schema, connectors."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from millrace.cli.output import exits, messages, results, show, table, tell
from millrace.errors import ConfigError, SpecError
from millrace.spec import Spec, load_spec
from millrace.spec.connector import Connector, connectors

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
SpecFile = Annotated[Path, typer.Argument(help="A spec file.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    app.command()(init)
    app.command()(validate)
    app.command()(schema)
    app.command(name="connectors")(list_connectors)


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("spec.yaml"),
    source: Annotated[str, typer.Option(help="The source's connector.")] = "mysql",
    target: Annotated[str, typer.Option(help="The target's connector.")] = "redis",
    force: Annotated[bool, typer.Option(help="Overwrite the file.")] = False,
) -> None:
    """Write a starter spec, with comments."""
    from millrace.spec.starter import starter_spec

    with exits():
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already", hint="name another file, or overwrite it with --force")
        path.write_text(starter_spec(path.stem.replace("-", "_").lower(), source, target), encoding="utf-8")
        messages.print(f"wrote {path}; next: `millrace validate {path}`")


def validate(
    specs: Annotated[list[Path], typer.Argument(help="Spec files.", show_default=False)], as_json: Json = False
) -> None:
    """Check specs, and show every error with file, line and column."""
    found: list[dict[str, Any]] = []
    with exits():
        failed: SpecError | None = None
        for path in specs:
            try:
                spec = load_spec(path)
                _check_arguments(spec)
                found.append({"file": str(path), "valid": True, "asset": spec.asset, "errors": []})
            except SpecError as error:
                failed = error
                lines = [str(d) for d in getattr(error, "diagnostics", ())] or [error.message]
                found.append({"file": str(path), "valid": False, "asset": None, "errors": lines})
                if not as_json:
                    tell(error)
        valid = [f["file"] for f in found if f["valid"]]
        show(found, as_json, lambda: results.print("\n".join(f"{file}: valid" for file in valid)) if valid else None)
        if failed is not None:
            raise typer.Exit(SpecError.exit_code)


def _check_arguments(spec: Spec) -> None:
    """What Great Expectations itself would refuse, where it is installed."""
    if importlib.util.find_spec("great_expectations") is not None:
        from millrace.jobs.check import refuse_bad_arguments

        refuse_bad_arguments(spec)


def schema(as_json: Json = False) -> None:
    """Print the JSON Schema of a spec, for completion in an editor."""
    from millrace.spec.schema import json_schema

    with exits():
        found = json_schema()
        show(found, as_json, lambda: print(json.dumps(found, indent=2, ensure_ascii=False)))


def list_connectors(as_json: Json = False) -> None:
    """List the connectors with their roles, modes and layouts."""
    with exits():
        rows = [describe(c) for c in connectors().values()]

        def person() -> None:
            table(
                "",
                ("connector", "roles", "modes", "layouts", "runs", "what it is"),
                [
                    (r["name"], ", ".join(r["roles"]), ", ".join(r["modes"]), ", ".join(r["layouts"]),
                     "yes" if r["available"] else "not yet", r["summary"])
                    for r in rows
                ],
            )  # fmt: skip

        show(rows, as_json, person)


def describe(connector: Connector) -> dict[str, Any]:
    """A connector's capabilities as data."""
    source, target = connector.source, connector.target
    roles = [name for name, role in (("source", source), ("target", target)) if role is not None]
    return {
        "name": connector.name,
        "summary": connector.summary,
        "roles": roles,
        "modes": sorted(target.modes) if target else [],
        "layouts": list(target.layouts) if target else [],
        "formats": list(source.formats) if source else [],
        "schemes": list(connector.schemes),
        "incremental": source.incremental if source else None,
        "lag": source.lag if source else None,
        "totals": source.totals if source else None,
        "rollback": target.rollback if target else None,
        "lookups": sorted(target.lookups) if target else [],
        "queries": bool((target and target.queries) or (source and source.reader)),
        "streams": target.streams if target else None,
        "available": all(role.implementation for role in (source, target) if role is not None),
    }
