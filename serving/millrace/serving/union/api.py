"""A union API: its parts are called through their own guards and caches; what is missing is said, with the reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from millrace.errors import MillraceError, TransientError
from millrace.serving.call import Answer, Call, Context, Operation, Origin, Table
from millrace.serving.kv.rows import StoredRow, StoredRows
from millrace.serving.plans import Host, Kind
from millrace.serving.refusals import DeadlineExceeded, Refused
from millrace.serving.union.plan import PartPlan, UnionPlan, compile_union
from millrace.spec.diagnostics import did_you_mean, shown
from millrace.spec.templates import Place, filled

_NO_ROW = "no row under this key"


class PartFailed(TransientError):
    """A part without which there is no answer could not be had."""


@dataclass(frozen=True)
class UnionAnswer:
    """What each part gave, in the parts' order: a row, rows, or its default. `missing`: why a part has none of its own.

    `versions` are those of the parts that answered; `origins` say of which the answer is `stale`, or the `default` of
    its API.
    """

    parts: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)


class _Missing(Exception):
    """A part that can't be called, or gave nothing; the text says why."""


class UnionApi:
    """Calls other APIs of the same process. A part's API may come and go: it is looked up in each call."""

    def __init__(self, plan: UnionPlan, host: Host) -> None:
        self.plan = plan
        self._host = host

    async def open(self) -> None:
        """Nothing to connect: each part's API has its own store."""

    async def close(self) -> None:
        """Nothing to let go of."""

    async def call(self, call: Call) -> Answer:
        """`arguments` are the request's fields. Raises Refused for wrong ones, PartFailed for a required part."""
        if call.operation is not Operation.UNION:
            raise Refused(f"the union API {self.plan.api} has no operation '{call.operation}'")
        fields = self._fields(call.arguments)
        run = _Run(self.plan, self._host, fields, call.context)
        await (run.series() if self.plan.series else run.parallel())
        found = run.answer()
        return Answer(found, origin=_least(found), notes=[f"{name}: {why}" for name, why in found.missing.items()])

    def _fields(self, arguments: Any) -> Mapping[str, Any]:
        if not isinstance(arguments, Mapping):
            raise Refused("a union is called with an object", hint=f"its fields are {', '.join(self.plan.fields)}")
        for name in arguments:
            if name not in self.plan.fields:
                raise Refused(f"unknown field '{shown(str(name))}'{did_you_mean(str(name), self.plan.fields)}")
        for name in self.plan.fields:
            if name not in arguments:
                raise Refused(f"the field '{name}' is missing", hint=f"the fields are {', '.join(self.plan.fields)}")
        return arguments


class _Run:
    """One call of a union."""

    def __init__(self, plan: UnionPlan, host: Host, fields: Mapping[str, Any], context: Context) -> None:
        self._plan, self._host, self._fields, self._context = plan, host, fields, context
        self._given: dict[str, Any] = {}
        self._missing: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        self._origins: dict[str, str] = {}

    def answer(self) -> UnionAnswer:
        order = [part.name for part in self._plan.parts]
        return UnionAnswer(
            {name: self._given[name] for name in order},
            {name: self._missing[name] for name in order if name in self._missing},
            {name: self._versions[name] for name in order if name in self._versions},
            {name: self._origins[name] for name in order if name in self._origins},
        )

    async def series(self) -> None:
        for part in self._plan.parts:
            await self._part(part)

    async def parallel(self) -> None:
        """All at once; when a required part fails, the others are not waited for."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in self._plan.parts:
                    group.create_task(self._part(part))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _part(self, part: PartPlan) -> None:
        try:
            answer = await self._host.call(part.api, part.kind, self._call(part))
            value = _value(answer)
            self._versions[part.name] = answer.version
            if answer.origin.mark:
                self._origins[part.name] = answer.origin.mark
            if value is None:
                self._leave_out(part, _NO_ROW)
            else:
                self._given[part.name] = value
        except _Missing as reason:
            if part.required:
                raise PartFailed(self._failed(part, str(reason))) from None
            self._leave_out(part, str(reason))
        except (MillraceError, ValueError, TimeoutError) as error:
            why = error.message if isinstance(error, MillraceError) else str(error) or type(error).__name__
            if part.required:
                raise self._failure(part, why, error) from error
            self._leave_out(part, why)

    def _leave_out(self, part: PartPlan, why: str) -> None:
        self._given[part.name] = part.default
        self._missing[part.name] = why

    def _failed(self, part: PartPlan, why: str) -> str:
        return f"the union {self._plan.api} has no answer without its part '{part.name}': {why}"

    def _failure(self, part: PartPlan, why: str, error: Exception) -> MillraceError:
        message = self._failed(part, why)
        if isinstance(error, DeadlineExceeded | TimeoutError):
            return DeadlineExceeded(message)
        if isinstance(error, Refused):
            refusal = type(error)(message) if type(error).__init__ is MillraceError.__init__ else Refused(message)
            refusal.retry_after_s = error.retry_after_s
            return refusal
        return PartFailed(message) if not isinstance(error, ValueError) else Refused(message)

    def _call(self, part: PartPlan) -> Call:
        arguments = filled(part.input, self._at)
        context = self._context
        if part.timeout_s is not None:
            limit = time.monotonic() + part.timeout_s
            context = replace(context, deadline=limit if context.deadline is None else min(limit, context.deadline))
        if part.kind == "sql":
            return Call(Operation.QUERY, arguments, context)
        return _kv_call(arguments, context)

    def _at(self, place: Place) -> Any:
        if place.part is None:
            return self._fields[place.field]
        if place.part in self._missing and self._given[place.part] is None:
            raise _Missing(f"it needs {place}, and that part is missing")
        given = self._given[place.part]
        if isinstance(given, list):
            return [row.get(place.field) for row in given if isinstance(row, Mapping)]
        if not isinstance(given, Mapping) or place.field not in given:
            raise _Missing(f"it needs {place}, which that part doesn't give")
        if given[place.field] is None:
            raise _Missing(f"it needs {place}, which is null")
        return given[place.field]


def _kv_call(arguments: Mapping[str, Any], context: Context) -> Call:
    if "keys" in arguments:
        keys = arguments["keys"]
        if not isinstance(keys, list | tuple):
            raise Refused("'keys' takes a list")
        return Call(Operation.MULTI_GET, [_key(key) for key in keys], context)
    if "range" in arguments:
        return Call(Operation.RANGE, _key(arguments["range"]), context)
    if "prefix" in arguments:
        return Call(Operation.SCAN, dict(arguments), context)
    return Call(Operation.GET, _key(arguments["key"]), context)


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key


def _least(found: UnionAnswer) -> Origin:
    """Of the whole: the least of what its parts say of themselves."""
    marks = set(found.origins.values())
    return next((origin for origin in (Origin.DEFAULT, Origin.STALE) if origin in marks), Origin.STORE)


def _value(answer: Answer) -> Any:
    """What a part gave, as Python values: a row, None without one, or a list of rows."""
    match answer.body:
        case StoredRow():
            row = answer.body.row()
            return None if row is None else dict(row)
        case StoredRows():
            return [None if row is None else dict(row) for row in answer.body.rows()]
        case Table():
            return [dict(zip(answer.body.columns, row, strict=True)) for row in answer.body.rows]
        case _:
            return answer.body


KIND = Kind(compile_union, UnionApi)
