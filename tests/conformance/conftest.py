"""Turns each gap that stands in a `Case` into a strict xfail, and starts the server of a `Case` once for its tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.gap import Gap

pytest.register_assert_rewrite(
    *(f"tests.conformance.{name}" for name in ("failures", "loads", "modes", "source", "store", "versions", "views"))
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        gaps: dict[str, Gap] = getattr(getattr(item, "cls", None), "gaps", {})
        gap = gaps.get(item.name) or gaps.get(getattr(item, "originalname", ""))
        if gap is not None:
            item.add_marker(pytest.mark.xfail(reason=str(gap), strict=True))


@pytest.fixture(scope="class")
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The `Case`'s own server, which its tests may pause, kill and restart: it runs when a test begins."""
    with request.cls.serve() as running:
        yield running
