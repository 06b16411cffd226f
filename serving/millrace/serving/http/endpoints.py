"""All addresses of the server: each module of endpoints adds its own here."""

from __future__ import annotations

from millrace.serving.http import admin, kv, openapi, sql, status, union
from millrace.serving.http.routes import Route
from millrace.serving.http.status import Dumps
from millrace.serving.service import Service


def all_routes(service: Service, dumps: Dumps | None = None) -> list[Route]:
    """Every route of a service. `dumps` gives the numbers of all workers; this one's alone by default."""
    modules = (kv, sql, union, openapi)
    own = (route for module in modules for route in module.routes(service))
    return [*status.routes(service, dumps), *admin.routes(service, dumps), *own]
