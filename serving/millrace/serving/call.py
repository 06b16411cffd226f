"""The one shape between transports (HTTP, gRPC, the library) and APIs: a `Call` goes in, an `Answer` comes out.

    transport ─▶ Call ─▶ guards ─▶ cache ─▶ API ─▶ store
              ◀─ Answer ◀──────────────────────────

A transport makes the call with its context and encodes the answer. An API never knows which transport asked.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from millrace.spec.priority import Priority
from millrace.spec.types import Column, DataType

if TYPE_CHECKING:
    from millrace.serving.views import View


class Operation(StrEnum):
    """What is asked of an API. `arguments` of a call: what stands behind each."""

    GET = "get"  # kv: one key, a value or a tuple
    MULTI_GET = "mget"  # kv: a sequence of keys
    EXISTS = "exists"  # kv: one key
    RANGE = "range"  # kv: one key, answered by the row whose interval holds it
    SCAN = "scan"  # kv: prefix, limit, cursor
    QUERY = "query"  # sql: a query's tree, or a name and parameters
    STREAM = "stream"  # sql: the same, for all rows
    UNION = "union"  # union: the input's fields by name


@dataclass(frozen=True)
class Consumer:
    """Who calls. `grants` is for the guard that checks them; what it holds is known to that guard alone."""

    name: str
    grants: Any = None
    priority: Priority = Priority.HIGH


ANONYMOUS = Consumer("anonymous")


@dataclass(slots=True)
class Context:
    """What is known of a request besides what it asks. `deadline` is on the clock of `time.monotonic`."""

    consumer: Consumer = ANONYMOUS
    priority: Priority | None = None  # the API's own when None
    deadline: float | None = None
    fresh: bool = False  # the cache is passed by, and refreshed
    trace: Any = None

    def remaining_s(self) -> float | None:
        """Seconds to the deadline, negative when it has passed; None without one."""
        return None if self.deadline is None else self.deadline - time.monotonic()


@dataclass(slots=True)
class Call:
    """One request to one API; or several of one consumer, that came at the same time and pass its guards together."""

    operation: Operation
    arguments: Any
    context: Context = field(default_factory=Context)
    view: View | None = None  # what the consumer may see, set by the guard that knows
    requests: int = 1


class Origin(StrEnum):
    """Where an answer came from."""

    STORE = "store"
    L1 = "l1"
    L2 = "l2"
    STALE = "stale"  # an expired answer, because the store failed or while a fresh one is fetched
    DEFAULT = "default"  # the spec's default, because the store failed

    @property
    def mark(self) -> str:
        """What an answer says of itself when it is less than what was asked for; "" for all others."""
        return str(self) if self in (Origin.STALE, Origin.DEFAULT) else ""


@dataclass(slots=True)
class Answer:
    """What an API answers. `body` is of the operation; a transport knows how to encode each kind:

    | body | of |
    |---|---|
    | `kv.Rows` | get, mget, range, scan: stored bytes with what is needed to read them |
    | `bool` | exists |
    | `Table` | query |
    | `Stream` | stream |
    | a mapping | union |

    `version` is the version of the asset that answered; "" where several did. `stages` are seconds by stage, for
    `Server-Timing`. `notes` are for the caller: what is missing or stale, and why.
    """

    body: Any
    version: str = ""
    origin: Origin = Origin.STORE
    stages: Sequence[tuple[str, float]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A whole result: column names, rows as Python values; `cursor` leads to the next page. `types` of the columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    cursor: str | None = None
    types: Sequence[DataType] = ()


@dataclass(slots=True)
class Stream:
    """All rows of a result, batch by batch. `batches` are `pyarrow.RecordBatch`es whose columns `schema` lists.

    A transport that stops reading early calls `aclose` of the iterator; that cancels the work of the store.
    """

    schema: Sequence[Column]
    batches: AsyncIterator[Any]


class Api(Protocol):
    """One API, compiled and open. Immutable but for its store's connections and its cache."""

    @property
    def plan(self) -> Plan: ...

    async def call(self, call: Call) -> Answer:
        """Answer one call. The guards have let it through; its deadline is enforced by who calls this.

        Raises Refused (or another ValueError) for what can't be answered, TransientError when the store is away.
        """
        ...

    async def open(self) -> None:
        """Connect. Raises what a first call would raise; nothing stays open then."""
        ...

    async def close(self) -> None:
        """Let go of the store. Nothing is in flight any more."""
        ...


def degraded(api: Api, call: Call) -> Answer | None:
    """What an API gives for a call whose time is up: something stale, or its default, marked as such; or None."""
    fall_back: Callable[[Call], Answer | None] | None = getattr(api, "degraded", None)
    return None if fall_back is None else fall_back(call)


class Plan(Protocol):
    """What every compiled API says of itself. Frozen, comparable: an equal plan needs no new API object."""

    @property
    def api(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def asset(self) -> str: ...

    @property
    def profile(self) -> Profile: ...


@dataclass(frozen=True)
class Profile:
    """What guards, metrics and pages want to know of an API, whatever its kind."""

    description: str = ""
    business_line: str = ""
    priority: Priority = Priority.MEDIUM
    stores: tuple[str, ...] = ()  # names of the connections that it uses, for circuit breakers
    timeout_s: float | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)  # `limits` of the spec, as JSON
