"""A folder in place of a server: what sources of files read from in tests."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from millrace.errors import MillraceError, SourceError
from tests.conformance.gap import Gap, never

_NO_SERVER = never("files on a disk have no server that could die, be slow or ask for a password")
NO_SERVER: dict[str, Gap] = {
    "test_a_server_that_restarts_in_the_middle_loses_and_repeats_nothing": _NO_SERVER,
    "test_a_server_that_pauses_in_the_middle_is_waited_for": _NO_SERVER,
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


class Files:
    """What becomes of a place in a folder: mixed into the `Case` of a source of files."""

    #: Files that are gone stay so: the run ends, and the next one plans anew.
    lost: ClassVar[type[MillraceError]] = SourceError
    server: Path
    place: str

    def take_away(self) -> None:
        """All files vanish, also those that a task has yet to open."""
        (self.server / self.place).rename(self.server / f"{self.place}-away")

    def bring_back(self) -> None:
        (self.server / f"{self.place}-away").rename(self.server / self.place)

    @property
    def named_when_away(self) -> str:
        return self.place
