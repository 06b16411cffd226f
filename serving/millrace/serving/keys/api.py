"""A KV API by interval: a key is answered with the row whose interval, both ends included, holds it."""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from typing import Any, cast

from millrace.connectors.readers import Form, OrderedReader
from millrace.connectors.wire.text import parser, text_of
from millrace.errors import NotFound
from millrace.serving.call import Answer, Call, Operation
from millrace.serving.keys.intervals import IntervalTable
from millrace.serving.keys.mapped import MappedTable
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.kv.source import row_form, stored_reader
from millrace.serving.plans import Host, KvPlan
from millrace.serving.refusals import Refused, TooLarge
from millrace.serving.stores import GuardedOrder
from millrace.serving.views import narrowed_row, narrowed_rows
from millrace.spec.types import Kind

DEFAULT_MOST_KEYS = 1000
_OPEN_WAIT_S = 20.0
_WHOLE = frozenset({Kind.INT, Kind.BIGINT, Kind.DECIMAL})
_DOTTED = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)


class IntervalApi:
    """Get, multi-get and exists by interval. From the store's own order where it has one, else from a mapped table."""

    def __init__(self, plan: KvPlan, host: Host) -> None:
        assert plan.definition is not None
        assert plan.definition.range is not None
        self.plan = plan
        self._reader: Any = plan.reader(host.settings)
        self._source = stored_reader(self._reader, plan.asset, plan.fields)
        interval = plan.definition.range
        self.ends = interval.start, interval.end
        self._end = interval.end
        self._type = next((f.column.type for f in plan.fields if f.name == interval.start), None)
        if self._type is None or all(f.name != interval.end for f in plan.fields):
            raise NotFound(f"the interval of {plan.api} names columns that {plan.asset} doesn't have")
        store = host.breakers.of(str(plan.options["connection"]))
        self._ordered = GuardedOrder(cast(OrderedReader, self._reader), store, plan.connector)
        self._mapped: MappedTable | None = None
        if not hasattr(self._reader, "floor"):
            rows = getattr(self._reader, "all_rows", None)
            if rows is None:
                raise NotFound(f"the store of {plan.api} can't be searched by interval")
            folder = host.settings.home / "intervals"
            self._mapped = MappedTable(folder, plan.asset, plan.fields, interval.start, interval.end, rows)
        self._most_keys = int(plan.profile.limits.get("keys") or DEFAULT_MOST_KEYS)
        self._forms: dict[str, Form] = {}

    async def open(self) -> None:
        """Connect, and build or map the table; a large one goes on being built behind."""
        await self._reader.open()
        if self._mapped is not None:
            try:
                async with asyncio.timeout(_OPEN_WAIT_S):
                    await self._mapped.of(self._source.form)
            except TimeoutError:
                return

    async def close(self) -> None:
        if self._mapped is not None:
            await self._mapped.close()
        await self._reader.close()

    @property
    def form(self) -> Form:
        """Of the version that answers now. Raises NotFound when there is none."""
        return self._form(self._source.form.version)

    async def call(self, call: Call) -> Answer:
        match call.operation:
            case Operation.GET | Operation.RANGE:
                one, version = await self._one(call)
                return Answer(one, version)
            case Operation.EXISTS:
                one, version = await self._one(call)
                return Answer(one.stored is not None, version)
            case Operation.MULTI_GET:
                if len(call.arguments) > self._most_keys:
                    raise TooLarge(f"{len(call.arguments)} keys in one request, of at most {self._most_keys}")
                found, version = await self._find(call.arguments)
                rows = StoredRows(self._form(version), found)
                return Answer(rows if call.view is None else narrowed_rows(rows, call.view), version)
            case _:
                raise Refused(f"the KV API {self.plan.api} has no operation '{call.operation}'")

    async def _one(self, call: Call) -> tuple[StoredRow, str]:
        found, version = await self._find([call.arguments])
        row = StoredRow(self._form(version), found[0])
        return (row if call.view is None else narrowed_row(row, call.view)), version

    async def _find(self, keys: Sequence[Any]) -> tuple[list[Any], str]:
        """The row of each key, and the version that they are of."""
        parsed = [self._key(key) for key in keys]
        form = self._source.form
        if self._mapped is not None:
            table: IntervalTable = await self._mapped.of(form)
            return [table.find(key) for key in parsed], table.version
        rows = await asyncio.gather(*(self._ordered.floor(key) for key in parsed))
        held = [
            row if row is not None and row[self._end] is not None and row[self._end] >= key else None
            for row, key in zip(rows, parsed, strict=True)
        ]
        return held, form.version

    def _key(self, key: Any) -> Any:
        """A key of the ends' type; for whole numbers, also an IPv4 address as text."""
        assert self._type is not None
        if isinstance(key, str) and self._type.kind in _WHOLE and _DOTTED.fullmatch(key):
            try:
                return int(ipaddress.IPv4Address(key))
            except ValueError as error:
                raise Refused(f"'{key}' is no IPv4 address: {error}") from None
        return parser(self._type)(text_of(self._type, key))

    def _form(self, version: str) -> Form:
        if version not in self._forms:
            self._forms = {version: row_form(self.plan.asset, version, self.plan.fields)}
        return self._forms[version]
