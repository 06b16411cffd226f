"""Pools: which there are, how large, and that low priority always leaves room for high."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.dags.config import DagConfig, load_config
from millrace.dags.pools import name_of, pools_for
from millrace.spec.priority import Priority

LINES = st.text(min_size=0, max_size=200).filter(lambda text: text.isprintable())


def test_each_business_line_and_priority_has_a_pool_of_its_own() -> None:
    lines = [("growth", Priority.HIGH), ("growth", Priority.LOW), ("web", Priority.HIGH), ("growth", Priority.HIGH)]
    made = {pool.name: pool.slots for pool in pools_for(lines, load_config(None), parallelism=32)}
    assert made == {"millrace_growth_high": 8, "millrace_growth_low": 2, "millrace_web_high": 8}


def test_a_business_line_may_have_slots_of_its_own() -> None:
    config = DagConfig(
        slots={Priority.HIGH: 8, Priority.MEDIUM: 4, Priority.LOW: 2}, line_slots={"growth": {Priority.HIGH: 16}}
    )
    made = pools_for([("growth", Priority.HIGH), ("growth", Priority.LOW), ("web", Priority.HIGH)], config, 64)
    assert [(pool.name, pool.slots) for pool in made] == [
        ("millrace_growth_high", 16), ("millrace_growth_low", 2), ("millrace_web_high", 8),
    ]  # fmt: skip


@given(st.lists(st.integers(0, 8), min_size=1, max_size=3), st.integers(32, 256))
def test_low_and_medium_leave_a_quarter_to_high(counts: list[int], parallelism: int) -> None:
    lines = [
        (f"line{number}", priority)
        for priority, count in zip(Priority, counts, strict=False)
        for number in range(count)
    ]
    config = DagConfig(slots={Priority.HIGH: 50, Priority.MEDIUM: 50, Priority.LOW: 50})
    made = pools_for(lines, config, parallelism)
    slots = {p: sum(pool.slots for pool in made if pool.name.endswith(p.value)) for p in Priority}
    assert slots[Priority.LOW] <= parallelism * 0.5
    assert slots[Priority.LOW] + slots[Priority.MEDIUM] <= parallelism * 0.75
    assert all(pool.slots >= 1 for pool in made)


@given(LINES, LINES)
def test_no_two_business_lines_share_a_pool(one: str, other: str) -> None:
    if one != other:
        assert name_of(one, Priority.HIGH) != name_of(other, Priority.HIGH)


@given(LINES, st.sampled_from(Priority))
def test_names_of_pools_are_plain(line: str, priority: Priority) -> None:
    name = name_of(line, priority)
    assert name.isascii()
    assert name.replace("_", "").isalnum()
    assert len(name) < 100
