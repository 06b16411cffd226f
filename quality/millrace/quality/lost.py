"""Whether an error says something about the data, or only that Spark went away or was told to stop."""

from __future__ import annotations

from py4j.protocol import Py4JNetworkError  # type: ignore[import-untyped]  # py4j has no types

_TOLD_TO_STOP = (
    "SPARK_JOB_CANCELLED",
    "SparkContext was shut down",
    "cancelled because SparkContext",
    "stopped SparkContext",
    "OutOfMemoryError",
    "No space left on device",
    "Executor heartbeat timed out",
    "ExecutorLostFailure",
)


def is_lost(error: BaseException) -> bool:
    """True when the same question might be answered later, so that it is no verdict on the data."""
    if isinstance(error, Py4JNetworkError | ConnectionError):
        return True
    text = str(error)
    return any(sign in text for sign in _TOLD_TO_STOP)
