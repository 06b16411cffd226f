"""A KV API: get, multi-get, exists; through its cache, from its store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from millrace.connectors.base import Form, StoredReader
from millrace.errors import NotFound
from millrace.serving import tracing
from millrace.serving.caches import Cache, Policy, Unkept
from millrace.serving.call import Answer, Api, Call, Operation, Origin
from millrace.serving.keys.scan import scan
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.kv.source import TracedReader, stored_reader
from millrace.serving.plans import Host, Kind, KvPlan, compile_kv
from millrace.serving.refusals import Refused, TooLarge
from millrace.serving.signing import signing_key
from millrace.serving.stores import GuardedRows
from millrace.serving.views import View, narrowed_row, narrowed_rows, within

DEFAULT_MOST_KEYS = 1000


class KvApi:
    """Rows of one asset by key. Every answer is of one version, from its beginning to its end."""

    def __init__(self, plan: KvPlan, host: Host) -> None:
        self.plan = plan
        self._settings = host.settings
        self._signing_key: bytes | None = None
        self._reader = plan.reader(host.settings)
        rows = stored_reader(self._reader, plan.asset, plan.fields)
        self._source: StoredReader = GuardedRows(rows, host.breakers.of(str(plan.options["connection"])))
        if tracing.on():
            self._source = TracedReader(self._source, plan.connector)
        self.cache = Cache(Policy.of(plan.cache)) if plan.cache is not None else None
        self._view = None if plan.columns is None else View(plan.columns)
        self.most_keys = int(plan.profile.limits.get("keys") or DEFAULT_MOST_KEYS)

    @property
    def in_time_by_itself(self) -> bool:
        """Whether the reader's own timeout is the API's, so that a call needs no timer of its own."""
        return self.plan.profile.timeout_s is None

    def hit(self, stored_key: bytes) -> StoredRow | None:
        """The row under a key when it is kept and needs no refresh; None says nothing about the row."""
        if self.cache is None:
            return None
        entry = self.cache.hit(stored_key)
        return None if entry is None else entry.value

    async def open(self) -> None:
        await self._reader.open()

    async def close(self) -> None:
        if self.cache is not None:
            await self.cache.close()
        await self._reader.close()

    @property
    def form(self) -> Form:
        """Of the version that answers now. Raises NotFound when there is none."""
        return self._source.form

    def view(self, of_consumer: View | None) -> View | None:
        """What a call may see: of the API's own columns, those that its consumer may see too."""
        if self._view is None or of_consumer is None:
            return self._view or of_consumer
        return within(self._view, of_consumer)

    async def call(self, call: Call) -> Answer:
        view = self.view(call.view)
        match call.operation:
            case Operation.GET | Operation.EXISTS:
                form = self._source.form
                found, origin = await self.get(form, call.arguments, form.key(call.arguments), call.context.fresh)
                if view is not None:
                    found = narrowed_row(found, view)
                body = found if call.operation is Operation.GET else found.stored is not None
                return Answer(body, found.form.version, origin)
            case Operation.MULTI_GET:
                rows, origin = await self.multi_get(call.arguments, call.context.fresh)
                return Answer(rows if view is None else narrowed_rows(rows, view), rows.form.version, origin)
            case Operation.SCAN:
                page = await self._scan(call.arguments)
                return Answer(page if view is None else narrowed_rows(page, view), page.form.version)
            case _:
                raise Refused(f"the KV API {self.plan.api} has no operation '{call.operation}'")

    async def get(self, form: Form, key: Any, stored_key: bytes, fresh: bool = False) -> tuple[StoredRow, Origin]:
        """The row under a key; `stored_key` is `form.key(key)`, which the caller has made already."""
        cache = self.cache
        if cache is None:
            return StoredRow(*await self._source.fetch(form, key, stored_key)), Origin.STORE
        if fresh:
            found = StoredRow(*await self._source.fetch(form, key, stored_key))
            if found.form is form:
                cache.keep(stored_key, _kept(form, found.stored))
            return found, Origin.STORE

        if cache.claim(stored_key):
            try:
                found = StoredRow(*await self._source.fetch(form, key, stored_key))
            except BaseException as error:
                cache.abandon(stored_key, error)
                raise
            cache.settle(stored_key, _kept(form, found.stored) if found.form is form else Unkept(found))
            return found, Origin.STORE

        async def fetch() -> StoredRow | Unkept | None:
            found = StoredRow(*await self._source.fetch(form, key, stored_key))
            if found.form is not form:
                return Unkept(found)
            return None if found.stored is None else found

        value, origin = await cache.get(stored_key, fetch)
        return (StoredRow(form, None) if value is None else value), origin

    async def multi_get(self, keys: Sequence[Any], fresh: bool = False) -> tuple[StoredRows, Origin]:
        """The rows under many keys. Raises TooLarge for more keys than the API allows."""
        if len(keys) > self.most_keys:
            raise TooLarge(
                f"{len(keys)} keys in one request to {self.plan.api}, of at most {self.most_keys}",
                hint="ask in several requests",
            )
        form = self._source.form
        if self.cache is None or fresh:
            return StoredRows(*await self._source.fetch_all(form, keys)), Origin.STORE
        return await self._multi_get_cached(self.cache, form, keys)

    async def _multi_get_cached(self, cache: Cache, form: Form, keys: Sequence[Any]) -> tuple[StoredRows, Origin]:
        stored_keys = form.keys(keys)
        if cache.local.entries.keys().isdisjoint(stored_keys):
            later, rows = await self._source.fetch_all(form, keys, stored_keys)
        else:
            entries = [*map(cache.hit, stored_keys)]
            missing = [place for place, entry in enumerate(entries) if entry is None]
            found: list[Any] = [None if e is None or e.value is None else e.value.stored for e in entries]
            if not missing:
                return StoredRows(form, found), Origin.L1
            later, rows = await self._source.fetch_all(form, [keys[place] for place in missing])
            if later is not form:  # a flip: what was kept is of another version
                return StoredRows(*await self._source.fetch_all(later, keys)), Origin.STORE
            for place, stored in zip(missing, rows, strict=True):
                found[place] = stored
            rows = found
        if later is form:
            cache.keep_wanted(stored_keys, lambda place: _kept(form, rows[place]))
        return StoredRows(later, rows), Origin.STORE

    async def _scan(self, arguments: Any) -> StoredRows:
        """A page of the rows whose keys begin alike. Raises Refused when the API or its store doesn't do that."""
        allowed = self.plan.definition is not None and self.plan.definition.prefix
        if not allowed or not hasattr(self._reader, "scan"):
            raise Refused(
                f"the KV API {self.plan.api} gives no scans", hint="say `prefix: true`, on a store with order"
            )
        if self._signing_key is None:
            self._signing_key = signing_key(self._settings)
        ordered: Any = self._reader
        return await scan(ordered, self._source.form, self.plan.api, arguments, self.most_keys, self._signing_key)


def _kept(form: Form, stored: Any) -> StoredRow | None:
    """What a cache keeps for a key: None says that there is no such row."""
    return None if stored is None else StoredRow(form, stored)


def published(api: KvApi) -> bool:
    """Whether there is a version that can answer."""
    try:
        return bool(api.form.version)
    except NotFound:
        return False


def make(plan: KvPlan, host: Host) -> Api:
    """The API of a plan: by equality, or by interval."""
    if plan.definition is not None and plan.definition.range is not None:
        from millrace.serving.keys.api import IntervalApi

        return IntervalApi(plan, host)
    return KvApi(plan, host)


KIND = Kind(compile_kv, make)
