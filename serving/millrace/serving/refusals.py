"""Why a request gets no answer. Each error knows its HTTP status; a transport turns it into its own words.

MillraceError
├── Refused                 400  the request can't be answered as it is
│   ├── Unauthenticated         401  no consumer, or not the one that it says
│   ├── Forbidden               403  the consumer has no grant for this
│   ├── UnknownApi              404  no API of that name and kind
│   ├── NotAcceptable           406  in none of the formats that the request accepts
│   ├── TooLarge                413  more keys, rows or bytes than the API allows
│   ├── Limited                 429  over a rate or quota; `retry_after_s` says when to come again
│   └── Overloaded              503  shed to protect the server or a store
└── (millrace.errors)
    ├── TransientError          503  the store is away
    └── DeadlineExceeded        504  the request's time is up
"""

from __future__ import annotations

from typing import ClassVar

from millrace.errors import MillraceError, NotFound, SpecError, TransientError


class Refused(MillraceError, ValueError):
    """The request can't be answered as it is; asking again changes nothing."""

    status: ClassVar[int] = 400
    slug: ClassVar[str] = "bad-request"
    retry_after_s: float | None = None


class Unauthenticated(Refused):
    """There is no consumer behind this request, and the API needs one."""

    status = 401
    slug = "unauthenticated"


class Forbidden(Refused):
    """The consumer has no grant for what it asks."""

    status = 403
    slug = "forbidden"


class UnknownApi(Refused):
    """There is no API of that name and kind, or no such address."""

    status = 404
    slug = "unknown-api"


class NotAcceptable(Refused):
    """The answer can't be had in any of the formats that the request accepts."""

    status = 406
    slug = "not-acceptable"


class TooLarge(Refused):
    """More keys, rows, depth or bytes than the API allows."""

    status = 413
    slug = "too-large"


class Limited(Refused):
    """Over a rate limit or a quota."""

    status = 429
    slug = "limited"

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class Overloaded(Limited):
    """Shed, so that the server or the store stays up."""

    status = 503
    slug = "overloaded"


class DeadlineExceeded(TransientError):
    """The request's time is up before there was an answer."""


def status_of(error: Exception) -> tuple[int, str]:
    """The HTTP status and the problem's slug for whatever a call raised."""
    match error:
        case Refused():
            return error.status, error.slug
        case DeadlineExceeded() | TimeoutError():
            return 504, "deadline-exceeded"
        case TransientError():
            return 503, "store-unavailable"
        case NotFound():
            return 503, "not-published"
        case SpecError():
            return 500, "misconfigured"
        case MillraceError() if not isinstance(error, ValueError):
            return 500, "unreadable"
        case ValueError():
            return 400, "bad-request"
        case _:
            return 500, "internal"
