"""What a DAG needs to know of a spec: small and plain, so that it can be kept beside the spec as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from millrace.spec.model import Spec


@dataclass(frozen=True)
class Endpoint:
    """A source or target: its name in the spec, its connector, and the connection that it goes through."""

    name: str
    connector: str
    connection: str = ""


@dataclass(frozen=True)
class Outline:
    """One spec as its DAG shows it. Times are text (ISO 8601) and seconds: everything here is JSON."""

    asset: str
    path: str
    digest: str
    source: Endpoint
    targets: tuple[Endpoint, ...]
    owner: str = ""
    description: str = ""
    business_line: str = ""
    priority: str = "medium"
    mode: str = "replace"
    cron: str = ""
    timezone: str = "UTC"
    start: str = ""
    catch_up: bool = False
    after: tuple[str, ...] = ()
    checks: int = 0
    channels: int = 4
    rows_per_second: int | None = None
    bytes_per_second: int | None = None
    timeout_s: float | None = None
    keep: int = 2
    apis: tuple[tuple[str, str], ...] = ()  # name and kind
    alerts: tuple[str, ...] = ()  # destinations
    late: tuple[str, ...] = ()  # those of them that are told when it is late

    @classmethod
    def of(cls, spec: Spec) -> Self:
        """The outline of a spec that is valid. Pure."""
        schedule, limits = spec.schedule, spec.limits
        return cls(
            asset=spec.asset,
            path=str(spec.path),
            digest=spec.digest,
            source=_endpoint(spec.source.connector, spec.source.connector, spec.source.options),
            targets=tuple(_endpoint(t.name, t.connector, t.options) for t in spec.targets),
            owner=spec.owner,
            description=spec.description,
            business_line=spec.business_line,
            priority=spec.priority.value,
            mode=spec.mode.value,
            cron=(schedule.cron or "") if schedule else "",
            timezone=schedule.timezone if schedule else "UTC",
            start=schedule.start.isoformat() if schedule and schedule.start else "",
            catch_up=schedule.catch_up if schedule else False,
            after=schedule.after if schedule else (),
            checks=len(spec.checks),
            channels=limits.channels,
            rows_per_second=limits.rows_per_second,
            bytes_per_second=limits.bytes_per_second,
            timeout_s=limits.timeout.total_seconds() if limits.timeout else None,
            keep=spec.versions.keep,
            apis=tuple((api.name, api.kind) for api in spec.apis),
            alerts=tuple(alert.to for alert in spec.alerts),
            late=tuple(alert.to for alert in spec.alerts if "late" in alert.on),
        )

    @property
    def connections(self) -> tuple[str, ...]:
        """The names of the connections that its jobs use, each once."""
        used = (*(e.connection for e in (self.source, *self.targets)), *self.alerts)
        return tuple(dict.fromkeys(name for name in used if name))

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `from_json` takes it."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises TypeError or KeyError for anything else."""
        plain = {
            **data,
            "source": Endpoint(**data["source"]),
            "targets": tuple(Endpoint(**target) for target in data["targets"]),
            "after": tuple(data["after"]),
            "apis": tuple((name, kind) for name, kind in data["apis"]),
            "alerts": tuple(data["alerts"]),
            "late": tuple(data["late"]),
        }
        return cls(**plain)


def _endpoint(name: str, connector: str, options: Any) -> Endpoint:
    return Endpoint(name, connector, str(getattr(options, "connection", None) or ""))
