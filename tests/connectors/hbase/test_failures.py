"""What a framed server does to loads and lookups; what a kill does is in `tests/conformance/failures.py`."""

from __future__ import annotations

import pytest

from millrace.errors import TargetError, TransientError
from millrace.spec.types import column
from tests.connectors.hbase.stores import Store
from tests.connectors.loads import people
from tests.servers.hbase import HBase


def test_a_framed_server_is_spoken_to_in_frames() -> None:
    with HBase(framed=True) as server:
        store = Store(server)
        store.publish("v1", people(3000))
        assert store.get(2999)[0]["name"] == "person 2999"
        wrong = Store(server, url=server.url.replace("?transport=framed", "?timeout=2s"))
        with pytest.raises((TransientError, TargetError), match="looking for the store"):
            wrong.target.check([column("id", "int")])
