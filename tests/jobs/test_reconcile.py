"""The stage held against its source, which another has changed in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace.errors import CheckFailed
from millrace.jobs import steps
from millrace.jobs.reconcile import leaves_alone
from millrace.jobs.request import RunRequest
from millrace.spec.model import Cast, Derive, Mask, Select, Step, Where
from tests.jobs.conftest import Workspace
from tests.servers.mariadb import Database

ORDERS = """
version: 1
asset: orders
source:
  mysql: {{connection: shop, table: orders, split_by: id}}
{transform}
checks:
  - reconcile: {{rows: exact, sum: [amount, weight]{sample}}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
limits: {{channels: 2}}
"""
FILTERED = 'transform:\n  - where: "amount > 0"\n  - mask: {columns: [city], method: redact}'


@pytest.fixture
def shop(workspace: Workspace, mariadb_database: Database) -> tuple[Workspace, Database]:
    mariadb_database.execute(
        "CREATE TABLE orders (id INT PRIMARY KEY, amount DECIMAL(20,2), weight DOUBLE, city VARCHAR(20))"
    )
    mariadb_database.execute("INSERT INTO orders SELECT seq, seq / 4, seq / 3, 'rome' FROM seq_1_to_300")
    mariadb_database.execute("INSERT INTO orders VALUES (1000, NULL, NULL, NULL)")
    with workspace.settings.connections_file.open("a") as file:
        file.write(f"shop: {mariadb_database.url!r}\n")
    return workspace, mariadb_database


def checked(
    workspace: Workspace, text: str, key: str, meanwhile: Callable[[], None] | None = None
) -> tuple[str, dict[str, Any]]:
    """Stage, let something happen, check: why it was refused ("": it was published), and the results."""
    run_id = steps.begin(workspace.spec(text), workspace.settings, RunRequest(key=key))
    steps.do_step(run_id, "stage", workspace.settings, session=workspace.session)
    if meanwhile is not None:
        meanwhile()
    refused = ""
    try:
        steps.do_step(run_id, "check", workspace.settings, session=workspace.session)
    except CheckFailed as error:
        refused = error.message
        steps.give_up(run_id, error, workspace.settings, session=workspace.session)
    else:
        steps.do_step(run_id, "publish", workspace.settings, session=workspace.session)
        steps.do_step(run_id, "retire", workspace.settings, session=workspace.session)
    return refused, {r.result.description: r.result for r in workspace.catalog.checks.of_run(run_id)}


def test_a_source_that_counts_by_itself_is_asked_to(shop: tuple[Workspace, Database]) -> None:
    workspace, database = shop
    text = ORDERS.format(transform="", sample="")
    refused, found = checked(workspace, text, "equal")
    assert refused == ""
    assert found["reconcile: {rows: exact}"].observed == 301
    assert found["reconcile: {sum: amount}"].observed == "11287.50"
    assert all(result.passed for result in found.values())
    served = workspace.catalog.assets.get("orders").current_version

    def change() -> None:
        database.execute("UPDATE orders SET amount = amount + 1 WHERE id = 7")
        database.execute("DELETE FROM orders WHERE id IN (8, 9)")

    refused, found = checked(workspace, text, "changed", change)
    assert "reconcile: {rows: exact} — found 301, expected 299 rows as in the source" in refused
    assert "reconcile: {sum: amount} — found 11287.50, expected 11284.25 as in the source" in refused
    assert not any(result.passed for result in found.values())
    assert workspace.catalog.assets.get("orders").current_version == served


def test_rows_are_compared_whole_after_the_transform(shop: tuple[Workspace, Database]) -> None:
    workspace, database = shop
    text = ORDERS.format(transform=FILTERED, sample=", sample: 10000")
    assert checked(workspace, text, "equal")[0] == ""

    def change() -> None:
        database.execute("UPDATE orders SET weight = -1 WHERE id = 7")
        database.execute("INSERT INTO orders VALUES (2000, -5, 0, 'filtered out')")

    refused, found = checked(workspace, text, "changed", change)
    assert "reconcile: {sample: 10000}" in refused
    rows = found["reconcile: {rows: exact}"]
    assert (rows.passed, rows.observed) == (True, 300), "the transform filters the source's rows too"
    sample = found["reconcile: {sample: 10000}"]
    assert sample.observed == {"rows": 300, "only staged": 1, "only in the source": 1}
    assert [(row["only in"], row["id"], row["city"]) for row in sample.sample] == [
        ("stage", 7, "***"),
        ("source", 7, "***"),
    ]
    assert sample.sample[1]["weight"] == -1


def test_a_file_is_read_again_as_far_as_the_plan_goes(workspace: Workspace) -> None:
    rows = [json.dumps({"id": n, "amount": n}) for n in range(1000)]
    path = workspace.write("orders.json", rows)
    text = f"""
version: 1
asset: lines
source:
  log: {{path: "{path}", format: json, fields: {{id: bigint, amount: int}}}}
checks:
  - reconcile: {{rows: 1%, sum: amount, sample: 100, severity: warn}}
targets:
  - redis: {{connection: store, key: "{{id}}"}}
"""
    refused, found = checked(workspace, text, "equal")
    assert refused == ""
    assert [(name, result.passed) for name, result in found.items()] == [
        ("reconcile: {rows: 0.01}", True),
        ("reconcile: {sum: amount}", True),
        ("reconcile: {sample: 100}", True),
    ]
    assert 50 < found["reconcile: {sample: 100}"].observed["rows"] < 200


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Select(("a", "b")), True),
        (Derive({"c": "a + 1"}), True),
        (Derive({"A": "a + 1"}), False),
        (Mask(("b",), "hash"), True),
        (Mask(("a",), "hash"), False),
        (Cast({}), True),
        (Where("a > 1"), False),
    ],
)
def test_what_leaves_rows_and_columns_alone(step: Step, expected: bool) -> None:
    assert leaves_alone([step], ["a"]) is expected
