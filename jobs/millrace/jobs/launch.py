"""The driver's JVM as a process: started, also ahead of the session that will use it, connected to, and ended.

Importing this imports little, so that a command can start the JVM before it imports the rest.
"""

from __future__ import annotations

import atexit
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.errors import MillraceError, TransientError
from millrace.jobs import jvm
from millrace.jobs.configuration import configuration
from millrace.spec.settings import Settings

_START_TIMEOUT_S = 120.0
_GATEWAY_BYTES = 9


@dataclass(frozen=True)
class Launched:
    """A JVM that will write to `answer` how to reach it."""

    command: tuple[str, ...]
    process: subprocess.Popen[bytes]
    answer: Path


_ahead: list[Launched] = []
_jvms: list[subprocess.Popen[bytes]] = []


def ahead() -> None:
    """Start the JVM that this process's session will most likely want. What goes wrong is told when it is wanted."""
    try:
        settings = Settings.from_env()
        if settings.spark_master.startswith("local"):
            _ahead.append(_launch(configuration(settings, 0)))
    except (MillraceError, OSError):
        return


def gateway(conf: Mapping[str, str]) -> tuple[int, str]:
    """The port and the secret of a JVM with this configuration: the one that was started ahead, or a new one.

    It ends when this process does: its stdin closes. Raises ConfigError without a JDK 17, and TransientError when it
    ends or doesn't answer in two minutes.
    """
    launched = _ahead.pop() if _ahead else None
    if launched is not None and launched.command != tuple(jvm.command(conf)):
        _discard(launched)
        launched = None
    launched = launched or _launch(conf)
    try:
        found = _read(launched)
    finally:
        launched.answer.unlink(missing_ok=True)
        launched.answer.parent.rmdir()
    _jvms.append(launched.process)
    return found


def end_jvm(patience_s: float = 0.0) -> None:
    """Let the JVM that this process has started end by itself, if there is one: it does so when its stdin closes.

    With `patience_s` it is waited for. Raises TransientError when it hasn't ended by then, or has ended badly.
    """
    while _ahead:
        _discard(_ahead.pop())
    while _jvms:
        process = _jvms.pop()
        if process.stdin is not None:
            process.stdin.close()
        if patience_s:
            _await_end(process, patience_s)


def _launch(conf: Mapping[str, str]) -> Launched:
    command = tuple(jvm.command(conf))
    answer = Path(tempfile.mkdtemp(prefix="millrace-jvm-")) / "gateway"
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        env={
            "SPARK_LOCAL_IP": "127.0.0.1",
            **os.environ,
            "_PYSPARK_DRIVER_CONN_INFO_PATH": str(answer),
            "SPARK_HOME": str(jvm.spark_home()),
        },
        start_new_session=True,  # Ctrl-C is ours to handle
    )
    atexit.register(end_jvm)
    return Launched(command, process, answer)


def _read(launched: Launched) -> tuple[int, str]:
    process, answer = launched.process, launched.answer
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not answer.exists() or answer.stat().st_size < _GATEWAY_BYTES:
        if process.poll() is not None:
            raise TransientError(
                f"Spark's JVM ended with code {process.returncode} while it started",
                hint="its own message stands above; often there is too little memory (spark.driver.memory)",
            )
        if time.monotonic() > deadline:
            process.kill()
            raise TransientError(f"Spark's JVM did not answer within {_START_TIMEOUT_S:.0f} s", hint="run it again")
        time.sleep(0.01)
    data = answer.read_bytes()  # int32 port, int32 length, secret: what PySpark's own launcher reads
    port, length = struct.unpack("!ii", data[:8])
    return port, data[8 : 8 + length].decode()


def _await_end(process: subprocess.Popen[bytes], patience_s: float) -> None:
    try:
        code = process.wait(patience_s)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise TransientError(f"Spark's JVM did not end within {patience_s:.0f} s", hint="do it again") from error
    if code:
        raise TransientError(f"Spark's JVM ended with code {code}", hint="its own message stands above")


def _discard(launched: Launched) -> None:
    """Nobody has connected to it: there is nothing in it to end well."""
    launched.process.kill()
    launched.process.wait()
    launched.answer.unlink(missing_ok=True)
    launched.answer.parent.rmdir()
