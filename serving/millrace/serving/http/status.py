"""For machines that look after the server: is it alive, is it ready, what are its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from millrace.serving.http.messages import Request, Response
from millrace.serving.http.routes import Route
from millrace.serving.metrics import exposition
from millrace.serving.service import Service

_METRICS = b"text/plain; version=0.0.4; charset=utf-8"
_NO_STORE = ((b"cache-control", b"no-store"),)

#: The numbers of all workers, this one's among them.
Dumps = Callable[[], Iterable[Mapping[str, Any]]]


def routes(service: Service, dumps: Dumps | None = None) -> list[Route]:
    """`/livez`, `/readyz` and `/metrics`."""
    all_dumps = dumps or (lambda: [service.metrics.dump()])

    async def live(_request: Request) -> Response:
        return Response(200, b'{"status":"alive"}', headers=_NO_STORE)

    async def ready(_request: Request) -> Response:
        is_ready, details = service.ready()
        body = json.dumps({"status": "ready" if is_ready else "not ready", **details}, ensure_ascii=False)
        return Response(200 if is_ready else 503, body.encode(), headers=_NO_STORE)

    async def metrics(_request: Request) -> Response:
        return Response(200, exposition(all_dumps()).encode(), _METRICS, _NO_STORE)

    return [
        Route(("GET",), "/livez", live),
        Route(("GET",), "/readyz", ready),
        Route(("GET",), "/metrics", metrics),
    ]
