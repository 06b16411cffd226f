"""A request's body as JSON."""

from __future__ import annotations

from typing import Any

import orjson

from millrace.serving.http.messages import Request
from millrace.serving.refusals import Refused


def json_body(request: Request, expected: str) -> Any:
    """The body as JSON values. Raises Refused for what is none, for depth beyond the parser's, and for no body."""
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise Refused(f"the body is not JSON: {error}", hint=f"expected {expected}") from None
