"""What the catalog knows, as frozen values. Times are timezone-aware and in UTC; JSON is plain dicts and lists.

Nothing here touches a database: records come out of the stores in this package and never change under the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from millrace.spec.types import Column, parse_type

Json = Any


class RunState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class VersionState(StrEnum):
    """`retired` is superseded, yet still in the stores until it is erased (`VersionRecord.erased_at`)."""

    LOADING = "loading"
    LOADED = "loaded"
    CURRENT = "current"
    RETIRED = "retired"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class ApiDefinition:
    """One API of a spec. `name` is unique over all assets; `kind` is `kv`, `sql` or `union`."""

    name: str
    kind: str
    definition: Mapping[str, Json]


@dataclass(frozen=True)
class ApiRecord:
    """An API name that an asset has claimed. `definition` is None until a version with it was published."""

    name: str
    asset: str
    kind: str
    definition: Mapping[str, Json] | None
    published_at: datetime | None


@dataclass(frozen=True)
class ApiMark:
    """What a server compares to see that an API has changed: equal marks mean an equal API over the same version."""

    name: str
    kind: str
    asset: str
    published_at: datetime
    generation: int


@dataclass(frozen=True)
class Registration:
    """A spec as the catalog keeps it: the text itself, its digest (sha256, hex), and the API names that it claims."""

    asset: str
    owner: str
    text: str
    digest: str
    apis: tuple[ApiDefinition, ...] = ()


@dataclass(frozen=True)
class AssetRecord:
    """`generation` grows by one with every publish and rollback. `spec_digest` is the last registered spec's."""

    name: str
    owner: str
    spec_digest: str
    current_version: str | None
    generation: int
    registered_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class AssetField:
    """A column of an asset with its Protobuf field number, which belongs to this name and type for ever."""

    name: str
    type: str
    number: int

    @property
    def column(self) -> Column:
        return Column(self.name, parse_type(self.type))


@dataclass(frozen=True)
class NewRun:
    """What is known of a run when it starts.

    `key` makes starting idempotent: a second start of the same asset and key gives the run that there is (e.g. a DAG
    run's id). `steps` are the run's steps in order: `plan`, `stage`, `check`, `load:<target>`, `verify:<target>`,
    `publish`, `retire`. The window is `[window_start, window_end)`. `choices` are what the caller chose besides.
    """

    asset: str
    spec_digest: str
    steps: tuple[str, ...]
    trigger: str = "manual"
    window_start: datetime | None = None
    window_end: datetime | None = None
    key: str | None = None
    choices: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class RunError:
    """Why a run or a step ended: the error class's name, its message, and what to do next."""

    kind: str
    message: str
    hint: str = ""


@dataclass(frozen=True)
class StepRecord:
    name: str
    state: StepState
    attempt: int
    started_at: datetime | None
    ended_at: datetime | None
    stats: Mapping[str, Json]
    error: RunError | None


@dataclass(frozen=True)
class RunRecord:
    """One execution of a spec. `attempt` is 1 at first and grows with each resume; `step` is the last one started."""

    id: str
    asset: str
    state: RunState
    trigger: str
    key: str | None
    window_start: datetime | None
    window_end: datetime | None
    spec_digest: str
    attempt: int
    step: str | None
    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    published_at: datetime | None
    ended_at: datetime | None
    version_id: str | None
    plan: Mapping[str, Json] | None
    stats: Mapping[str, Json]
    error: RunError | None
    steps: tuple[StepRecord, ...]
    choices: Mapping[str, Json]

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The steps that have not succeeded yet, in order. Resume starts with the first."""
        return tuple(s.name for s in self.steps if s.state is not StepState.SUCCEEDED)


@dataclass(frozen=True)
class Change:
    """How a version changes what its stores hold: by a whole new set of rows, or by some rows of its line.

    A line is the versions of `merge` or `append` that share one set of rows. `rows_id` is the first of them, None for
    that first one itself and for a version of `replace`. `append` overwrites the interval `[window_start, window_end)`,
    or everything when there is none; `deletes` is the column of `merge` that is true for rows that go away.

    Of `merge`, what a row of a key may take the place of: `by_interval`, rows of intervals that end no later;
    `latest_by`, rows with no greater value in that column, of which `newest` is the greatest that this version brings,
    as a number. Neither: any row.
    """

    mode: str = "replace"
    rows_id: str | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    deletes: str | None = None
    by_interval: bool = False
    latest_by: str | None = None
    newest: int | None = None


@dataclass(frozen=True)
class VersionRecord:
    """One immutable version of an asset.

    `sequence` orders versions by their first publication (None before). `published_at` is when it last became current,
    `retired_at` when it last stopped being current or was rejected, and `reason` why it was rejected or rolled back.
    `targets` maps each target's name to whatever the engine wants to know later. After `erase_started_at` the version
    can't be rolled back to; after `erased_at` nothing of it is left in the stores.
    """

    id: str
    asset: str
    run_id: str
    state: VersionState
    rows: int | None
    fields: tuple[AssetField, ...]
    targets: Mapping[str, Json]
    stage_path: str
    sequence: int | None
    reason: str
    created_at: datetime
    published_at: datetime | None
    retired_at: datetime | None
    erase_started_at: datetime | None
    erased_at: datetime | None
    change: Change = Change()

    @property
    def rows_id(self) -> str:
        """The version whose rows these are: its own id, unless it goes on in the line of another."""
        return self.change.rows_id or self.id


@dataclass(frozen=True)
class Lease:
    """The right to run an asset. `token` only ever grows: who holds an older one can't publish any more."""

    asset: str
    run_id: str
    token: int
    expires_at: datetime


@dataclass(frozen=True)
class LeaseHolder:
    """Who holds an asset's lease, for a person to find."""

    asset: str
    run_id: str
    host: str
    pid: int
    since: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Publication:
    """What one publish changes. `watermark` None leaves the asset's watermark as it is."""

    version_id: str
    watermark: Mapping[str, Json] | None = None
    apis: tuple[ApiDefinition, ...] = ()


@dataclass(frozen=True)
class Flip:
    """A moved pointer in the catalog: what the stores' own pointers must follow now."""

    asset: str
    version: VersionRecord
    previous: VersionRecord | None
    generation: int


@dataclass(frozen=True)
class PointerGap:
    """A target whose own pointer is not confirmed to be at the asset's current version."""

    asset: str
    target: str
    wanted: str
    confirmed: str | None


@dataclass(frozen=True)
class CheckResult:
    """One check of one run. `observed`, `expected` and `sample` are JSON; `kind` is e.g. `not_null`.

    With an `error` the check could not be evaluated in full, and it has not passed.
    """

    kind: str
    description: str
    severity: str
    passed: bool
    observed: Json = None
    expected: Json = None
    sample: tuple[Mapping[str, Json], ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class CheckRecord:
    """A kept check result, with the run that it belongs to. `step` is the step that checked."""

    run_id: str
    asset: str
    step: str
    result: CheckResult
    checked_at: datetime


class DirtyLike(Protocol):
    """Anything with a dirty row's reason, origin and raw bytes."""

    @property
    def reason(self) -> str: ...

    @property
    def origin(self) -> str: ...

    @property
    def raw(self) -> bytes: ...


@dataclass(frozen=True)
class DirtyRecord:
    """A kept dirty row. `id` grows within a run: pass the last one on as `after` to read the next page."""

    id: int
    run_id: str
    step: str
    target: str
    reason: str
    origin: str
    raw: bytes


@dataclass(frozen=True)
class DirtyReason:
    """How many rows one step set aside for one reason."""

    step: str
    target: str
    reason: str
    rows: int
