"""Rows of the access tables to the records of `access_model`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from millrace.catalog import access_schema as schema
from millrace.catalog.access_model import AuditEntry, Consumer, Grant, GrantState, QuotaPeriod, Terms, Token
from millrace.catalog.rows import Row
from millrace.catalog.schema import api as api_table
from millrace.errors import NotFound
from millrace.spec.priority import Priority


def consumer_row(connection: Connection, name: str, *, lock: bool = False) -> Row:
    """The consumer's row; `lock` keeps it to this transaction: changes to one consumer happen one after another."""
    statement = select(schema.consumer).where(schema.consumer.c.name == name)
    found = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if found is None:
        raise NotFound(f"there is no consumer '{name}'", hint="`millrace access consumers` lists them")
    return found


def token_row(connection: Connection, token_id: str) -> Row:
    found = connection.execute(select(schema.token).where(schema.token.c.id == token_id)).mappings().first()
    if found is None:
        raise NotFound(f"there is no token {token_id}", hint="`millrace access tokens CONSUMER` lists them by id")
    return found


def check_api(connection: Connection, name: str) -> None:
    """Raises NotFound, naming the APIs there are, for one that no spec declares."""
    known = connection.execute(select(api_table.c.name).order_by(api_table.c.name)).scalars().all()
    if name not in known:
        raise NotFound(f"there is no API '{name}'", hint=f"APIs: {', '.join(known) or 'none yet'}")


def grant(connection: Connection, grant_id: int) -> Grant:
    found = connection.execute(select(schema.grant).where(schema.grant.c.id == grant_id)).mappings().first()
    if found is None:
        raise NotFound(f"there is no grant {grant_id}", hint="`millrace access grants` lists them")
    return to_grant(found)


def grants(
    connection: Connection, consumer: str | None = None, api: str | None = None, state: GrantState | None = None
) -> list[Grant]:
    statement = select(schema.grant).order_by(schema.grant.c.id)
    wanted = {schema.grant.c.consumer: consumer, schema.grant.c.api: api, schema.grant.c.state: state}
    for column, value in wanted.items():
        if value is not None:
            statement = statement.where(column == value)
    return [to_grant(row) for row in connection.execute(statement).mappings()]


def to_consumer(row: Row) -> Consumer:
    return Consumer(
        name=row["name"],
        owner=row["owner"],
        description=row["description"],
        priority=Priority(row["priority"]),
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
    )


def to_token(row: Row) -> Token:
    return Token(
        id=row["id"],
        consumer=row["consumer"],
        digest=row["digest"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def to_grant(row: Row) -> Grant:
    return Grant(
        id=row["id"],
        consumer=row["consumer"],
        api=row["api"],
        state=GrantState(row["state"]),
        terms=_terms(row),
        purpose=row["purpose"],
        reason=row["reason"],
        requested_at=row["requested_at"],
        requested_by=row["requested_by"],
        decided_at=row["decided_at"],
        decided_by=row["decided_by"],
    )


def to_audit(row: Row) -> AuditEntry:
    return AuditEntry(
        row["id"], row["at"], row["actor"], row["action"], row["consumer"], row["api"], row["details"] or {}
    )


def terms_values(terms: Terms) -> dict[str, Any]:
    """The columns that hold a grant's terms."""
    return {
        "column_names": None if terms.columns is None else list(terms.columns),
        "row_filter": terms.row_filter,
        "requests_per_second": terms.requests_per_second,
        "quota": terms.quota,
        "quota_period": terms.quota_period,
        "expires_at": terms.expires_at,
    }


def _terms(row: Row) -> Terms:
    return Terms(
        columns=None if row["column_names"] is None else tuple(row["column_names"]),
        row_filter=row["row_filter"],
        requests_per_second=row["requests_per_second"],
        quota=row["quota"],
        quota_period=None if row["quota_period"] is None else QuotaPeriod(row["quota_period"]),
        expires_at=row["expires_at"],
    )
