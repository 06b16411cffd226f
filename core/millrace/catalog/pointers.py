"""Which store's own pointer is known to be at the asset's current version, and which has to be moved still."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from millrace.catalog import schema
from millrace.catalog.model import PointerGap
from millrace.catalog.rows import lock_asset


def confirm(connection: Connection, asset: str, target: str, version_id: str, now: datetime) -> None:
    """See `Catalog.pointer_confirmed`."""
    lock_asset(connection, asset)
    table = schema.pointer
    here = (table.c.asset == asset, table.c.target == target)
    values = {"version_id": version_id, "confirmed_at": now}
    if connection.execute(select(table.c.asset).where(*here)).first() is None:
        connection.execute(insert(table).values(**values, asset=asset, target=target))
    else:
        connection.execute(update(table).where(*here).values(values))
    if not gaps(connection, asset):
        connection.execute(update(schema.asset).where(schema.asset.c.name == asset).values(flip_until=None))


def gaps(connection: Connection, asset: str | None = None) -> list[PointerGap]:
    """See `Catalog.unconfirmed_pointers`."""
    wanted = select(schema.version.c.asset, schema.version.c.id, schema.version.c.targets).join(
        schema.asset, schema.asset.c.current_version == schema.version.c.id
    )
    confirmed = select(schema.pointer.c.asset, schema.pointer.c.target, schema.pointer.c.version_id)
    if asset is not None:
        wanted = wanted.where(schema.asset.c.name == asset)
        confirmed = confirmed.where(schema.pointer.c.asset == asset)
    known = {(name, target): version for name, target, version in connection.execute(confirmed)}
    return [
        PointerGap(name, target, version, known.get((name, target)))
        for name, version, targets in connection.execute(wanted.order_by(schema.version.c.asset))
        for target in targets
        if known.get((name, target)) != version
    ]
