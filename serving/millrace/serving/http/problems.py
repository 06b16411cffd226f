"""Errors as RFC 9457 problems: one shape for all of them, from a bad key to a store that is away."""

from __future__ import annotations

import json
import logging

from millrace.errors import MillraceError
from millrace.serving.http.messages import Header, Response
from millrace.serving.refusals import Refused, status_of

log = logging.getLogger(__name__)

CONTENT_TYPE = b"application/problem+json"
_TITLES = {
    "bad-request": "The request can't be answered as it is",
    "unauthenticated": "The request needs a consumer's token",
    "forbidden": "The consumer has no grant for this",
    "unknown-api": "There is nothing at this address",
    "not-found": "There is no such row",
    "cursor-expired": "The version that the cursor reads is gone",
    "method-not-allowed": "This method is not for this address",
    "not-acceptable": "The answer can't be had in an accepted format",
    "too-large": "The request is larger than allowed",
    "limited": "Over a limit",
    "overloaded": "The server sheds load",
    "store-unavailable": "The store can't be reached",
    "not-published": "Nothing is published yet",
    "deadline-exceeded": "There was no answer in time",
    "misconfigured": "A connection or setting is wrong",
    "unreadable": "What the store holds can't be read",
    "internal": "A defect of the server",
}


def problem(
    status: int, slug: str, detail: str = "", hint: str = "", headers: tuple[Header, ...] = (), api: str = ""
) -> Response:
    """A response of `application/problem+json`. `hint` says what to do next."""
    body = {"type": f"urn:millrace:problem:{slug}", "title": _TITLES.get(slug, slug), "status": status}
    body |= {key: value for key, value in (("detail", detail), ("hint", hint), ("api", api)) if value}
    return Response(status, json.dumps(body, ensure_ascii=False).encode(), CONTENT_TYPE, headers)


def problem_of(error: Exception, api: str = "") -> Response:
    """The problem for whatever a call raised. A defect of ours is logged, and its details stay here."""
    status, slug = status_of(error)
    if slug == "internal":
        log.error("a request to '%s' failed", api, exc_info=error)
        return problem(status, slug, "the server's log has the details", api=api)
    headers: tuple[Header, ...] = ((b"cache-control", b"no-store"),)
    retry_after_s = error.retry_after_s if isinstance(error, Refused) else None
    if status == 503:
        retry_after_s = retry_after_s or 1.0
    if retry_after_s is not None:
        headers += ((b"retry-after", b"%d" % max(1, round(retry_after_s))),)
    if status == 401:
        headers += ((b"www-authenticate", b'Bearer realm="millrace"'),)
    if isinstance(error, MillraceError):
        return problem(status, slug, error.message, error.hint, headers, api)
    return problem(status, slug, str(error), headers=headers, api=api)
