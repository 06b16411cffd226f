"""The command `millrace`. Each command is a thin edge: it parses, calls one thing, and prints what came back."""

from __future__ import annotations

import typer

from millrace.cli import inspect_commands, local_commands, run_commands, spec_commands

app = typer.Typer(
    name="millrace",
    help="One YAML spec from source to served: plan, stage, check, load, verify, publish, look up.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    epilog="Exit codes: 0 done, 1 failed, 2 the spec or the settings are wrong, 3 a check refused the data, "
    "4 too many dirty records, 5 another run holds the asset, 6 a server was away, 130 cancelled.",
)
for module in (spec_commands, run_commands, inspect_commands, local_commands):
    module.add_to(app)


def main() -> None:
    """The entry point of the command."""
    app()
