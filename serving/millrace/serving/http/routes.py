"""Which endpoint answers which address. Endpoints are functions of a request; the table is made once, at the start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from millrace.serving.http.messages import Request, Response
from millrace.serving.http.problems import problem

Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """An address: exact, or all that begin with a `path` that ends in `/`. HEAD goes where GET goes."""

    methods: tuple[str, ...]
    path: str
    endpoint: Endpoint


class Router:
    """Finds the endpoint of a request; the longest path that fits wins."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[bytes, list[Route]] = {}
        self._prefixes: list[tuple[bytes, Route]] = []
        for route in routes:
            path = route.path.encode()
            if path.endswith(b"/") and path != b"/":
                self._prefixes.append((path, route))
            else:
                self._exact.setdefault(path, []).append(route)
        self._prefixes.sort(key=lambda pair: len(pair[0]), reverse=True)

    async def answer(self, request: Request) -> Response:
        """The endpoint's response; 404 for an unknown address, 405 for a method that it doesn't take."""
        fitting = self._fitting(request.path)
        method = "GET" if request.method == "HEAD" else request.method
        for route in fitting:
            if method in route.methods or request.method in route.methods:
                return await route.endpoint(request)
        if not fitting:
            return problem(404, "unknown-api", "there is nothing at this address", hint="see /openapi.json")
        return _method_not_allowed(fitting)

    def _fitting(self, path: bytes) -> Sequence[Route]:
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        longest = next((prefix for prefix, _ in self._prefixes if path.startswith(prefix)), None)
        return [route for prefix, route in self._prefixes if prefix == longest]


def _method_not_allowed(fitting: Sequence[Route]) -> Response:
    methods = {method for route in fitting for method in route.methods}
    allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
    headers = ((b"allow", allowed.encode()),)
    return problem(405, "method-not-allowed", f"this address takes {allowed}", headers=headers)
