"""Two servers of one API that share answers in a Redis, for tests of stores that they spare."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from millrace.serving.call import Answer, Api, Call, Plan
from millrace.serving.local import LocalApis
from millrace.serving.plans import kind_of
from millrace.spec.settings import Settings

#: The cache of an API whose answers are shared in the connection `l2`.
SHARED = {"ttl": "1h", "shared": "l2", "compression": "zstd", "compress_above": 1}


def shared_answers(folder: Path, connections: dict[str, str], plan: Plan, calls: Sequence[Call]) -> list[list[Answer]]:
    """Each call's answer from a server that asks the store, and then from one that finds it in L2."""
    file = folder / "connections.yaml"
    file.write_text("".join(f"{name}: {url}\n" for name, url in connections.items()))
    settings = Settings.from_env({"MILLRACE_HOME": str(folder), "MILLRACE_CONNECTIONS": str(file)})

    async def ask(call: Call) -> list[Answer]:
        return [await _asked(settings, plan, call) for _ in range(2)]

    async def all_of_them() -> list[list[Answer]]:
        return [await ask(call) for call in calls]

    return asyncio.run(all_of_them())


async def _asked(settings: Settings, plan: Plan, call: Call) -> Answer:
    """By a server of its own, which leaves when its answer is shared."""
    host = LocalApis(settings)
    api: Api = kind_of(plan.kind).make(plan, host)
    await api.open()
    try:
        answer = await api.call(call)
        shared: Any = api.cache._shared  # type: ignore[attr-defined]  # it has one
        await asyncio.gather(*shared._background)
        return answer
    finally:
        await api.close()
        await host.close()
