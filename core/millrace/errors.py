"""The errors of millrace, grouped by what a runner does with them.

    MillraceError
    ├── SpecError               stop before the start: the spec, a connection or a setting is wrong
    │   └── ConfigError             a connection or setting is missing or malformed
    ├── NotAvailable            stop before the start: declared and valid, but this release can't run it
    ├── RunConflict             stop before the start: another run of the asset holds its lease
    ├── TransientError          retry: a server was away, slow or restarting
    ├── RunFailed               give up: doing it again would fail again
    │   ├── CheckFailed             a quality check refused the data
    │   ├── DirtyLimitExceeded      more dirty records than the spec allows
    │   ├── ConservationError       read != loaded + dirty + filtered + quarantined
    │   ├── VerifyFailed            what was read back is not what was loaded
    │   ├── SourceError             the source refused, changed, or can't be read as declared
    │   ├── TargetError             the target refused the data or the credentials
    │   ├── RunTimeout              the run took longer than `limits.timeout`
    │   └── NotFound                an asset, run, version or key that the catalog doesn't know
    └── Cancelled               a person or the scheduler stopped the run

Rows that can't be converted or written are not errors: they are `DirtyRow` values, set aside and counted.
Every message says what was being done, to which asset and store, what went wrong and what to do next, and
never holds a secret's value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from millrace.spec.diagnostics import Diagnostic


class MillraceError(Exception):
    """Base of every error that millrace raises on purpose.

    `hint` says what to do next; `exit_code` is what the command returns to a script.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class SpecError(MillraceError):
    """The spec can't be used; nothing was started. `diagnostics` are all errors of its file, in their order."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", diagnostics: Sequence[Diagnostic] = ()) -> None:
        super().__init__(message, hint=hint)
        self.diagnostics = tuple(diagnostics)


class ConfigError(SpecError):
    """A connection or a setting is missing or malformed; nothing was started."""


class NotAvailable(MillraceError):
    """Valid, but not yet runnable in this release; nothing was started."""

    exit_code = 2


class RunConflict(MillraceError):
    """Another run of the same asset holds its lease; nothing was started."""

    exit_code = 5


class TransientError(MillraceError):
    """A server was away, slow or restarting: the same step may pass when it is tried again."""

    exit_code = 6


class RunFailed(MillraceError):
    """The run can't succeed by being repeated as it is. Readers keep the version that they had."""


class CheckFailed(RunFailed):
    """One or more blocking checks refused the staged data."""

    exit_code = 3


class DirtyLimitExceeded(RunFailed):
    """More dirty records than `limits.dirty` allows."""

    exit_code = 4


class ConservationError(RunFailed):
    """Rows went missing or were doubled: read != loaded + dirty + filtered + quarantined."""


class VerifyFailed(RunFailed):
    """A target does not hold what was loaded into it."""


class SourceError(RunFailed):
    """The source refused, has changed, or can't be read as declared."""


class TargetError(RunFailed):
    """The target refused the data or the credentials."""


class RunTimeout(RunFailed):
    """The run took longer than `limits.timeout`."""


class NotFound(RunFailed):
    """An asset, run, version or key that is not known."""


class Cancelled(MillraceError):
    """A person or the scheduler stopped the run. Readers keep the version that they had."""

    exit_code = 130
