"""What Spark, the JVM and Python workers say when something fails, turned into our errors with what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace import errors
from millrace.errors import MillraceError, RunFailed, SourceError, TransientError

_OURS = re.compile(r"millrace\.errors\.(\w+): (.*?)(?:\n  → (.*?))?(?:\n\n|\n\tat |\n[A-Z]|\Z)", re.DOTALL)


@dataclass(frozen=True)
class _Known:
    """A failure that we recognise by its text: what it is, and what a person should do."""

    pattern: str
    kind: type[MillraceError]
    hint: str


_KNOWN: Sequence[_Known] = (
    _Known(
        r"No space left on device|ENOSPC|Disk quota exceeded",
        RunFailed,
        "free space on the disk of MILLRACE_WORK_DIR (or of spark.local.dir), or name a larger one; then run again: "
        "readers still have the version that they had",
    ),
    _Known(
        r"DIVIDE_BY_ZERO|ARITHMETIC_OVERFLOW|CAST_INVALID_INPUT|CAST_OVERFLOW|NUMERIC_VALUE_OUT_OF_RANGE|CANNOT_PARSE_TIMESTAMP",
        RunFailed,
        "an expression of `where`, `derive` or `sql` failed on some row: use its try_ form (try_divide, try_cast, "
        "try_to_timestamp), or the step `cast`, which sets such rows aside",
    ),
    _Known(
        r"UNRESOLVED_COLUMN|FIELD_NOT_FOUND|UNRESOLVED_ROUTINE|PARSE_SYNTAX_ERROR|DATATYPE_MISMATCH|MISSING_AGGREGATION|INVALID_PARAMETER",
        RunFailed,
        "correct the expression in the spec's transform; `millrace preview` shows the columns that it sees",
    ),
    _Known(
        r"Communications link failure|CommunicationsException|Connection refused|Connection reset"
        r"|SocketTimeoutException|Lost connection|server has gone away|Too many connections",
        TransientError,
        "see whether the server is up and reachable from the executors; the step is tried again by itself",
    ),
    _Known(
        r"kafka\.common\.errors\.(?:Timeout|Disconnect|Network|BrokerNotAvailable|LeaderNotAvailable|NotLeaderOrFollower)"
        r"Exception|Timed out waiting for a node assignment|Cannot fetch record for offset|Timeout of \d+ ?ms expired",
        TransientError,
        "see whether the brokers are up and reachable from the executors, or raise the connection's `timeout`; the "
        "step is tried again by itself",
    ),
    _Known(
        r"Python worker exited unexpectedly|Unexpected end of input trying to read batch",
        TransientError,
        "a Python worker ended: it was killed (memory?), or a MySQL server said nothing for the connection's "
        "read-timeout; the executor's log tells",
    ),
    _Known(
        r"FAILED_READ_FILE\.FILE_NOT_EXIST|FileNotFoundException|File \S+ does not exist",
        SourceError,
        "a file that the run has planned to read is gone: put it back and run the step again, or start a new run, "
        "which plans anew with the files that there are",
    ),
    _Known(r"Access denied for user", SourceError, "correct user and password of the connection"),
    _Known(
        r"Unknown column|doesn't exist|Unknown database|Unknown table",
        SourceError,
        "the source has changed since it was planned: run again to plan anew, and see the spec's columns",
    ),
    _Known(
        r"OutOfMemoryError|GC overhead limit|exit code 137|SIGKILL",
        TransientError,
        "give the driver and the workers more memory (spark.driver.memory in MILLRACE_SPARK_CONF), or lower "
        "limits.channels",
    ),
)


def translate(error: BaseException, doing: str) -> MillraceError:
    """Our error for a failure of Spark while `doing` something, e.g. "loading user_profile into redis".

    An error of ours that a Spark worker raised comes back as itself; what we don't know becomes RunFailed.
    """
    if isinstance(error, MillraceError):
        return error
    text = str(error)
    ours = _OURS.search(text)
    if ours:
        kind = getattr(errors, ours.group(1), RunFailed)
        return _made(kind, ours.group(2).strip(), (ours.group(3) or "").strip())
    for known in _KNOWN:
        if re.search(known.pattern, text):
            return known.kind(f"{doing} failed: {_cause(text)}", hint=known.hint)
    return RunFailed(f"{doing} failed: {_cause(text)}", hint="`millrace --debug …` shows the whole trace")


def _made(kind: type[MillraceError], message: str, hint: str) -> MillraceError:
    return kind(message, hint=hint)


def _cause(text: str) -> str:
    """The innermost `Caused by`, or else the first line that says something."""
    causes: list[str] = re.findall(r"Caused by: (.+)", text)
    if causes:
        return _plain(causes[-1])
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    says: Mapping[bool, list[str]] = {True: [], False: []}
    for line in lines:
        says[bool(re.match(r"[\w.]+(Error|Exception|Failure)\b|\[[A-Z_.]+\]", line))].append(line)
    return _plain((says[True] or says[False] or ["no message"])[0])


def _plain(line: str) -> str:
    return re.sub(r"^(?:[a-z][\w$]*\.)+(\w+(?:Exception|Error)):\s*", "", line)[:500]
