"""A KV API: get, multi-get, exists; through its cache, from its store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from millrace.connectors.readers import Form, OrderedReader, StoredReader
from millrace.errors import NotFound, TransientError
from millrace.serving import tracing
from millrace.serving.caches import Cache, Unkept
from millrace.serving.caches.shared import Place, cache_of
from millrace.serving.caches.values import row_codec
from millrace.serving.call import Answer, Api, Call, Operation, Origin
from millrace.serving.keys.scan import scan
from millrace.serving.kv.degraded import Fallback
from millrace.serving.kv.gathering import Gathering
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.kv.source import TracedReader, stored_reader
from millrace.serving.kv.together import Sorting, fetch_together, rows_together, sorted_by_cache
from millrace.serving.plans import Host, Kind, KvPlan, compile_kv
from millrace.serving.refusals import Refused, TooLarge
from millrace.serving.signing import signing_key
from millrace.serving.stores import GuardedOrder, GuardedRows
from millrace.serving.views import View, narrowed_row, narrowed_rows, within

DEFAULT_MOST_KEYS = 1000
_MISSING = object()


class KvApi:
    """Rows of one asset by key. Every answer is of one version, from its beginning to its end."""

    def __init__(self, plan: KvPlan, host: Host) -> None:
        self.plan = plan
        self._settings = host.settings
        self._signing_key: bytes | None = None
        self._reader = plan.reader(host.settings)
        self.rows = stored_reader(self._reader, plan.asset, plan.fields)
        self._store = host.breakers.of(str(plan.options["connection"]))
        self._source: StoredReader = GuardedRows(self.rows, self._store)
        if tracing.on():
            self._source = TracedReader(self._source, plan.connector)
        self._gathered: Callable[[Form, Any, bytes], Awaitable[tuple[Form, Any]]] = (
            self._source.fetch if tracing.on() else Gathering(self._source).fetch
        )
        definition = {} if plan.definition is None else plan.definition.model_dump(mode="json")
        self.cache = cache_of(plan.cache, Place(plan.api, definition), row_codec(lambda: self.form), host)
        self._fallback = Fallback(plan.api, plan.asset, plan.fields, definition.get("default"), self.cache)
        self.falls_back = self._fallback.default is not None
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
        if self.cache is not None:
            await self.cache.open()

    async def close(self) -> None:
        if self.cache is not None:
            await self.cache.close()
        await self._reader.close()

    @property
    def form(self) -> Form:
        """Of the version that answers now. Raises NotFound when there is none."""
        return self.rows.form

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
                get = self.get if call.operation is Operation.GET else self._get
                found, origin = await get(form, call.arguments, form.key(call.arguments), call.context.fresh)
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

    def fetch(self, form: Form, key: Any, stored_key: bytes) -> Awaitable[tuple[Form, Any]]:
        """The row under a key as the store has it now, whatever is kept; None without one. Asked for with others."""
        return self._gathered(form, key, stored_key)

    def sorted_by_cache(self, stored_keys: Sequence[bytes]) -> Sorting:
        """Of gets that came at the same time: what is kept, and what `fetch_together` may fetch."""
        return sorted_by_cache(self.cache, stored_keys)

    async def fetch_together(
        self, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes]
    ) -> tuple[Form, Sequence[Any]]:
        """Rows as they are stored, by one question; all of one version. Raises what asking raises, for all of them."""
        return await fetch_together(self._source, self.cache, form, keys, stored_keys)

    async def multi_get_together(
        self, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes]
    ) -> tuple[Form, Sequence[Any], Sequence[int]]:
        """Rows as they are stored, all of one version, and the places of those that were not kept.

        Only where the cache has no L2. Raises what asking raises, for all of them.
        """
        if self.cache is None:
            return *await self._source.fetch_all(form, keys, stored_keys), range(len(keys))
        return await rows_together(self._source, self.cache, form, keys, stored_keys)

    def all_instead(self, form: Form, stored_keys: Sequence[bytes]) -> tuple[StoredRows, Origin] | None:
        """What is given for keys while their store is away: what is kept of all, or defaults; None for neither."""
        return self._fallback.rows(form, stored_keys)

    @property
    def has_shared(self) -> bool:
        """Whether other servers' cache is to be asked before the store."""
        return self.cache is not None and self.cache.has_shared

    def instead(self, form: Form, stored_key: bytes) -> tuple[StoredRow, Origin] | None:
        """What is given for a key while its store is away: what is kept, or the default; None for neither."""
        found = self._fallback.rows(form, [stored_key])
        return None if found is None else (StoredRow(found[0].form, found[0].stored[0]), found[1])

    def degraded(self, call: Call) -> Answer | None:
        """What is given for a call that has no answer in time: what is kept, or the default; None for neither."""
        form, view, single = self.form, self.view(call.view), call.operation is not Operation.MULTI_GET
        if call.operation not in (Operation.GET, Operation.EXISTS, Operation.MULTI_GET):
            return None
        keys = form.keys([call.arguments] if single else call.arguments)
        found = self._fallback.rows(form, keys, default=call.operation is not Operation.EXISTS)
        if found is None:
            return None
        rows = found[0] if view is None else narrowed_rows(found[0], view)
        body: Any = rows
        if single:
            row = StoredRow(rows.form, rows.stored[0])
            body = row if call.operation is Operation.GET else row.stored is not None
        return Answer(body, form.version, found[1])

    def get(
        self, form: Form, key: Any, stored_key: bytes, fresh: bool = False, *, gathered: bool = False
    ) -> Awaitable[tuple[StoredRow, Origin]]:
        """The row under a key; `stored_key` is `form.key(key)`, which the caller has made already.

        `gathered`: the store is asked for it together with others that come in the same turn of the loop, and who is
        cancelled tells its breaker nothing.
        """
        found = self._get(form, key, stored_key, fresh, gathered=gathered)
        return found if not self.falls_back else self._or_default(found, form, stored_key)

    async def _or_default(
        self, get: Awaitable[tuple[StoredRow, Origin]], form: Form, stored_key: bytes
    ) -> tuple[StoredRow, Origin]:
        try:
            return await get
        except (TransientError, TimeoutError):
            found = self.instead(form, stored_key)
            if found is None:
                raise
            return found

    async def _get(
        self, form: Form, key: Any, stored_key: bytes, fresh: bool = False, *, gathered: bool = False
    ) -> tuple[StoredRow, Origin]:
        cache, ask = self.cache, self._gathered if gathered else self._source.fetch
        if cache is None:
            return StoredRow(*await ask(form, key, stored_key)), Origin.STORE
        if fresh:
            found = StoredRow(*await ask(form, key, stored_key))
            if found.form is form:
                cache.keep(stored_key, _kept(form, found.stored))
            return found, Origin.STORE

        if cache.claim(stored_key):
            try:
                found = StoredRow(*await ask(form, key, stored_key))
            except BaseException as error:
                cache.abandon(stored_key, error)
                raise
            cache.settle(stored_key, _kept(form, found.stored) if found.form is form else Unkept(found))
            return found, Origin.STORE

        async def fetch() -> StoredRow | Unkept | None:
            found = StoredRow(*await ask(form, key, stored_key))
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
        stored_keys = form.keys(keys)
        try:
            if fresh:
                return StoredRows(*await self._source.fetch_all(form, keys, stored_keys)), Origin.STORE
            if self.cache is not None and self.cache.has_shared:
                return await self._multi_get_shared(self.cache, form, keys, stored_keys)
            later, rows, missing = await self.multi_get_together(form, keys, stored_keys)
            return StoredRows(later, rows), Origin.STORE if missing else Origin.L1
        except (TransientError, TimeoutError):
            found = self.all_instead(form, stored_keys)
            if found is None:
                raise
            return found

    async def _multi_get_shared(
        self, cache: Cache, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes]
    ) -> tuple[StoredRows, Origin]:
        """L1, then L2 for what isn't there, then the store for the rest."""
        found: list[Any] = [cache.hit(key) for key in stored_keys]
        missing, origin = [place for place, entry in enumerate(found) if entry is None], Origin.L1
        found = [None if e is None else e.value for e in found]
        if missing:
            origin = Origin.L2
            for place, kept in zip(missing, await cache.get_shared([stored_keys[p] for p in missing]), strict=True):
                found[place] = _MISSING if kept is None else kept[0]
            missing = [place for place in missing if found[place] is _MISSING]
        if missing:
            origin = Origin.STORE
            wanted = [keys[place] for place in missing]
            later, rows = await self._source.fetch_all(form, wanted, [stored_keys[place] for place in missing])
            if later is not form:  # a flip: what was kept is of another version
                return StoredRows(*await self._source.fetch_all(later, keys)), Origin.STORE
            for place, stored in zip(missing, rows, strict=True):
                found[place] = _kept(form, stored)
                cache.keep_everywhere(stored_keys[place], found[place])
        return StoredRows(form, [None if row is None else row.stored for row in found]), origin

    async def _scan(self, arguments: Any) -> StoredRows:
        """A page of the rows whose keys begin alike. Raises Refused when the API or its store doesn't do that."""
        allowed = self.plan.definition is not None and self.plan.definition.prefix
        if not allowed or not hasattr(self._reader, "scan"):
            raise Refused(
                f"the KV API {self.plan.api} gives no scans", hint="say `prefix: true`, on a store with order"
            )
        if self._signing_key is None:
            self._signing_key = signing_key(self._settings)
        ordered = GuardedOrder(cast(OrderedReader, self._reader), self._store, self.plan.connector)
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
