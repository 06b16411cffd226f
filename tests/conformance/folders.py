"""A folder in place of a server: what sources of files read from in tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance.gap import Gap, never

_NO_SERVER = never("files on a disk have no server that could die, be slow or ask for a password")
NO_SERVER: dict[str, Gap] = {
    "test_a_server_that_dies_is_worth_another_try_and_the_plan_still_holds": _NO_SERVER,
    "test_a_wrong_password_is_refused_and_never_shown": _NO_SERVER,
    "test_secrets_are_never_logged": _NO_SERVER,
}


@contextmanager
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        yield found
    finally:
        shutil.rmtree(found)
