"""How a call ends, in gRPC's words."""

from __future__ import annotations

import logging
from enum import IntEnum

from millrace.errors import MillraceError
from millrace.serving.refusals import Refused, status_of

log = logging.getLogger(__name__)


class Status(IntEnum):
    """gRPC's status codes, those that this server gives."""

    OK = 0
    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_OF_HTTP = {
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    406: Status.INVALID_ARGUMENT,
    413: Status.INVALID_ARGUMENT,
    429: Status.RESOURCE_EXHAUSTED,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}


class CallFault(Exception):
    """A call that can't even be read: its status and what to say."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


def ending(error: Exception) -> tuple[Status, str, list[tuple[str, str]]]:
    """Status, text and further trailers for whatever a call raised. What is a defect goes to the log."""
    if isinstance(error, CallFault):
        return error.status, str(error), []
    status, slug = status_of(error)
    text = f"{error.message}\n{error.hint}".strip() if isinstance(error, MillraceError) else str(error)
    trailers = [("millrace-problem", slug)]
    if isinstance(error, Refused) and error.retry_after_s is not None:
        trailers.append(("retry-after-ms", str(round(error.retry_after_s * 1000))))
    if slug == "internal":
        log.error("a gRPC call failed", exc_info=error)
        text = "a defect of the server; its log has the details"
    return _OF_HTTP.get(status, Status.INTERNAL), text, trailers
