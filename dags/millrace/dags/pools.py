"""Airflow pools: one for each business line and priority, so that no line and no priority takes another's slots.

Besides, the pools of `low` together get at most half of the slots that Airflow has (`[core] parallelism`), those of
`low` and `medium` together at most three quarters: however much of low priority waits, a quarter is kept for high.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from millrace.dags.config import DagConfig
from millrace.spec.priority import Priority
from millrace.spec.shape.fields import as_name

PREFIX = "millrace"
_SHARES: Mapping[frozenset[Priority], float] = {
    frozenset({Priority.LOW}): 0.5,
    frozenset({Priority.LOW, Priority.MEDIUM}): 0.75,
}


@dataclass(frozen=True)
class Pool:
    """A pool as it should be."""

    name: str
    slots: int
    description: str


def name_of(business_line: str, priority: Priority) -> str:
    """The pool of a business line and priority: `millrace_growth_high`. Different lines never share one."""
    if not business_line:
        return f"{PREFIX}_{priority.value}"
    plain = as_name(business_line)
    if plain != business_line:
        plain = f"{plain[:40]}_{hashlib.sha256(business_line.encode()).hexdigest()[:8]}".lstrip("_")
    return f"{PREFIX}_{plain}_{priority.value}"


def pools_for(lines: Iterable[tuple[str, Priority]], config: DagConfig, parallelism: int) -> tuple[Pool, ...]:
    """The pools that these business lines and priorities need, by name. Pure.

    Each has at least one slot; above that, the shares of `parallelism` are kept to by scaling down.
    """
    asked = {pair: config.slots_of(*pair) for pair in sorted(set(lines))}
    for priorities, share in _SHARES.items():
        asked = _within(asked, priorities, int(parallelism * share))
    return tuple(
        Pool(name_of(line, priority), slots, f"Assets of {priority} priority{f' of {line}' if line else ''}"[:250])
        for (line, priority), slots in asked.items()
    )


def _within(
    asked: Mapping[tuple[str, Priority], int], priorities: frozenset[Priority], most: int
) -> dict[tuple[str, Priority], int]:
    """At most `most` slots for these priorities together; each pool keeps one, what is above that is scaled down."""
    among = [slots for (_, priority), slots in asked.items() if priority in priorities]
    if sum(among) <= most:
        return dict(asked)
    above = sum(among) - len(among)
    left = max(0, most - len(among))
    return {
        pair: 1 + (slots - 1) * left // max(above, 1) if pair[1] in priorities else slots
        for pair, slots in asked.items()
    }


def sync(pools: Iterable[Pool]) -> list[str]:
    """Make or resize these pools in Airflow's database; what was changed, in words. Needs access to the database.

    A pool whose slots a person has changed is set back: the configuration holds. Pools of no spec any more stay, as
    tasks that are under way may still be in them.
    """
    from airflow.models.pool import Pool as AirflowPool
    from airflow.utils.session import create_session

    changed = []
    with create_session() as session:
        known = {pool.pool: pool.slots for pool in session.query(AirflowPool).all()}
        for pool in pools:
            if known.get(pool.name) != pool.slots:
                AirflowPool.create_or_update_pool(
                    pool.name, pool.slots, pool.description, include_deferred=False, session=session
                )
                was = f"was {known[pool.name]}" if pool.name in known else "new"
                changed.append(f"{pool.name}: {pool.slots} slots ({was})")
    return changed
