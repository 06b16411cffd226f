"""What all transports share: the APIs, who calls, the numbers, and whether the server is ready or leaving."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.connectors.wire import speedups
from millrace.serving.call import Context
from millrace.serving.guards.protection import Protection, Rules
from millrace.serving.metrics import Metrics
from millrace.serving.registry import Registry
from millrace.spec.settings import Settings


@dataclass
class Service:
    """One worker's state, made at its start and handed to each transport.

    `identify` gives the consumer of a credential (what stands in `Authorization`, "" without it); it does not wait, and
    raises Unauthenticated. Without a `protection` of its own everybody is the same consumer, who may do everything.
    """

    settings: Settings
    protection: Protection = field(default_factory=lambda: Protection(Rules(permissions=False)))
    metrics: Metrics = field(default_factory=Metrics)
    draining: bool = False

    def __post_init__(self) -> None:
        self.identify = self.protection.identify
        self.registry = Registry(self.settings, self.metrics, self.protection.makers)
        self.protection.watch(self.metrics)

    async def open(self) -> None:
        """Open the registry and the guards. Raises what those raise."""
        await self.protection.open(self.settings.catalog_url)
        await self.registry.open()

    async def close(self) -> None:
        await self.registry.close()
        await self.protection.close()

    def context(self, credential: str, timeout_ms: str = "", *, fresh: bool = False) -> Context:
        """The context of a request. `timeout_ms`: the caller's own limit, as text; raises ValueError if it is none."""
        deadline = None
        if timeout_ms:
            milliseconds = float(timeout_ms)
            if not 0 < milliseconds < 86_400_000:
                raise ValueError(f"a timeout of {timeout_ms} ms; expected more than 0 and less than a day")
            deadline = time.monotonic() + milliseconds / 1000
        return Context(self.identify(credential), deadline=deadline, fresh=fresh)

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Whether requests should come here, and the details for a person."""
        snapshot = self.registry.snapshot
        details: dict[str, object] = {
            "apis": len(snapshot.apis),
            "broken": dict(snapshot.broken),
            "catalog": self.registry.catalog_problem or "ok",
            "permissions": self.protection.problem or "ok",
            "draining": self.draining,
            "speedups": speedups.LANGUAGE,
        }
        return not self.draining, details
