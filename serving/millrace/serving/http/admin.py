"""Who may call what, changed over HTTP: `/v1/admin/…`, for the holder of the server's admin token.

| address | what it does |
|---|---|
| `GET`, `POST /v1/admin/consumers` | list; add `{"name", "owner", "description", "priority"}`: gives a token |
| `POST /v1/admin/consumers/{name}:disable`, `:enable` | shut out, let in again |
| `GET`, `POST /v1/admin/consumers/{name}/tokens` | list; another one, `{"expires": "90d"}` |
| `DELETE /v1/admin/tokens/{id}` | revoke |
| `GET`, `POST /v1/admin/grants` | list by `?consumer=&api=&state=`; ask, `{"consumer", "api", "purpose", "terms"}` |
| `POST /v1/admin/grants/{number}:approve`, `:refuse`, `:revoke` | decide, `{"reason", "terms"}` |
| `GET /v1/admin/log` | `?consumer=&limit=&before=` |
| `GET /v1/admin/caches` | what caches bring, by API; without permissions, too |

The same as `millrace access` and `millrace caches`. `X-Actor` says who does it, for the log.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from millrace.catalog import Catalog
from millrace.catalog.access_json import (
    TERMS,
    audit_json,
    consumer_json,
    grant_json,
    read_expiry,
    read_terms,
    token_json,
)
from millrace.catalog.access_model import Consumer, GrantState, Terms
from millrace.errors import NotFound, RunFailed
from millrace.serving.caches.report import report
from millrace.serving.http.json_body import json_body
from millrace.serving.http.messages import Request, Response
from millrace.serving.http.problems import problem
from millrace.serving.http.routes import Route
from millrace.serving.http.status import Dumps
from millrace.serving.refusals import Forbidden, Refused, Unauthenticated
from millrace.serving.service import Service
from millrace.spec.priority import Priority

PREFIX = "/v1/admin/"
_MOST_ENTRIES = 1000
_DECISIONS = ("approve", "refuse", "revoke")

Work: TypeAlias = Callable[[Catalog, "Asked"], Any]


class Asked:
    """One admin request, its parts read. `name` and `verb` are of `{name}:{verb}`."""

    def __init__(self, request: Request) -> None:
        self.method = request.method
        parts = request.segments()[2:]
        self.kind = parts[0]
        self.more = parts[2:]
        name = parts[1] if len(parts) > 1 else ""
        self.name, _, self.verb = name.rpartition(":") if ":" in name else (name, "", "")
        self.query = request.query()
        self.body: Mapping[str, Any] = json_body(request, "an object") if request.body else {}
        if not isinstance(self.body, Mapping):
            raise Refused("the body is not a JSON object")
        self.actor = request.header(b"x-actor") or "admin"

    def allow(self, *names: str) -> None:
        """Raises Refused for a member of the body that means nothing here."""
        unknown = sorted(set(self.body) - set(names))
        if unknown:
            raise Refused(f"unknown members: {', '.join(unknown)}", hint=f"there are: {', '.join(names) or 'none'}")

    def text(self, name: str, default: str | None = None) -> str:
        found = self.body.get(name, default)
        if not isinstance(found, str):
            raise Refused(f"the body needs a text '{name}'")
        return found

    def terms(self) -> Terms | None:
        given = self.body.get("terms") or {}
        if not isinstance(given, Mapping) or set(given) - set(TERMS):
            raise Refused(f"'terms' is an object of {', '.join(TERMS)}")
        return read_terms(given, datetime.now(UTC))


def routes(service: Service, dumps: Dumps | None = None) -> list[Route]:
    """The addresses; without an admin token in the settings they answer 403. `dumps`: see `status.routes`."""
    all_dumps = dumps or (lambda: [service.metrics.dump()])

    async def caches(request: Request) -> Response:
        _check(request, service)
        return _answered({"caches": report(all_dumps())})

    async def answer(request: Request) -> Response:
        _check(request, service)
        catalog = service.protection.catalog
        if catalog is None:
            raise Forbidden("this server runs without permissions", hint="start it without --without-permissions")
        asked = Asked(request)
        work = _WORK.get((asked.method, asked.kind, bool(asked.name), bool(asked.verb), *asked.more))
        if work is None:
            return problem(404, "unknown-api", "there is nothing at this address", hint="docs/access.md lists them")
        try:
            found = await asyncio.to_thread(work, catalog, asked)
        except NotFound as error:
            return problem(404, "not-found", error.message, error.hint)
        except RunFailed as error:
            return problem(409, "conflict", error.message, error.hint)
        return _answered(found)

    return [Route(("GET", "POST", "DELETE"), PREFIX, answer), Route(("GET",), f"{PREFIX}caches", caches)]


def _answered(found: Any) -> Response:
    return Response(200, json.dumps(found, ensure_ascii=False).encode(), headers=((b"cache-control", b"no-store"),))


def _check(request: Request, service: Service) -> None:
    wanted = service.settings.admin_token
    if not wanted:
        raise Forbidden("this server has no admin token", hint="set MILLRACE_ADMIN_TOKEN, or use `millrace access`")
    scheme, _, given = request.header(b"authorization").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise Unauthenticated("this is not the server's admin token")


def _add(catalog: Catalog, asked: Asked) -> Any:
    asked.allow("name", "owner", "description", "priority")
    priority = asked.text("priority", Priority.MEDIUM)
    if priority not in list(Priority):
        raise Refused(f"'{priority}' is no priority", hint=f"priorities: {', '.join(Priority)}")
    name, owner, about = asked.text("name"), asked.text("owner", ""), asked.text("description", "")
    made = catalog.access.add_consumer(Consumer(name, owner, about, Priority(priority)), asked.actor)
    return consumer_json(made) | {"token": catalog.access.issue_token(made.name, asked.actor)}


def _switch(catalog: Catalog, asked: Asked) -> Any:
    asked.allow()
    if asked.verb not in ("disable", "enable"):
        raise Refused(f"a consumer can't be told to '{asked.verb}'", hint="disable, enable")
    return consumer_json(catalog.access.set_disabled(asked.name, asked.verb == "disable", asked.actor))


def _issue(catalog: Catalog, asked: Asked) -> Any:
    asked.allow("expires")
    until = read_expiry(asked.body.get("expires"), datetime.now(UTC))
    return {"consumer": asked.name, "token": catalog.access.issue_token(asked.name, asked.actor, until)}


def _ask(catalog: Catalog, asked: Asked) -> Any:
    asked.allow("consumer", "api", "purpose", "terms")
    terms = asked.terms() or Terms()
    consumer, api, purpose = asked.text("consumer"), asked.text("api"), asked.text("purpose", "")
    return grant_json(catalog.access.request(consumer, api, terms, purpose, asked.actor))


def _decide(catalog: Catalog, asked: Asked) -> Any:
    asked.allow("reason", *(["terms"] if asked.verb == "approve" else []))
    if asked.verb not in _DECISIONS or not asked.name.isdecimal():
        raise Refused("expected a grant's number and a decision", hint=f"decisions: {', '.join(_DECISIONS)}")
    number, reason = int(asked.name), asked.text("reason", "")
    if asked.verb == "approve":
        return grant_json(catalog.access.approve(number, asked.actor, asked.terms(), reason))
    decide = catalog.access.refuse if asked.verb == "refuse" else catalog.access.revoke
    return grant_json(decide(number, asked.actor, reason))


def _grants(catalog: Catalog, asked: Asked) -> Any:
    state = asked.query.get("state")
    if state is not None and state not in list(GrantState):
        raise Refused(f"'{state}' is no state of a grant", hint=f"states: {', '.join(GrantState)}")
    wanted = None if state is None else GrantState(state)
    found = catalog.access.grants(asked.query.get("consumer"), asked.query.get("api"), wanted)
    return {"grants": [grant_json(grant) for grant in found]}


def _log(catalog: Catalog, asked: Asked) -> Any:
    limit, before = asked.query.get("limit", "100"), asked.query.get("before")
    if not limit.isdecimal() or not 0 < int(limit) <= _MOST_ENTRIES or not (before or "0").isdecimal():
        raise Refused(f"'limit' is a number from 1 to {_MOST_ENTRIES}, and 'before' an entry's number")
    found = catalog.access.audit(asked.query.get("consumer"), int(limit), int(before) if before else None)
    return {"entries": [audit_json(entry) for entry in found]}


def _consumers(catalog: Catalog, _asked: Asked) -> Any:
    return {"consumers": [consumer_json(consumer) for consumer in catalog.access.consumers()]}


def _tokens(catalog: Catalog, asked: Asked) -> Any:
    return {"tokens": [token_json(token) for token in catalog.access.tokens(asked.name)]}


def _revoke(catalog: Catalog, asked: Asked) -> Any:
    return token_json(catalog.access.revoke_token(asked.name, asked.actor))


#: By method, kind, whether there are a name and a verb, and what follows.
_WORK: Mapping[tuple[Any, ...], Work] = {
    ("GET", "consumers", False, False): _consumers,
    ("POST", "consumers", False, False): _add,
    ("POST", "consumers", True, True): _switch,
    ("GET", "consumers", True, False, "tokens"): _tokens,
    ("POST", "consumers", True, False, "tokens"): _issue,
    ("DELETE", "tokens", True, False): _revoke,
    ("GET", "grants", False, False): _grants,
    ("POST", "grants", False, False): _ask,
    ("POST", "grants", True, True): _decide,
    ("GET", "log", False, False): _log,
}
