"""The command as a user types it: a process of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-c", "from millrace.cli.main import main; main()")
LONGEST_S = 200


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """A user's folder and environment."""

    folder: Path
    env: dict[str, str]
    command: Sequence[str] = COMMAND

    def __call__(self, *words: str, **env: str) -> Finished:
        done = subprocess.run(
            [*self.command, *words],
            cwd=self.folder,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, **env: str) -> Finished:
        done = self(*words, **env)
        assert done.code == 0, f"{' '.join(words)}: exit {done.code}\n{done.out}\n{done.err}"
        return done

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *words],
            cwd=self.folder,
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def write(self, name: str, lines: Sequence[str]) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_GATEWAY", "MILLRACE_"))}
    for name in ("MILLRACE_CACHE", "MILLRACE_JARS"):
        if name in os.environ:
            env[name] = os.environ[name]
    env |= {"MILLRACE_SPARK_MASTER": "local[2]", "MILLRACE_SPARK_CONF": "spark.driver.memory=1g"}
    made = Shell(tmp_path, env)
    yield made
    made("embedded", "down")
