"""A reader of a page: does what the page says, from its first block to its last, in a folder of their own.

A command that ends in ` &` goes on until the page ends; it has begun when it has printed what the page shows, its log
(standard error) aside. Ports of 127.0.0.1 that a page's commands name are free ones here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.expected import Example, examples, match, with_real_ids
from tests.docs.pages import ROOT, Block, Page
from tests.servers.process import free_port

LONGEST_S = 120
_PORT = re.compile(r"(127\.0\.0\.1:|--(?:grpc-)?port )(\d+)")
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
    ports: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def read(self) -> None:
        """Do every block that can be done. Raises PageError at the first that goes otherwise than the page says."""
        blocks = self.page.blocks
        for block, following in zip(blocks, (*blocks[1:], None), strict=True):
            if block.name:
                self._write(block)
            match block.kind:
                case "console":
                    for example in examples(block.text):
                        self._try(block, example)
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
        """Stop the servers and the embedded stores that the page has started."""
        for server in self.running:
            server.terminate()
        for server in self.running:
            server.wait(LONGEST_S)
        self._run("millrace", "embedded", "down")

    def _try(self, block: Block, example: Example) -> None:
        command = with_real_ids(example.command, self.ids)
        command = _PORT.sub(lambda m: m[1] + self.ports.setdefault(m[2], str(free_port())), command)
        if command.endswith(" &"):
            self._compare(block, example, self._start(command.removesuffix(" &"), example.output))
        else:
            self._compare(block, example, self._run("bash", "-c", command))

    def _start(self, command: str, shown: str) -> subprocess.CompletedProcess[str]:
        """Start a command that goes on, and wait until it has printed what is shown, or has ended."""
        with tempfile.NamedTemporaryFile() as printed, tempfile.NamedTemporaryFile() as log:
            server = subprocess.Popen(
                ("bash", "-c", f"exec {command}"),
                cwd=self.folder,
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=log,
            )
            self.running.append(server)
            deadline = time.monotonic() + LONGEST_S
            while True:
                ended = server.poll()
                text = Path(printed.name).read_text(encoding="utf-8")
                if ended is not None or match(shown, text, self.ids) is not None or time.monotonic() > deadline:
                    told = Path(log.name).read_text(encoding="utf-8")
                    return subprocess.CompletedProcess(command, ended or 0, text, told)
                time.sleep(0.1)

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
