"""Generated pages: the commands as they are declared, and the connectors by their capabilities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer

from millrace import errors
from millrace.errors import MillraceError
from millrace.spec.connector import Connector, connectors
from millrace.spec.reference import MARK

_HIDDEN = ("--help", "--install-completion", "--show-completion")


def command_reference(app: typer.Typer) -> str:
    """The generated part of `docs/commands.md`: every command with its arguments and options, and the exit codes."""
    return "\n\n".join((MARK, *_commands("millrace", typer.main.get_command(app)), _exit_codes())) + "\n"


def connector_reference() -> str:
    """The generated part of `docs/connectors.md`: what each installed connector can do."""
    known = connectors().values()
    return "\n\n".join((MARK, "## Sources", _sources(known), "## Targets", _targets(known))) + "\n"


def _commands(path: str, command: Any) -> Iterator[str]:
    options = [p for p in command.params if p.opts[0] not in _HIDDEN]
    usage = [path, *(_placeholder(p) for p in options if not _is_option(p))]
    title = f"## `{' '.join(usage)}`" if " " in path else "## Every command"
    table = _table(("", "default", "what it is"), map(_option, options)) if options else ""
    yield "\n\n".join(filter(None, (title, command.help, table)))
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{path} {name}", inner)


def _is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("--")


def _placeholder(parameter: Any) -> str:
    name = parameter.name.upper() + ("…" if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> Sequence[str]:
    name = parameter.opts[0] if _is_option(parameter) else parameter.name.upper()
    value = "" if not _is_option(parameter) or parameter.is_flag else f" {parameter.name.upper()}"
    default = "" if parameter.required or parameter.default in (None, "", False) else f"`{parameter.default}`"
    more = f" Also by the variable `{parameter.envvar}`." if parameter.envvar else ""
    return f"`{name}{value}`", default, parameter.help + more


def _exit_codes() -> str:
    kinds: list[type[MillraceError]] = sorted(
        (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MillraceError)),
        key=lambda kind: kind.exit_code,
    )
    rows = [
        (str(kind.exit_code), f"`{kind.__name__}`", (kind.__doc__ or "").partition("\n")[0])
        for kind in kinds
        if kind is not MillraceError
    ]
    plain = [("0", "", "Done."), ("2", "", "The command was called with wrong arguments.")]
    ordered = sorted([*plain, *rows], key=lambda row: int(row[0]))
    return "## Exit codes\n\n" + _table(("code", "error", "what it means"), ordered)


def _sources(known: Iterable[Connector]) -> str:
    rows = [
        (
            f"`{c.name}`", c.summary, _listed(c.source.formats), _yes(c.source.incremental), _yes(c.source.lag),
            _yes(c.source.totals), _yes(c.source.reader), _listed(c.schemes), _runs(c.source.implementation),
        )
        for c in known
        if c.source is not None
    ]  # fmt: skip
    head = ("source", "what it is", "formats", "what is new alone", "tells how far behind", "counts and sums by itself",
            "SQL", "connections", "runs")  # fmt: skip
    return _table(head, rows)


def _targets(known: Iterable[Connector]) -> str:
    rows = [
        (
            f"`{c.name}`", c.summary, _listed(sorted(c.target.modes)), _listed(c.target.layouts),
            ", ".join(sorted(c.target.lookups)), _yes(c.target.queries), _yes(c.target.rollback),
            _yes(c.target.streams), _listed(c.schemes), _runs(c.target.implementation),
        )
        for c in known
        if c.target is not None
    ]  # fmt: skip
    head = ("target", "what it is", "modes", "layouts", "by key", "SQL", "rollback", "reads topics itself",
            "connections", "runs")  # fmt: skip
    return _table(head, rows)


def _yes(can: object) -> str:
    return "yes" if can else ""


def _runs(implementation: str | None) -> str:
    return "yes" if implementation else "not yet"


def _listed(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
