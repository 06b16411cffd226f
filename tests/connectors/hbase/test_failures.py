"""What a kill, a restart or a framed server does to loads and lookups."""

from __future__ import annotations

import pytest

from millrace.connectors.hbase.lookup import HBaseReader
from millrace.errors import TargetError, TransientError
from millrace.spec.types import column
from tests.connectors.hbase.stores import Store, people
from tests.servers.hbase import HBase


def test_a_kill_in_the_middle_leaves_the_old_version_and_the_next_try_ends_well() -> None:
    with HBase() as server:
        store = Store(server)
        store.publish("v1", people(100, "old"))
        of = store.version("v2", people(1))
        store.target.prepare(of)
        loader = store.target.loader(of)
        loader.open()
        loader.load(people(5000, "half"))

        async def outlive(reader: HBaseReader) -> None:
            assert (await reader.get(1) or {})["note"] == "old"
            server.kill()
            with pytest.raises(TransientError):
                await reader.get(1)
            server.restart()  # in the main thread: the server ends with the thread that has started it
            assert (await reader.get(1) or {})["note"] == "old"

        store.read(outlive, timeout_s=60)
        with pytest.raises(TransientError):
            loader.finish()
        loader.close()
        assert store.load(of, people(30, "new")).rows == 30
        assert store.target.count(of) == 30
        store.target.publish(of)
        assert store.get(1, 30)[0]["note"] == "new"


def test_a_framed_server_is_spoken_to_in_frames() -> None:
    with HBase(framed=True) as server:
        store = Store(server)
        store.publish("v1", people(3000))
        assert store.get(2999)[0]["name"] == "person 2999"
        wrong = Store(server, url=server.url.replace("?transport=framed", "?timeout=2s"))
        with pytest.raises((TransientError, TargetError), match="looking for the store"):
            wrong.target.check([column("id", "int")])
