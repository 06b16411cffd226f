"""SQL and union APIs over gRPC: answers, whole streams, and streams that end early."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import grpc
import pyarrow as pa
import pytest

from millrace.serving.grpc.schema import message
from tests.servers.clickhouse import ClickHouse
from tests.serving.grpc.running import Running, running
from tests.serving.grpc.test_grpc import call
from tests.serving.sql.conftest import DEFINITION, people
from tests.serving.sql.publishing import SqlPublisher, olap_workspace
from tests.serving.sql.queries import COLUMNS
from tests.serving.waiting import until

ROWS = 40_000
PARTS = [{"api": "users", "name": "user", "input": {"query": "one", "parameters": {"id": "{id}"}}}]
UNION = {"name": "card", "parts": PARTS}


@pytest.fixture(scope="module")
def server(clickhouse: ClickHouse, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    database = clickhouse.new_database()
    with olap_workspace(tmp_path_factory.mktemp("grpc"), database.url) as (settings, catalog):
        apis: list[dict[str, Any]] = [{"sql": DEFINITION}, {"union": UNION}]
        SqlPublisher(catalog, database.url, "users", COLUMNS, apis).publish(people(ROWS))
        with running(settings) as found:
            yield found
    database.drop()


@pytest.fixture
def channel(server: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


def stream(channel: grpc.Channel, tree: Any, timeout: float = 60) -> Any:
    request = message("QueryRequest")(api="users", query=json.dumps(tree)).SerializeToString()
    return channel.unary_stream("/millrace.v1.Sql/Stream", response_deserializer=message("Piece").FromString)(
        request, timeout=timeout
    )


def test_an_answer_is_an_arrow_table(channel: grpc.Channel) -> None:
    tree = {"select": [{"count": "*", "as": "n"}]}
    request = message("QueryRequest")(api="users", query=json.dumps(tree))
    table = call(channel, "Sql/Query", "Table", request)
    assert pa.ipc.open_stream(table.arrow).read_all().to_pylist() == [{"n": ROWS}]
    card = call(channel, "Union/Call", "UnionAnswer", message("UnionRequest")(api="card", input='{"id": 3}'))
    assert json.loads(card.answer)["parts"]["user"][0]["id"] == 3


def test_a_stream_has_all_rows_and_says_so_at_its_end(channel: grpc.Channel) -> None:
    pieces = stream(channel, {"select": ["id", "city", "tags"]})
    arrow = [piece.arrow for piece in pieces]
    table = pa.ipc.open_stream(io.BytesIO(b"".join(arrow))).read_all()
    assert {*table["id"].to_pylist()} == {*range(ROWS)}
    assert table.num_rows == ROWS
    trailers = dict(pieces.trailing_metadata())
    assert int(trailers["millrace-rows"]) == ROWS
    digests = {f"sha256:{hashlib.sha256(b''.join(arrow[:end])).hexdigest()}" for end in range(len(arrow) + 1)}
    assert trailers["millrace-checksum"] in digests


def test_a_stream_that_is_left_or_out_of_time_ends_the_work(server: Running, channel: grpc.Channel) -> None:
    left = stream(channel, {})
    assert next(left).arrow
    left.cancel()
    late = stream(channel, {}, timeout=0.001)
    with pytest.raises(grpc.RpcError) as raised:
        list(late)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: not any(connection.streams for connection in [*server.server.connections]))
    assert server.in_flight() == 0
    with pytest.raises(grpc.RpcError) as refused:
        list(stream(channel, {"select": ["nothing"]}))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
