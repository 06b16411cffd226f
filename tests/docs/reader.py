"""A reader of a page: does what the page says, from its first block to its last, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.expected import Example, examples, match, with_real_ids
from tests.docs.pages import ROOT, Block, Page

LONGEST_S = 120
SMALL_SPARK = {"MILLRACE_SPARK_MASTER": "local[2]", "MILLRACE_SPARK_CONF": "spark.driver.memory=1g"}


class PageError(AssertionError):
    """A page says what is not so. The message begins with the page and the line of the block."""


@dataclass
class Reader:
    """Runs the blocks of one page. `sql` runs a statement on the page's MySQL database."""

    page: Page
    folder: Path
    env: Mapping[str, str]
    sql: Callable[[str], object]
    ids: dict[str, str] = field(default_factory=dict)

    def read(self) -> None:
        """Do every block that can be done. Raises PageError at the first that goes otherwise than the page says."""
        blocks = self.page.blocks
        for block, following in zip(blocks, (*blocks[1:], None), strict=True):
            if block.name:
                self._write(block)
            match block.kind:
                case "console":
                    for example in examples(block.text):
                        self._compare(block, example, self._run("bash", "-c", with_real_ids(example.command, self.ids)))
                case "sh":
                    self._compare(block, Example("", "…", 0), self._run("bash", "-euo", "pipefail", "-c", block.text))
                case "python":
                    shows = following is not None and following.kind == "text" and not following.name
                    shown = following.text if following is not None and shows else "…"
                    program = with_real_ids(block.text, self.ids)
                    self._compare(block, Example("", shown, 0), self._run(sys.executable, "-c", program, errors=False))
                case "sql":
                    for statement in filter(str.strip, block.text.split(";\n")):
                        self.sql(statement)

    def close(self) -> None:
        """Stop the embedded stores that the page has started."""
        self._run("millrace", "embedded", "down")

    def _write(self, block: Block) -> None:
        path = self.folder / block.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")

    def _run(self, *command: str, errors: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command; standard error stands in its output too, or else apart."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if errors else subprocess.PIPE,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )

    def _compare(self, block: Block, example: Example, ran: subprocess.CompletedProcess[str]) -> None:
        found = match(example.output, ran.stdout, self.ids)
        if found is None or ran.returncode != example.exit_code:
            raise PageError(
                f"{self.page.name}:{block.line}: {example.command}\n"
                f"--- the page shows (exit code {example.exit_code})\n{example.output}\n"
                f"--- what was printed (exit code {ran.returncode})\n{ran.stdout}{ran.stderr or ''}"
            )
        self.ids |= found


def environment(**more: str) -> dict[str, str]:
    """This process's environment without millrace's own settings, with its command and this checkout at hand."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYSPARK_", "MILLRACE_")) or name in ("MILLRACE_CACHE", "MILLRACE_JARS")
    }
    commands = str(Path(sys.executable).parent)
    return {
        **kept,
        **SMALL_SPARK,
        "PATH": f"{commands}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",  # what goes to the two outputs stays in its order, as on a terminal
        "COLUMNS": "120",
        "TZ": "America/New_York",  # no page shows a time of where its reader is
        **more,
    }
