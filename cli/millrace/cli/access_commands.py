"""Commands over who may read what: consumers, tokens, grants, the log. `millrace access …`."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from millrace.catalog.access_json import audit_json, consumer_json, grant_json, read_expiry, read_terms, token_json
from millrace.catalog.access_model import Consumer, Grant, GrantState, Terms
from millrace.cli.output import exits, results, show, table
from millrace.cli.spec_commands import Json
from millrace.cli.workspace import open_catalog
from millrace.spec.priority import Priority
from millrace.spec.settings import Settings

Name = Annotated[str, typer.Argument(help="The consumer.", show_default=False)]
Number = Annotated[int, typer.Argument(help="The grant's number.", show_default=False)]
Actor = Annotated[
    str | None, typer.Option("--as", help="Who does this, for the log; by default who is logged in.", metavar="NAME")
]
Reason = Annotated[str, typer.Option(help="Why; kept with the grant and in the log.")]
Expires = Annotated[str | None, typer.Option(help="How long it holds, e.g. 90d; for ever by default.")]
Columns = Annotated[str | None, typer.Option(help="The columns that are given, with commas; all by default.")]
Rows = Annotated[
    str | None, typer.Option(help="A condition that every row must meet, as JSON, as in a query's `where`.")
]
Rate = Annotated[int | None, typer.Option(min=1, help="Requests a second.")]
Quota = Annotated[str | None, typer.Option(help="Requests a period, e.g. 100000/day; hour, day or month, in UTC.")]


def add_to(app: typer.Typer) -> None:
    access = typer.Typer(
        no_args_is_help=True,
        help="Who may call which API: consumers with tokens, grants that are asked for and given, and the log.",
    )
    named: dict[str, Callable[..., None]] = {"add": add, "consumers": consumers, "enable": enable, "disable": disable}
    named |= {"token": token, "tokens": tokens, "revoke-token": revoke_token}
    named |= {"request": request, "approve": approve, "refuse": refuse, "revoke": revoke, "grants": grants, "log": log}
    for name, command in named.items():
        access.command(name=name)(command)
    app.add_typer(access, name="access")


def add(
    consumer: Name,
    owner: Annotated[str, typer.Option(help="Who answers for it, e.g. an address.")] = "",
    description: Annotated[str, typer.Option(help="What it is.")] = "",
    priority: Annotated[Priority, typer.Option(help="Calls of `low` are shed first.")] = Priority.MEDIUM,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Add a consumer, and give its first token. The token is shown this once."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        made = catalog.access.add_consumer(Consumer(consumer, owner, description, priority), _actor(actor))
        text = catalog.access.issue_token(made.name, _actor(actor))
        _show_token(made.name, text, as_json)


def consumers(as_json: Json = False) -> None:
    """List the consumers."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        found = [consumer_json(c) for c in catalog.access.consumers()]
        names = ("consumer", "priority", "owner", "description", "created", "disabled")
        show(found, as_json, lambda: table("", names, [[c[n] for n in names] for c in found]))


def disable(consumer: Name, actor: Actor = None) -> None:
    """Shut a consumer out, with all its tokens, until it is enabled again."""
    _set_disabled(consumer, True, actor)


def enable(consumer: Name, actor: Actor = None) -> None:
    """Let a consumer in again that was disabled."""
    _set_disabled(consumer, False, actor)


def token(consumer: Name, expires: Expires = None, actor: Actor = None, as_json: Json = False) -> None:
    """Give a consumer another token, e.g. before an old one is revoked. It is shown this once."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        _show_token(consumer, catalog.access.issue_token(consumer, _actor(actor), _until(expires)), as_json)


def tokens(consumer: Name, as_json: Json = False) -> None:
    """List a consumer's tokens by their ids, which stand behind `mr_`."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        found = [token_json(t) for t in catalog.access.tokens(consumer)]
        names = ("token", "created", "expires", "revoked")
        show(found, as_json, lambda: table(consumer, names, [[t[n] for n in names] for t in found]))


def revoke_token(
    token_id: Annotated[str, typer.Argument(help="The token's id.", show_default=False)], actor: Actor = None
) -> None:
    """Make a token worthless. Servers follow within two seconds."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        revoked = catalog.access.revoke_token(token_id, _actor(actor))
        results.print(f"token {revoked.id} of {revoked.consumer} is revoked", markup=False)


def request(
    consumer: Name,
    api: Annotated[str, typer.Argument(help="The API.", show_default=False)],
    purpose: Annotated[str, typer.Option(help="What for; whoever decides reads it.")] = "",
    columns: Columns = None,
    rows: Rows = None,
    rate: Rate = None,
    quota: Quota = None,
    expires: Expires = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Ask for access to an API. Somebody approves or refuses it."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        terms = _terms(columns, rows, rate, quota, expires) or Terms()
        _show_grant(catalog.access.request(consumer, api, terms, purpose, _actor(actor)), as_json)


def approve(
    grant: Number,
    reason: Reason = "",
    columns: Columns = None,
    rows: Rows = None,
    rate: Rate = None,
    quota: Quota = None,
    expires: Expires = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Give what was asked for; or, with any of the limits given here, these instead of those that were asked for."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        terms = _terms(columns, rows, rate, quota, expires)
        _show_grant(catalog.access.approve(grant, _actor(actor), terms, reason), as_json)


def refuse(grant: Number, reason: Reason = "", actor: Actor = None, as_json: Json = False) -> None:
    """Refuse what was asked for."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        _show_grant(catalog.access.refuse(grant, _actor(actor), reason), as_json)


def revoke(grant: Number, reason: Reason = "", actor: Actor = None, as_json: Json = False) -> None:
    """Take a grant back. Servers follow within two seconds."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        _show_grant(catalog.access.revoke(grant, _actor(actor), reason), as_json)


def grants(
    consumer: Annotated[str | None, typer.Option(help="Of this consumer alone.")] = None,
    api: Annotated[str | None, typer.Option(help="For this API alone.")] = None,
    state: Annotated[GrantState | None, typer.Option(help="In this state alone.")] = None,
    as_json: Json = False,
) -> None:
    """List grants: what was asked for, given, refused and taken back."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        found = [grant_json(g) for g in catalog.access.grants(consumer, api, state)]
        names = (
            "grant",
            "consumer",
            "api",
            "state",
            "columns",
            "rows",
            "rate",
            "quota",
            "expires",
            "purpose",
            "reason",
        )
        shown = [[_flat(g[n]) for n in names] for g in found]
        show(found, as_json, lambda: table("", names, shown, right=("grant", "rate")))


def log(
    consumer: Annotated[str | None, typer.Option(help="Of this consumer alone.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many entries.")] = 50,
    before: Annotated[int | None, typer.Option(help="Go on before this entry's number.")] = None,
    as_json: Json = False,
) -> None:
    """Show who changed what about access, the newest first."""
    with exits(), open_catalog(Settings.from_env()) as catalog:
        found = [audit_json(e) for e in catalog.access.audit(consumer, limit, before)]
        names = ("entry", "at", "actor", "action", "consumer", "api", "details")
        shown = [[_flat(e[n]) for n in names] for e in found]
        show(found, as_json, lambda: table("", names, shown, right=("entry",)))


def _set_disabled(consumer: str, disabled: bool, actor: str | None) -> None:
    with exits(), open_catalog(Settings.from_env()) as catalog:
        catalog.access.set_disabled(consumer, disabled, _actor(actor))
        results.print(f"{consumer} is {'disabled' if disabled else 'enabled'}", markup=False)


def _show_token(consumer: str, text: str, as_json: bool) -> None:
    def person() -> None:
        results.print(f"the token of {consumer}, which is shown this once:", markup=False)
        results.print(text, markup=False, soft_wrap=True)

    show({"consumer": consumer, "token": text}, as_json, person)


def _show_grant(grant: Grant, as_json: bool) -> None:
    text = f"grant {grant.id}: {grant.consumer} for {grant.api} is {grant.state}"
    show(grant_json(grant), as_json, lambda: results.print(text, markup=False))


def _terms(
    columns: str | None, rows: str | None, rate: int | None, quota: str | None, expires: str | None
) -> Terms | None:
    names = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
    given = {"columns": names, "rows": _condition(rows), "rate": rate, "quota": quota, "expires": expires}
    try:
        return read_terms(given, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _condition(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--rows is not JSON: {error}") from None


def _until(text: str | None) -> datetime | None:
    try:
        return read_expiry(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _actor(name: str | None) -> str:
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "unknown"


def _flat(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
