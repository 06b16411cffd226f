"""Who asks a Druid: basic authentication, also of the coordinator that leads, to which the others send on.

httpx by itself follows to another host without credentials. Here they go along, as whom we trust says where it leads,
but never from TLS to plain text.
"""

from __future__ import annotations

import base64
from collections.abc import Generator

import httpx

from millrace.connectors.druid.endpoint import Endpoint

_MOST_REDIRECTS = 3


class Login(httpx.Auth):
    """The `auth` of a client that doesn't follow redirects by itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        text = f"{endpoint.user}:{endpoint.password.value}".encode()
        self._header = f"Basic {base64.b64encode(text).decode()}" if endpoint.user else ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        for _ in range(1 + _MOST_REDIRECTS):
            if self._header:
                request.headers["Authorization"] = self._header
            answer = yield request
            following = answer.next_request
            if following is None or (request.url.scheme == "https" != following.url.scheme):
                return
            request = following
