"""Assets, their specs and the API names that they have claimed."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from millrace.catalog import fields, leases, schema
from millrace.catalog.alert_schema import alert, incident
from millrace.catalog.clock import Clock
from millrace.catalog.columns import NAME_LENGTH
from millrace.catalog.database import Database
from millrace.catalog.model import ApiDefinition, ApiMark, ApiRecord, AssetField, AssetRecord, Registration
from millrace.catalog.rows import lock_asset, to_asset
from millrace.catalog.upsert import insert_if_absent
from millrace.errors import NotFound, RunConflict, SpecError


class Assets:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def register(self, spec: Registration) -> AssetRecord:
        """Keep this spec as the asset's latest one, and claim its API names. Called on each run.

        API definitions take effect when a version is published with them; a name that the spec no longer has is freed
        here only when it was never published. Raises SpecError when another asset owns one of the names.
        """
        _check_name("asset", spec.asset)
        for api in spec.apis:
            _check_name("API", api.name)

        def work(connection: Connection) -> AssetRecord:
            self._keep_asset(connection, spec)
            self._keep_text(connection, spec)
            claim(connection, spec.asset, spec.apis)
            return to_asset(lock_asset(connection, spec.asset))

        return self._database.write(f"registering the spec of '{spec.asset}'", work)

    def get(self, name: str) -> AssetRecord:
        """Raises NotFound."""
        found = self.find(name)
        if found is None:
            raise NotFound(f"the catalog knows no asset '{name}'", hint="`millrace status` lists the assets")
        return found

    def find(self, name: str) -> AssetRecord | None:
        statement = select(schema.asset).where(schema.asset.c.name == name)
        row = self._database.read(f"looking up '{name}'", lambda c: c.execute(statement).mappings().first())
        return None if row is None else to_asset(row)

    def list(self) -> builtins.list[AssetRecord]:
        statement = select(schema.asset).order_by(schema.asset.c.name)
        return [
            to_asset(r) for r in self._database.read("listing assets", lambda c: c.execute(statement).mappings().all())
        ]

    def spec_text(self, digest: str) -> str:
        """The text of a spec that was registered at any time. Raises NotFound."""
        statement = select(schema.spec.c.text).where(schema.spec.c.digest == digest).limit(1)
        found = self._database.read("reading a spec", lambda c: c.execute(statement).scalar())
        if found is None:
            raise NotFound(f"the catalog knows no spec with the digest {digest}", hint="register the spec first")
        return str(found)

    def watermark(self, name: str) -> Mapping[str, Any] | None:
        """Where the source was read up to when the current version was published; None: never."""
        statement = select(schema.watermark.c.cursor).where(schema.watermark.c.asset == name)
        found: Mapping[str, Any] | None = self._database.read(
            f"reading the watermark of '{name}'", lambda c: c.execute(statement).scalar()
        )
        return found

    def fields(self, name: str) -> tuple[AssetField, ...]:
        """Every Protobuf field number that the asset ever gave, in their order."""
        return self._database.read(f"reading the fields of '{name}'", lambda c: fields.of_asset(c, name))

    def apis(self, asset: str | None = None) -> builtins.list[ApiRecord]:
        """All APIs, or one asset's, by name. Those with a definition are published."""
        statement = select(schema.api).order_by(schema.api.c.name)
        if asset is not None:
            statement = statement.where(schema.api.c.asset == asset)
        rows = self._database.read("listing APIs", lambda c: c.execute(statement).mappings().all())
        return [ApiRecord(r["name"], r["asset"], r["kind"], r["definition"], r["published_at"]) for r in rows]

    def api_marks(self) -> builtins.list[ApiMark]:
        """The published APIs by name, each with what changes when it does. One cheap query, for servers that watch."""
        api, asset = schema.api.c, schema.asset.c
        statement = (
            select(api.name, api.kind, api.asset, api.published_at, asset.generation)
            .join(schema.asset, asset.name == api.asset)
            .where(api.published_at.is_not(None))
            .order_by(api.name)
        )
        rows = self._database.read("looking for changed APIs", lambda c: c.execute(statement).all())
        return [ApiMark(*row) for row in rows]

    def remove(self, name: str) -> None:
        """Forget everything about an asset. What its stores hold is the caller's to erase, before.

        Unknown names are no error. Raises RunConflict while a run holds its lease.
        """

        def work(connection: Connection) -> None:
            try:
                lock_asset(connection, name)
            except NotFound:
                return
            holder = leases.live_holder(connection, name, self._clock())
            if holder is not None:
                raise RunConflict(
                    f"'{name}' can't be removed while run {holder.run_id} on {holder.host} (pid {holder.pid}) is on it",
                    hint="stop that run, or wait for it",
                )
            connection.execute(delete(schema.asset).where(schema.asset.c.name == name))
            for table in (incident, alert):
                connection.execute(delete(table).where(table.c.asset == name))

        self._database.write(f"removing '{name}'", work)

    def _keep_asset(self, connection: Connection, spec: Registration) -> None:
        now = self._clock()
        latest = {"owner": spec.owner, "spec_digest": spec.digest, "updated_at": now}
        first = {"name": spec.asset, "generation": 0, "sequence": 0, "registered_at": now}
        known = connection.execute(select(schema.asset.c.name).where(schema.asset.c.name == spec.asset)).first()
        if known is not None or not insert_if_absent(connection, schema.asset, latest | first):
            lock_asset(connection, spec.asset)
            connection.execute(update(schema.asset).where(schema.asset.c.name == spec.asset).values(latest))

    def _keep_text(self, connection: Connection, spec: Registration) -> None:
        table = schema.spec
        here = (table.c.asset == spec.asset, table.c.digest == spec.digest)
        if connection.execute(select(table.c.digest).where(*here)).first() is None:
            values = {"digest": spec.digest, "asset": spec.asset, "text": spec.text, "registered_at": self._clock()}
            connection.execute(insert(table).values(values))


def claim(connection: Connection, asset: str, apis: Sequence[ApiDefinition]) -> None:
    """Make these names the asset's, and free those that it claimed before and never published."""
    for api in sorted(apis, key=lambda a: a.name):  # in one order, so that two registrations can't deadlock
        if insert_if_absent(connection, schema.api, {"name": api.name, "asset": asset, "kind": api.kind}):
            continue
        owner = connection.execute(select(schema.api.c.asset).where(schema.api.c.name == api.name)).scalar_one()
        if owner != asset:
            raise SpecError(
                f"the API '{api.name}' of asset '{asset}' is already an API of asset '{owner}'",
                hint="API names are unique over all assets: choose another one",
            )
    table = schema.api
    gone = (table.c.asset == asset, table.c.published_at.is_(None), table.c.name.not_in([a.name for a in apis]))
    connection.execute(delete(table).where(*gone))


def _check_name(what: str, name: str) -> None:
    if not 0 < len(name) <= NAME_LENGTH:
        raise SpecError(f"the {what} name {name[:40]!r} has {len(name)} characters, expected 1 to {NAME_LENGTH}")
