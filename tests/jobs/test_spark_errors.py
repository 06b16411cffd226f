"""What Spark says, in our words."""

from __future__ import annotations

import pytest

from millrace.errors import MillraceError, RunFailed, SourceError, TargetError, TransientError
from millrace.jobs.spark_errors import translate

WORKER = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "worker.py", line 1, in main
    process()
millrace.errors.TargetError: loading users into redis_online (redis://127.0.0.1:6379/0): OOM command not allowed
  → raise maxmemory, or lower versions.keep

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:581)
"""


def test_an_error_of_ours_comes_back_from_a_worker_as_itself() -> None:
    error = translate(Exception(WORKER), "loading users into redis")
    assert type(error) is TargetError
    assert error.message == "loading users into redis_online (redis://127.0.0.1:6379/0): OOM command not allowed"
    assert error.hint == "raise maxmemory, or lower versions.keep"


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("java.io.IOException: No space left on device", RunFailed, "free space"),
        ("x\nCaused by: com.mysql.cj.jdbc.exceptions.CommunicationsException: Communications link failure",
         TransientError, "server is up"),
        ("x\nCaused by: java.util.concurrent.TimeoutException: Cannot fetch record for offset 7 in 60000 milliseconds",
         TransientError, "brokers are up"),
        ("Caused by: org.apache.kafka.common.errors.TimeoutException: Timed out waiting for a node assignment. Call: x",
         TransientError, "brokers are up"),
        ("x\nCaused by: java.io.FileNotFoundException: File file:/a does not exist", SourceError, "plans anew"),
        ("Caused by: java.sql.SQLException: Access denied for user 'a'@'b'", SourceError, "password"),
        ("[DIVIDE_BY_ZERO] Division by zero. Use `try_divide`", RunFailed, "try_divide"),
        ("[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column `agee` cannot be resolved", RunFailed, "millrace preview"),
    ],
)  # fmt: skip
def test_known_failures_say_what_to_do(text: str, kind: type[MillraceError], hint: str) -> None:
    error = translate(Exception(text), "staging users from mysql")
    assert type(error) is kind
    assert error.message.startswith("staging users from mysql failed: ")
    assert hint in error.hint


def test_an_unknown_failure_shows_its_innermost_cause() -> None:
    error = translate(Exception("py4j\nCaused by: a.B: outer\nCaused by: java.lang.IllegalStateException: inner"), "x")
    assert type(error) is RunFailed
    assert error.message == "x failed: inner"


def test_our_own_error_is_left_alone() -> None:
    mine = SourceError("gone")
    assert translate(mine, "x") is mine
