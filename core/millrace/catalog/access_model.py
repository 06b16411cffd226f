"""Who may read what, as frozen values: consumers, tokens, grants, the audit log. Pure, like `model`.

A grant's life, and who moves it:

    requested ──▶ approved ──▶ revoked
        └──────▶ refused

A grant also ends by itself at `expires_at`. A consumer has at most one grant for an API that is requested or approved.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from millrace.errors import RunFailed
from millrace.spec.priority import Priority

TOKEN_PREFIX = "mr_"
_SECRET_BYTES = 32


class GrantState(StrEnum):
    REQUESTED = "requested"
    APPROVED = "approved"
    REFUSED = "refused"
    REVOKED = "revoked"


class QuotaPeriod(StrEnum):
    """When a quota's count begins anew: at each full hour, day or month, in UTC."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


_MOVES: Mapping[GrantState, frozenset[GrantState]] = {
    GrantState.REQUESTED: frozenset({GrantState.APPROVED, GrantState.REFUSED}),
    GrantState.APPROVED: frozenset({GrantState.REVOKED}),
    GrantState.REFUSED: frozenset(),
    GrantState.REVOKED: frozenset(),
}


def check_grant_move(grant: Grant, to: GrantState) -> None:
    """Raises RunFailed for a move that a grant can't make."""
    if to not in _MOVES[grant.state]:
        raise RunFailed(
            f"grant {grant.id} of '{grant.consumer}' for '{grant.api}' is {grant.state}, so it can't become {to}",
            hint="`millrace access grants` shows every grant; a new one begins with `millrace access request`",
        )


@dataclass(frozen=True)
class Consumer:
    """Who calls APIs. Calls of a `low` one are shed first when a server is overloaded."""

    name: str
    owner: str = ""
    description: str = ""
    priority: Priority = Priority.MEDIUM
    created_at: datetime | None = None
    disabled_at: datetime | None = None


@dataclass(frozen=True)
class Token:
    """A consumer's token as the catalog keeps it: never the secret, only its SHA-256.

    A secret is 256 random bits, so a plain digest can't be searched for it; nothing slower is needed.
    """

    id: str
    consumer: str
    digest: str = field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class Terms:
    """What a grant allows. None: no limit of that kind beyond the API's own."""

    columns: tuple[str, ...] | None = None
    row_filter: Mapping[str, Any] | None = None  # a condition of the query tree that every row must meet
    requests_per_second: int | None = None
    quota: int | None = None
    quota_period: QuotaPeriod | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if (self.quota is None) != (self.quota_period is None):
            raise ValueError("a quota is a number of requests and a period: hour, day or month")
        for what, number in (("requests_per_second", self.requests_per_second), ("quota", self.quota)):
            if number is not None and number <= 0:
                raise ValueError(f"{what} must be more than 0, got {number}")
        if self.columns is not None and not self.columns:
            raise ValueError("a grant of no columns allows nothing: name one, or leave them out for all")


@dataclass(frozen=True)
class Grant:
    """A consumer's permission for one API, asked for or given."""

    id: int
    consumer: str
    api: str
    state: GrantState
    terms: Terms
    purpose: str
    reason: str
    requested_at: datetime
    requested_by: str
    decided_at: datetime | None = None
    decided_by: str | None = None

    def holds(self, now: datetime) -> bool:
        """Whether calls are allowed by it at this moment."""
        ends = self.terms.expires_at
        return self.state is GrantState.APPROVED and (ends is None or now < ends)


@dataclass(frozen=True)
class AuditEntry:
    """One change of who may do what: when, by whom, what. Never a secret."""

    id: int
    at: datetime
    actor: str
    action: str
    consumer: str
    api: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class AccessSnapshot:
    """Everything that a server needs to decide on a call, at one `generation` of the access tables.

    `tokens` are by digest, and only those that may be used; `grants` are the approved ones by consumer and API.
    Expiry is for the server to compare with its clock.
    """

    generation: int
    consumers: Mapping[str, Consumer]
    tokens: Mapping[str, Token]
    grants: Mapping[tuple[str, str], Grant]


def new_token(token_id: str) -> str:
    """The text that a consumer sends: `mr_<id>_<secret>`. It is shown once and kept nowhere."""
    return f"{TOKEN_PREFIX}{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"


def token_digest(token: str) -> str:
    """What is kept of a token, and what a server compares: its SHA-256 in hex."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
