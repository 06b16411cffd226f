"""Keeping secrets that go to the JVM out of logs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_py4j_traces() -> Iterator[None]:
    """At level DEBUG, Py4J logs every argument that goes to the JVM: passwords too. Not so inside of this."""
    logger = logging.getLogger("py4j")
    before = logger.level
    logger.setLevel(max(before, logging.INFO))
    try:
        yield
    finally:
        logger.setLevel(before)
