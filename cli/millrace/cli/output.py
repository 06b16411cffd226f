"""What commands print: tables and lines for a person, one JSON document for a machine, and the exit codes."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from millrace.errors import MillraceError, SpecError

#: Set by `--debug`: errors come with their whole trace.
DEBUG = "MILLRACE_DEBUG"

#: Columns that a table may take where there is no terminal to ask.
PLAIN_WIDTH = 180

#: Results go to standard output, everything that is said on the way to standard error.
results = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
messages = Console(stderr=True, soft_wrap=True, highlight=False)


def show(data: Any, as_json: bool, person: Callable[[], None]) -> None:
    """Print a command's result: JSON for a machine, or else what `person` prints."""
    if as_json:
        print(json.dumps(data, default=to_json, ensure_ascii=False, indent=2))
    else:
        person()


def to_json(value: Any) -> Any:
    """The JSON form of values that JSON lacks."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal():
            return str(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case set() | frozenset() | tuple():
            return list(value)
        case _:
            return str(value)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[str] = ()) -> None:
    """Print a table; the columns named in `right` are aligned to the right."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*["" if cell is None else str(cell) for cell in row])
    results.print(made)


@contextmanager
def exits() -> Iterator[None]:
    """Turn our errors into a message on standard error and their exit code; nothing else is caught."""
    try:
        yield
    except MillraceError as error:
        tell(error)
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # the reader has left: end quietly
        raise typer.Exit(0) from None


def tell(error: MillraceError) -> None:
    """Print an error for a person."""
    if isinstance(error, SpecError) and error.diagnostics:
        for diagnostic in error.diagnostics:
            messages.print(diagnostic.full(), style="red", markup=False)
        return
    messages.print(f"{type(error).__name__}: {error.message}", style="red", markup=False)
    if error.hint:
        messages.print(f"  → {error.hint}", markup=False)
    if os.environ.get(DEBUG):
        messages.print("".join(traceback.format_exception(error)), markup=False)


def rate_text(rows: int, seconds: float) -> str:
    return f"{rows / seconds:,.0f}/s" if seconds > 0 else "—"
