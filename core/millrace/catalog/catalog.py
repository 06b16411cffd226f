"""The catalog: one object over everything that is known of assets, runs and versions."""

from __future__ import annotations

from types import TracebackType

from millrace.catalog import migrate, pointers
from millrace.catalog.access import Access
from millrace.catalog.address import parse
from millrace.catalog.alerts import Alerts
from millrace.catalog.assets import Assets
from millrace.catalog.checks import Checks
from millrace.catalog.clock import Clock, utc_now
from millrace.catalog.database import Database
from millrace.catalog.dirty import Dirty
from millrace.catalog.leases import Leases
from millrace.catalog.measures import Measures
from millrace.catalog.model import Flip, Lease, PointerGap, Publication
from millrace.catalog.owner import Owner, this_process
from millrace.catalog.publish import Flipper
from millrace.catalog.runs import Runs
from millrace.catalog.usage import Usage
from millrace.catalog.versions import Versions


class Catalog:
    """An open catalog. Made by `open`; safe to use from several threads.

    Each method is one short transaction. What is transient (a lock, a lost connection, a deadlock) is done again a
    few times, then raised as TransientError; a database that can't be used is a ConfigError.
    """

    def __init__(self, database: Database, clock: Clock, owner: Owner) -> None:
        self._database = database
        self._clock = clock
        self._flipper = Flipper(clock, owner)
        self.url = database.address.shown
        self.assets = Assets(database, clock)
        self.runs = Runs(database, clock, owner)
        self.leases = Leases(database, clock, owner)
        self.versions = Versions(database, clock)
        self.checks = Checks(database, clock)
        self.dirty = Dirty(database)
        self.measures = Measures(database)
        self.access = Access(database, clock)
        self.usage = Usage(database, clock)
        self.alerts = Alerts(database, clock)

    @classmethod
    def open(cls, url: str, *, clock: Clock = utc_now, owner: Owner | None = None) -> Catalog:
        """Open the catalog at a SQLAlchemy URL (SQLite, MySQL, MariaDB, PostgreSQL), and bring it up to date.

        A fresh or older database is migrated, also when several processes open it at once. `clock` gives every time
        that is kept, in UTC; `owner` is this process unless a test says otherwise. Raises ConfigError, without the
        password, for a URL or a database that can't be used, and for one that a newer release has migrated.
        """
        database = Database(parse(url))
        try:
            migrate.to_head(database)
        except BaseException:
            database.close()
            raise
        return cls(database, clock, owner or this_process())

    def close(self) -> None:
        """Close its connections. A later call opens new ones."""
        self._database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, lease: Lease, publication: Publication) -> Flip:
        """In one transaction: the version becomes current and the one before retired, watermark and APIs advance.

        Then move each store's pointer and confirm it. Publishing the version that is current already (a merge) moves
        only watermark and APIs. A second call of the same run gives the same answer. Raises RunConflict when the lease
        was lost or the watermark has moved since the run took it, TransientError while another flip's pointers are on
        their way, RunFailed when the version isn't loaded.
        """
        what = f"publishing version {publication.version_id} of '{lease.asset}'"
        return self._database.write(what, lambda c: self._flipper.publish(c, lease, publication))

    def rollback(self, asset: str, to: str | None = None, *, reason: str = "") -> Flip:
        """In one transaction: an older version becomes current again, with the watermark that it had.

        `to` None is the newest older version that was good and is kept; a rolled-back one must be named. Then move
        each store's pointer and confirm it. A run under way is not disturbed, but can't publish if the watermark moved.
        Raises NotFound when there is none, RunFailed when that version can't be used, TransientError while another
        flip's pointers are on their way.
        """
        what = f"rolling '{asset}' back to {to or 'the version before'}"
        return self._database.write(what, lambda c: self._flipper.rollback(c, asset, to, reason))

    def pointer_confirmed(self, asset: str, target: str, version_id: str) -> None:
        """Note that this target's readers see this version now. Idempotent."""
        what = f"noting that '{target}' of '{asset}' is at version {version_id}"
        self._database.write(what, lambda c: pointers.confirm(c, asset, target, version_id, self._clock()))

    def unconfirmed_pointers(self, asset: str | None = None) -> list[PointerGap]:
        """Targets of current versions that are not known to have followed: publish `wanted` there, then confirm."""
        return self._database.read("looking for pointers to roll forward", lambda c: pointers.gaps(c, asset))
