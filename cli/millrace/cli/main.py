"""The entry point of the command: what takes long to start is started first, then the command is read."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_RUN_ON_SPARK = frozenset({"run", "test", "preview"})


def main() -> None:
    """Do the command of `sys.argv`. Spark's JVM starts meanwhile, for those that need it."""
    if needs_spark(sys.argv[1:]):
        from millrace.jobs.launch import ahead

        ahead()
    from millrace.cli.app import app

    app()


def needs_spark(arguments: Sequence[str]) -> bool:
    """Whether this is a command that will surely start a Spark session, if its spec is right."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    return command in _RUN_ON_SPARK and "--help" not in arguments
