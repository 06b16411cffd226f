"""Consumers, tokens, grants and the audit log. Every change is one transaction with its entry in the log.

The log's last id is the `generation` of all this: servers ask for it a few times a second, and read a new snapshot
when it has grown, so a revocation reaches every server within that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from millrace.catalog import access_rows as rows
from millrace.catalog import access_schema as schema
from millrace.catalog.access_model import (
    AccessSnapshot,
    AuditEntry,
    Consumer,
    Grant,
    GrantState,
    Terms,
    Token,
    check_grant_move,
    new_token,
    token_digest,
)
from millrace.catalog.clock import Clock
from millrace.catalog.columns import NAME_LENGTH
from millrace.catalog.database import Database
from millrace.catalog.ids import new_id
from millrace.catalog.upsert import insert_if_absent
from millrace.errors import RunFailed


class Access:
    """`actor` is who makes a change, for the log: a person's or a program's name."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def add_consumer(self, consumer: Consumer, actor: str) -> Consumer:
        """Raises RunFailed when there is one of that name, ValueError for a name that can't be kept."""
        if not 0 < len(consumer.name) <= NAME_LENGTH:
            raise ValueError(f"a consumer's name has 1 to {NAME_LENGTH} characters, got {len(consumer.name)}")

        def work(connection: Connection) -> Consumer:
            values = {
                "name": consumer.name,
                "owner": consumer.owner,
                "description": consumer.description,
                "priority": consumer.priority,
                "created_at": self._clock(),
            }
            if not insert_if_absent(connection, schema.consumer, values):
                raise RunFailed(
                    f"there is a consumer '{consumer.name}' already",
                    hint="give it another token with `millrace access token`, or choose another name",
                )
            self._log(connection, actor, "consumer_added", consumer.name, details={"owner": consumer.owner})
            return rows.to_consumer(rows.consumer_row(connection, consumer.name))

        return self._database.write(f"adding consumer '{consumer.name}'", work)

    def set_disabled(self, consumer: str, disabled: bool, actor: str) -> Consumer:
        """Shut a consumer out with all its tokens, or let it in again. Doing it twice changes nothing."""

        def work(connection: Connection) -> Consumer:
            row = rows.consumer_row(connection, consumer, lock=True)
            if (row["disabled_at"] is not None) != disabled:
                moment = self._clock() if disabled else None
                statement = update(schema.consumer).where(schema.consumer.c.name == consumer)
                connection.execute(statement.values(disabled_at=moment))
                self._log(connection, actor, "consumer_disabled" if disabled else "consumer_enabled", consumer)
            return rows.to_consumer(rows.consumer_row(connection, consumer))

        return self._database.write(f"changing consumer '{consumer}'", work)

    def consumers(self) -> list[Consumer]:
        statement = select(schema.consumer).order_by(schema.consumer.c.name)
        found = self._database.read("listing consumers", lambda c: c.execute(statement).mappings().all())
        return [rows.to_consumer(row) for row in found]

    def issue_token(self, consumer: str, actor: str, expires_at: datetime | None = None) -> str:
        """A new token of the consumer, beside those that it has. It is in this answer alone. Raises NotFound."""

        def work(connection: Connection) -> str:
            rows.consumer_row(connection, consumer, lock=True)
            now = self._clock()
            token_id = _free_token_id(connection, now)
            text = new_token(token_id)
            values = {"id": token_id, "consumer": consumer, "created_at": now, "expires_at": expires_at}
            connection.execute(insert(schema.token).values(values | {"digest": token_digest(text)}))
            self._log(connection, actor, "token_issued", consumer, details={"token": token_id})
            return text

        return self._database.write(f"issuing a token of '{consumer}'", work)

    def revoke_token(self, token_id: str, actor: str) -> Token:
        """Make a token worthless; doing it twice changes nothing. Raises NotFound."""

        def work(connection: Connection) -> Token:
            token = rows.to_token(rows.token_row(connection, token_id))
            rows.consumer_row(connection, token.consumer, lock=True)
            if token.revoked_at is None:
                statement = update(schema.token).where(schema.token.c.id == token_id)
                connection.execute(statement.values(revoked_at=self._clock()))
                self._log(connection, actor, "token_revoked", token.consumer, details={"token": token_id})
            return rows.to_token(rows.token_row(connection, token_id))

        return self._database.write(f"revoking token {token_id}", work)

    def tokens(self, consumer: str) -> list[Token]:
        """A consumer's tokens, oldest first; their secrets are not known here."""
        table = schema.token
        statement = select(table).where(table.c.consumer == consumer).order_by(table.c.created_at, table.c.id)
        found = self._database.read(f"listing '{consumer}'s tokens", lambda c: c.execute(statement).mappings().all())
        return [rows.to_token(row) for row in found]

    def request(self, consumer: str, api: str, terms: Terms, purpose: str, actor: str) -> Grant:
        """Ask for access. Raises NotFound for an unknown consumer or API, RunFailed when one is asked for or given."""

        def work(connection: Connection) -> Grant:
            rows.consumer_row(connection, consumer, lock=True)
            rows.check_api(connection, api)
            now = self._clock()
            for known in rows.grants(connection, consumer=consumer, api=api):
                if known.state is GrantState.REQUESTED or known.holds(now):
                    raise RunFailed(
                        f"'{consumer}' has grant {known.id} for '{api}' already; it is {known.state}",
                        hint="approve or refuse it, or revoke it before another one is asked for",
                    )
            values = {
                "consumer": consumer,
                "api": api,
                "state": GrantState.REQUESTED,
                "purpose": purpose,
                "reason": "",
                "requested_at": now,
                "requested_by": actor,
                **rows.terms_values(terms),
            }
            grant_id = connection.execute(insert(schema.grant).values(values)).inserted_primary_key
            assert grant_id is not None
            made = rows.grant(connection, grant_id[0])
            self._log(connection, actor, "grant_requested", consumer, api, {"grant": made.id, "purpose": purpose})
            return made

        return self._database.write(f"asking for '{api}' for '{consumer}'", work)

    def approve(self, grant_id: int, actor: str, terms: Terms | None = None, reason: str = "") -> Grant:
        """Give what was asked for, or, with `terms`, something else. Raises NotFound, RunFailed for another state."""
        values = {} if terms is None else rows.terms_values(terms)
        return self._decide(grant_id, GrantState.APPROVED, "grant_approved", actor, reason, values)

    def refuse(self, grant_id: int, actor: str, reason: str) -> Grant:
        return self._decide(grant_id, GrantState.REFUSED, "grant_refused", actor, reason, {})

    def revoke(self, grant_id: int, actor: str, reason: str) -> Grant:
        """Take a grant back. Servers follow within two seconds."""
        return self._decide(grant_id, GrantState.REVOKED, "grant_revoked", actor, reason, {})

    def grants(
        self, consumer: str | None = None, api: str | None = None, state: GrantState | None = None
    ) -> list[Grant]:
        """Grants in the order in which they were asked for."""
        return self._database.read("listing grants", lambda c: rows.grants(c, consumer, api, state))

    def audit(self, consumer: str | None = None, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """The newest changes first; `before` an entry's id gives the next page."""
        statement = select(schema.audit).order_by(schema.audit.c.id.desc()).limit(limit)
        if consumer is not None:
            statement = statement.where(schema.audit.c.consumer == consumer)
        if before is not None:
            statement = statement.where(schema.audit.c.id < before)
        found = self._database.read("reading the audit log", lambda c: c.execute(statement).mappings().all())
        return [rows.to_audit(row) for row in found]

    def generation(self) -> int:
        """Grows with every change: when it is the same, so is the snapshot."""
        return self._database.read("looking for changes of access", _generation)

    def snapshot(self) -> AccessSnapshot:
        """All that is allowed now, read in one transaction."""

        def work(connection: Connection) -> AccessSnapshot:
            now = self._clock()
            generation = _generation(connection)
            people = [rows.to_consumer(r) for r in connection.execute(select(schema.consumer)).mappings()]
            allowed = {c.name: c for c in people if c.disabled_at is None}
            usable = select(schema.token).where(schema.token.c.revoked_at.is_(None))
            tokens = [rows.to_token(r) for r in connection.execute(usable).mappings()]
            approved = rows.grants(connection, state=GrantState.APPROVED)
            return AccessSnapshot(
                generation,
                allowed,
                {t.digest: t for t in tokens if t.consumer in allowed},
                {(g.consumer, g.api): g for g in approved if g.holds(now)},
            )

        return self._database.read("reading who may read what", work)

    def _decide(
        self, grant_id: int, to: GrantState, action: str, actor: str, reason: str, values: Mapping[str, Any]
    ) -> Grant:
        def work(connection: Connection) -> Grant:
            rows.consumer_row(connection, rows.grant(connection, grant_id).consumer, lock=True)
            grant = rows.grant(connection, grant_id)
            check_grant_move(grant, to)
            decided = {"state": to, "reason": reason, "decided_at": self._clock(), "decided_by": actor}
            statement = update(schema.grant).where(schema.grant.c.id == grant_id)
            connection.execute(statement.values(decided | dict(values)))
            self._log(connection, actor, action, grant.consumer, grant.api, {"grant": grant_id, "reason": reason})
            return rows.grant(connection, grant_id)

        return self._database.write(f"deciding on grant {grant_id}", work)

    def _log(
        self,
        connection: Connection,
        actor: str,
        action: str,
        consumer: str,
        api: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        entry = {"at": self._clock(), "actor": actor, "action": action, "consumer": consumer, "api": api}
        connection.execute(insert(schema.audit).values(entry | {"details": dict(details or {})}))


def _generation(connection: Connection) -> int:
    return int(connection.execute(select(func.max(schema.audit.c.id))).scalar() or 0)


def _free_token_id(connection: Connection, now: datetime) -> str:
    """An id that no token has: two of one millisecond may be given the same."""
    while True:
        token_id = new_id(now)
        taken = select(schema.token.c.id).where(schema.token.c.id == token_id)
        if connection.execute(taken).first() is None:
            return token_id
