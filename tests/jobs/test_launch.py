"""The driver's JVM is started ahead only where a session will surely want it, and the process that forks workers has
no thread that a fork could leave hanging."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from millrace.cli.main import needs_spark
from millrace.jobs import class_sharing, launch


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run users.yaml", True),
        ("--debug test users.yaml", True),
        ("preview users.yaml --rows 3", True),
        ("run --help", False),
        ("validate run", False),
        ("--help", False),
        ("", False),
    ],
)
def test_only_commands_that_use_spark_start_it(line: str, expected: bool) -> None:
    assert needs_spark(line.split()) is expected


def test_a_jvm_that_nobody_connects_to_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_jvms", [])
    launch.ahead()
    (launched,) = launch._ahead
    launch.end_jvm()
    assert launched.process.poll() is not None
    assert not launched.answer.parent.exists()


def test_the_process_that_workers_are_forked_from_has_no_thread_of_pythons_or_numpys() -> None:
    code = """
import os, millrace.jobs.worker_daemon as daemon
daemon.load()
print(*(open(f"/proc/self/task/{thread}/comm").read().strip() for thread in os.listdir("/proc/self/task")))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    main, *others = done.stdout.split()
    assert main.startswith("python")
    assert set(others) <= {"jemalloc_bg_thd"}, "jemalloc's own thread is made to be forked; no other is"


def test_a_copy_of_a_signed_jar_holds_everything_but_the_signature(tmp_path: Path) -> None:
    signed = tmp_path / "janino-1.jar"
    with zipfile.ZipFile(signed, "w") as jar:
        for name in ("META-INF/MANIFEST.MF", "META-INF/DUMMY.SF", "META-INF/DUMMY.DSA", "a/B.class"):
            jar.writestr(name, name)
    copy = tmp_path / "unsigned" / signed.name
    class_sharing.without_signature(signed, copy)
    with zipfile.ZipFile(copy) as jar:
        assert jar.namelist() == ["META-INF/MANIFEST.MF", "a/B.class"]
        assert jar.read("a/B.class") == b"a/B.class"
