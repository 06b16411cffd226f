"""The local server speaks ClickHouse's HTTP interface: what curl, clickhouse-connect and a killed machine see of it."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pytest

from tests.servers.clickhouse import ClickHouseServer
from tests.servers.process import HOST, wait_until


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    with ClickHouseServer() as server:
        yield server


def ask(
    server: ClickHouseServer,
    statement: str | bytes = b"",
    *,
    method: str = "POST",
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    **params: Any,
) -> Answer:
    body = statement.encode() if isinstance(statement, str) else statement
    with closing(http.client.HTTPConnection(HOST, server.port, timeout=60)) as link:
        link.request(method, f"{path}?{urlencode(params)}", body or None, dict(headers or {}))
        answer = link.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())


def test_it_is_alive(server: ClickHouseServer) -> None:
    assert ask(server, method="GET", path="/ping").body == b"Ok.\n"
    assert ask(server, method="GET").body == b"Ok.\n"
    assert ask(server, method="HEAD", path="/ping").status == 200
    assert ask(server, method="GET", path="/nope").status == 404


def test_a_query_may_stand_in_the_url_in_the_body_or_in_both(server: ClickHouseServer) -> None:
    assert ask(server, "select 1").text == "1\n"
    assert ask(server, method="GET", query="select 2").text == "2\n"
    assert ask(server, "number from numbers(2)", query="select").text == "0\n1\n"
    assert ask(server, "select '€' -- ü").text == "€\n"


def test_the_format_is_that_of_the_query_or_else_the_default(server: ClickHouseServer) -> None:
    found = ask(server, "select 1 as a, 'x' as b FORMAT JSONEachRow")
    assert json.loads(found.body) == {"a": 1, "b": "x"}
    assert found.headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert ask(server, "select 1 as a", default_format="JSONEachRow").text == '{"a":1}\n'
    assert ask(server, "select 1 as a", headers={"X-ClickHouse-Format": "CSV"}).text == "1\n"
    assert "Content-Length" in found.headers
    assert found.headers["X-ClickHouse-Timezone"]


def test_bound_parameters_are_values_whatever_is_in_them(server: ClickHouseServer) -> None:
    nasty = "it's \\\\ a `b`; drop table x -- é"
    found = ask(
        server, "select {s:String}, {n:UInt8} + 1, {a:Array(String)}", param_s=nasty, param_n="4", param_a="['x']"
    )
    assert found.text == "it\\'s \\\\ a `b`; drop table x -- é\t5\t['x']\n"


def test_settings_come_with_the_url_and_an_unknown_one_is_refused(server: ClickHouseServer) -> None:
    assert ask(server, "select getSetting('max_threads')", max_threads="3").text == "3\n"
    refused = ask(server, "select 1", no_such_setting="3")
    assert refused.status == 404
    assert "Unknown setting 'no_such_setting'" in refused.text
    odd: dict[str, Any] = {"a=1; drop table x": "3"}
    assert ask(server, "select 1", **odd).status == 404


def test_a_database_can_be_named_and_the_default_one_is_atomic(server: ClickHouseServer) -> None:
    assert ask(server, "select currentDatabase()", database="system").text == "system\n"
    assert ask(server, "select currentDatabase()").text == "millrace\n"
    assert ask(server, "select engine from system.databases where name = currentDatabase()").text == "Atomic\n"
    assert ask(server, "select 1", database="no such").status == 404


@pytest.mark.parametrize(
    ("statement", "code", "name", "status"),
    [
        ("select nope", "47", "UNKNOWN_IDENTIFIER", 404),
        ("select * from nope", "60", "UNKNOWN_TABLE", 404),
        ("selectt 1 1", "62", "SYNTAX_ERROR", 400),
        ("select 1; select 2", "62", "SYNTAX_ERROR", 400),
        ("", "62", "SYNTAX_ERROR", 400),
        ("select throwIf(1)", "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", 500),
        ("insert into nope format CSV\n1", "60", "UNKNOWN_TABLE", 404),
        ("select sleepEachRow(1) from numbers(10) settings max_execution_time = 0.1, max_block_size = 1", "159",
         "TIMEOUT_EXCEEDED", 408),
    ],
)  # fmt: skip
def test_errors_have_clickhouses_text_code_and_status(
    server: ClickHouseServer, statement: str, code: str, name: str, status: int
) -> None:
    found = ask(server, statement)
    assert found.status == status
    assert found.headers["X-ClickHouse-Exception-Code"] == code
    assert found.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name}) (version " in found.text


def test_get_only_reads(server: ClickHouseServer) -> None:
    refused = ask(server, method="GET", query="create table t (a Int8) engine = Memory")
    assert (refused.status, refused.headers["X-ClickHouse-Exception-Code"]) == (500, "164")
    assert ask(server, method="GET", query="kill query where 1").headers["X-ClickHouse-Exception-Code"] == "164"


def test_rows_are_inserted_from_any_format_and_counted(server: ClickHouseServer) -> None:
    ask(server, "create or replace table ins (a Int64, b Nullable(String)) engine = MergeTree order by a")
    for statement, body in [
        ("insert into ins format CSV", b"1,x\n2,y\n"),
        ("insert into ins values", b"(3, 'z'), (4, concat('a', 'b'))"),
        ("insert into ins (a) format JSONEachRow", b'{"a": 5}\n{"a": 6}\n'),
    ]:
        assert json.loads(ask(server, body, query=statement).headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert ask(server, b"insert into ins format TSV\n7\t\\N\n8\tx\n").status == 200
    assert ask(server, "insert into ins select a + 10, b from ins").status == 200
    assert ask(server, "select count(), sum(a) from ins").text == "16\t152\n"


def test_a_row_that_can_not_be_parsed_refuses_the_whole_insert(server: ClickHouseServer) -> None:
    ask(server, "create or replace table refused (a Int64) engine = MergeTree order by a")
    found = ask(server, b"1\n2\nthree\n" + b"4\n" * 400_000, query="insert into refused format CSV")
    assert found.status == 400
    assert found.headers["X-ClickHouse-Exception-Code"] in ("27", "117")
    assert ask(server, "select count() from refused").text == "0\n"


def test_a_row_that_the_table_refuses_refuses_the_whole_insert(server: ClickHouseServer) -> None:
    ask(server, "create or replace table strict (a Int64, constraint small check a < 10) engine = MergeTree order by a")
    for query in ("insert into strict format TSV", "insert into strict settings max_threads = 1 format TSV"):
        found = ask(server, b"1\n2\n30\n", query=query)
        assert found.headers["X-ClickHouse-Exception-Code"] == "469"
        assert ask(server, b"1\n", query=query).status == 200
    assert ask(server, "select a from strict").text == "1\n1\n"


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd", "br"])
def test_bodies_may_be_compressed_both_ways(server: ClickHouseServer, encoding: str) -> None:
    codec: Any = "brotli" if encoding == "br" else encoding
    ask(server, "create or replace table packed (a String) engine = MergeTree order by a")
    data = b"".join(b"row %d\n" % i for i in range(200_000))
    body = b"".join(pa.Codec(codec).compress(part, asbytes=True) for part in (data[:1_000_000], data[1_000_000:]))
    found = ask(server, body, query="insert into packed format TSV", headers={"Content-Encoding": encoding})
    assert json.loads(found.headers["X-ClickHouse-Summary"])["written_rows"] == "200000"
    for wait in ("0", "1"):
        answer = ask(
            server,
            "select * from packed order by length(a), a",
            headers={"Accept-Encoding": encoding},
            enable_http_compression="1",
            wait_end_of_query=wait,
        )
        assert answer.headers["Content-Encoding"] == encoding
        with pa.CompressedInputStream(pa.BufferReader(answer.body), codec) as stream:
            assert stream.read() == data


def test_a_body_that_is_not_what_its_encoding_says_is_refused(server: ClickHouseServer) -> None:
    ask(server, "create or replace table garbled (a String) engine = MergeTree order by a")
    for body in (b"plain text", gzip.compress(b"x\n" * 100_000)[:-20]):
        found = ask(server, body, query="insert into garbled format TSV", headers={"Content-Encoding": "gzip"})
        assert (found.status, found.headers["X-ClickHouse-Exception-Code"]) == (400, "117")
    unknown = ask(server, b"x", query="insert into garbled format TSV", headers={"Content-Encoding": "rot13"})
    assert unknown.status == 501
    assert ask(server, "select count() from garbled").text == "0\n"


def test_a_chunked_body_is_taken_as_it_comes(server: ClickHouseServer) -> None:
    ask(server, "create or replace table chunked (a Int64) engine = MergeTree order by a")
    with closing(http.client.HTTPConnection(HOST, server.port, timeout=60)) as link:
        pieces = (b"".join(b"%d\n" % n for n in range(start, start + 1000)) for start in range(0, 100_000, 1000))
        link.request("POST", "/?" + urlencode({"query": "insert into chunked format TSV"}), pieces)
        assert link.getresponse().read() == b""
        link.request("POST", "/", b"select count(), sum(a) from chunked")  # on the same connection
        assert link.getresponse().read() == b"100000\t4999950000\n"


def test_a_large_answer_is_never_held_in_memory(server: ClickHouseServer) -> None:
    query = "select number, toString(number) as text from numbers(40000000) format TSV"
    before, received = _rss_bytes(server.pid), 0
    with closing(http.client.HTTPConnection(HOST, server.port, timeout=60)) as link:
        link.request("POST", "/", query.encode())
        answer = link.getresponse()
        while piece := answer.read(1 << 20):
            received += len(piece)
    assert received > 600 << 20
    assert _rss_bytes(server.pid) - before < 300 << 20


def test_an_answer_that_fails_in_its_middle_says_so_and_is_cut(server: ClickHouseServer) -> None:
    with closing(http.client.HTTPConnection(HOST, server.port, timeout=60)) as link:
        link.request("POST", "/", b"select throwIf(number = 5000000) from numbers(10000000)")
        answer = link.getresponse()
        assert answer.status == 200
        tag = answer.headers["X-ClickHouse-Exception-Tag"]
        with pytest.raises(http.client.IncompleteRead) as cut:
            answer.read()
        assert f"__exception__\r\n{tag}\r\nCode: 395. DB::Exception:".encode() in cut.value.partial
    waited = ask(server, "select throwIf(number = 5000000) from numbers(10000000)", wait_end_of_query="1")
    assert waited.status == 500


def test_a_query_ends_when_nobody_waits_for_it_any_more(server: ClickHouseServer) -> None:
    for endless in ("select sum(sipHash64(number)) from numbers(1000000000000)", "select * from system.numbers"):
        with closing(http.client.HTTPConnection(HOST, server.port, timeout=60)) as link:
            link.request("POST", "/", f"{endless} settings max_threads = 1".encode())
            wait_until(lambda: _running(server) == 1, "the query to run")
        wait_until(lambda: _running(server) == 0, "the query to be cancelled")


def test_a_session_keeps_its_settings_database_and_temporary_tables(server: ClickHouseServer) -> None:
    mine: dict[str, Any] = {"session_id": "mine"}
    ask(server, "create temporary table mine (a Int8)", **mine)
    ask(server, "set max_threads = 3", **mine)
    ask(server, "use system", **mine)
    ask(server, "insert into mine values (5)", **mine)
    assert (
        ask(server, "select a, getSetting('max_threads'), currentDatabase() from mine", **mine).text == "5\t3\tsystem\n"
    )
    assert ask(server, "select getSetting('max_threads')", max_threads="7", **mine).text == "7\n"
    assert ask(server, "select currentDatabase()", database="millrace", **mine).text == "millrace\n"
    assert ask(server, "select getSetting('max_threads'), currentDatabase()", **mine).text == "3\tsystem\n"
    assert ask(server, "select * from mine", session_id="other").status == 404
    assert ask(server, "select * from nope", **mine).status == 404
    assert ask(server, "select a from mine", **mine).text == "5\n"
    assert (
        ask(server, "select 1", session_check="1", session_id="never").headers["X-ClickHouse-Exception-Code"] == "372"
    )
    ask(server, "select 1", close_session="1", **mine)
    assert ask(server, "select 1", session_check="1", **mine).headers["X-ClickHouse-Exception-Code"] == "372"


def test_a_session_takes_one_statement_at_a_time(server: ClickHouseServer) -> None:
    slow = threading.Thread(target=ask, args=(server, "select sleep(3)"), kwargs={"session_id": "busy"})
    slow.start()
    wait_until(lambda: _running(server) == 1, "the first one to run")
    refused = ask(server, "select 1", session_id="busy")
    slow.join()
    assert refused.headers["X-ClickHouse-Exception-Code"] == "373"
    assert ask(server, "select 1", session_id="busy").text == "1\n"


def test_requests_run_side_by_side(server: ClickHouseServer) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(server, "select sleep(1), hostName() != ''").text))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: _running(server) > 4, "most of them to run at once")
    for thread in threads:
        thread.join()
    assert answers == ["0\t1\n"] * 8


def test_a_password_is_asked_for_in_every_way_that_clickhouse_knows() -> None:
    with ClickHouseServer(password="pass/word:é") as server:
        assert server.clickhouse.query("select 1") == "1\n"
        good = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "pass/word:é".encode().decode("latin-1")}
        assert ask(server, "select 1", user="default", password="pass/word:é").text == "1\n"
        for headers in (
            {},
            {"X-ClickHouse-Key": "wrong"},
            {"Authorization": "Basic !"},
            {**good, "X-ClickHouse-User": "x"},
        ):
            refused = ask(server, "select 1", headers=headers)
            assert (refused.status, refused.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert ask(server, method="GET", path="/ping").status == 200


def test_only_one_process_owns_a_path(server: ClickHouseServer) -> None:
    module = "millrace.connectors.clickhouse.server"
    command = [sys.executable, "-m", module, "--path", str(server.folder / "data"), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "another process has opened" in done.stderr


def test_a_kill_loses_nothing_that_was_confirmed() -> None:
    with ClickHouseServer() as server:
        ask(server, "create table kept (a Int64) engine = MergeTree order by a")
        confirmed: list[int] = []

        def insert(worker: int) -> None:
            for batch in range(1000):
                first = (worker * 1000 + batch) * 100
                try:
                    rows = b"".join(b"%d\n" % n for n in range(first, first + 100))
                    if ask(server, rows, query="insert into kept format TSV").status == 200:
                        confirmed.append(first)
                except (OSError, http.client.HTTPException):
                    return

        threads = [threading.Thread(target=insert, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(confirmed) > 50, "some inserts")
        server.kill()
        for thread in threads:
            thread.join()
        server.restart()
        found = {int(line) for line in ask(server, "select a from kept").text.split()}
        assert found >= {n for first in confirmed for n in range(first, first + 100)}
        assert len(found) % 100 == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_asked_even_while_a_query_runs(number: signal.Signals) -> None:
    with ClickHouseServer() as server:
        ask(server, "create table t engine = MergeTree order by number as select number from numbers(1000)")
        process = server._process
        assert process is not None
        ask(server, "select 1", session_id="idle")
        endless = threading.Thread(target=_ask_in_vain, args=(server, "select sum(number) from system.numbers"))
        endless.start()
        wait_until(lambda: _running(server) == 1, "the query to run")
        os.kill(server.pid, number)
        assert process.wait(40) == 0
        endless.join()
        server.restart()
        assert ask(server, "select count() from t").text == "1000\n"


def test_a_client_that_leaves_in_the_middle_of_its_insert_leaves_the_server_well(server: ClickHouseServer) -> None:
    ask(server, "create or replace table left (a Int64) engine = MergeTree order by a")
    with socket.create_connection((HOST, server.port)) as link:
        head = "POST /?query=insert+into+left+format+TSV HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        link.sendall(head.encode() + b"1\n" * 1000)
    assert ask(server, "select count() from left").text == "0\n"


def _ask_in_vain(server: ClickHouseServer, statement: str) -> None:
    try:
        assert ask(server, statement).status != 200
    except (OSError, http.client.HTTPException):
        return


def _running(server: ClickHouseServer) -> int:
    return int(ask(server, "select count() - 1 from system.processes").text)


def _rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
