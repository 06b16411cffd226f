"""Clients that are written for an API: what they are like, and how they call it over real sockets."""

from __future__ import annotations

import datetime
import importlib.util
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from millrace.catalog import Catalog
from millrace.serving.clients.proto import proto_files
from millrace.serving.clients.python import python_client
from millrace.serving.local import plan_of
from millrace.spec.settings import Settings
from tests.connectors.wire.protoc import compiled
from tests.servers.clickhouse import ClickHouseDatabase
from tests.serving.http.running import serving
from tests.serving.publishing import Publisher
from tests.serving.sql.conftest import DEFINITION, people
from tests.serving.sql.publishing import SqlPublisher, olap_workspace
from tests.serving.sql.queries import COLUMNS
from tests.serving.sql.test_client import UNION

PEOPLE: list[dict[str, Any]] = [
    {
        "id": 1,
        "class": "a",
        "score": 0.5,
        "since": datetime.date(2026, 1, 2),
        "paid": Decimal("1.50"),
        "tags": ["x", "y"],
    },
    {"id": 2, "class": None, "score": float("nan"), "since": None, "paid": None, "tags": None},
]


def written(catalog: Catalog, api: str, folder: Path) -> Any:
    """The client of an API, written, checked by mypy and imported."""
    file = folder / f"{api}_client.py"
    file.write_text(python_client(plan_of(catalog, api)))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def test_a_kv_client_reads_rows_of_the_columns_types(
    settings: Settings, served_catalog: tuple[Settings, Catalog], publisher: Publisher, tmp_path: Path
) -> None:
    publisher.publish(PEOPLE)
    module = written(served_catalog[1], "user_profile", tmp_path)
    with serving(settings) as running, module.UserProfileClient(running.url) as client:
        row = client.get(1)
        assert (row.id, row.class_, row.score, row.tags) == (1, "a", 0.5, ["x", "y"])
        assert (row.since, row.paid) == (datetime.date(2026, 1, 2), Decimal("1.50"))
        assert client.get(99) is None
        assert (client.exists(1), client.exists(99)) == (True, False)
        assert not hasattr(client, "scan"), "the API gives none"
        first, none = client.multi_get([2, 99])
        assert none is None
        assert first.score != first.score
        assert first.since is None
        with pytest.raises(module.ApiError, match="can't be answered") as refused:
            client.get("x")
        assert refused.value.status == 400


def test_sql_and_union_clients_call_by_name(clickhouse_database: ClickHouseDatabase, tmp_path: Path) -> None:
    with olap_workspace(tmp_path, clickhouse_database.url) as (settings, catalog):
        apis: list[dict[str, Any]] = [{"sql": DEFINITION}, {"union": UNION}]
        SqlPublisher(catalog, clickhouse_database.url, "users", COLUMNS, apis).publish(people(50))
        users, card = (written(catalog, name, tmp_path) for name in ("users", "card"))
        with serving(settings) as running:
            with users.UsersClient(running.url) as client:
                rows = client.by_city(least=0, cities=["oslo", "bergen"])
                assert {row.city for row in rows} <= {"oslo", "bergen"}
                assert isinstance(rows[0].total, Decimal)
                pages = list(client.pages({"select": ["id"]}, size=20))
                assert [len(page) for page in pages] == [20, 20, 10]
                assert client.query({"where": {"column": "amount", "gt": Decimal("100")}}) == []
            with card.CardClient(running.url) as client:
                answer = client.call(id=3)
                assert answer.parts["others"] == [{"id": 3}]
                assert list(answer.missing) == ["nothing"]


def test_what_is_written_passes_mypy_and_protoc(
    served_catalog: tuple[Settings, Catalog], publisher: Publisher, tmp_path: Path
) -> None:
    publisher.apis = [{"kv": {"name": "user_profile", "prefix": True}}]
    publisher.publish(PEOPLE)
    plan = plan_of(served_catalog[1], "user_profile")
    assert "def scan(" in python_client(plan)
    (tmp_path / "user_profile_client.py").write_text(python_client(plan))
    strict = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "user_profile_client.py"]
    found = subprocess.run(strict, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert found.returncode == 0, found.stdout
    assert list(proto_files(plan)) == ["user_profile.proto"]
    compiled(proto_files(plan)["user_profile.proto"])
