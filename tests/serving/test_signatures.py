"""One interface in process and through a server, asynchronous and not: the same methods, parameters and types."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from millrace.serving.client import Apis, AsyncClient
from millrace.serving.kv.client import AsyncKv, CalledKv, LocalKv, UncachedKv
from millrace.serving.local import LocalApis
from millrace.serving.remote import RemoteApis, RemoteKv
from millrace.serving.sql.client import AsyncQuery, AsyncSql, AsyncUnion
from millrace.serving.sql.sync_client import Query, Sql, Union
from millrace.serving.sync import Client, Kv

#: What is of one side only: what a synchronous client waits with; what an asynchronous one gives it to wait for.
_OWN = {"run", "apis", "runner"}


def members(owner: type) -> dict[str, Any]:
    """What callers see: public methods and properties, and what makes an object callable."""
    found = {name: getattr(owner, name) for name in dir(owner) if not name.startswith("_") and name not in _OWN}
    if "__call__" in vars(owner):
        found["__call__"] = vars(owner)["__call__"]
    return {name: one for name, one in found.items() if callable(one) or isinstance(one, property)}


def shape(member: Any) -> tuple[list[tuple[str, Any, Any, Any]], str]:
    """Parameters, each with its kind, type and default, and the type that comes back; asynchronous or not."""
    function: Any = member.fget if isinstance(member, property) else member
    signature = inspect.signature(function)
    parameters = [
        (p.name, p.kind, plain(p.annotation), p.default) for p in signature.parameters.values() if p.name != "self"
    ]
    return parameters, plain(signature.return_annotation)


def plain(annotation: Any) -> str:
    """A type without the letters that say that it is waited for."""
    return re.sub(r"\bAsync(?=[A-Z])", "", str(annotation))


@pytest.mark.parametrize(
    ("asynchronous", "synchronous"),
    [(AsyncClient, Client), (AsyncKv, Kv), (AsyncSql, Sql), (AsyncQuery, Query), (AsyncUnion, Union)],
)
def test_the_synchronous_face_has_what_the_asynchronous_one_has(asynchronous: type, synchronous: type) -> None:
    ours, theirs = members(synchronous), members(asynchronous)
    assert ours.keys() == theirs.keys()
    assert {name: shape(one) for name, one in ours.items()} == {name: shape(one) for name, one in theirs.items()}
    waited = [name for name, one in ours.items() if inspect.iscoroutinefunction(one)]
    assert not waited, "these have to be awaited"


@pytest.mark.parametrize("made", [Client, AsyncClient])
def test_clients_are_made_in_the_same_way(made: type) -> None:
    assert str(inspect.signature(made)).partition(" ->")[0] == (
        "(where: 'Settings | str | None' = None, *, token: 'str' = '', timeout_s: 'float' = 10.0, "
        "ca: 'str' = '', certificate: 'tuple[str, str] | None' = None)"
    )


@pytest.mark.parametrize(
    ("interface", "implementation"),
    [
        (Apis, LocalApis),
        (Apis, RemoteApis),
        (AsyncKv, LocalKv),
        (AsyncKv, UncachedKv),
        (AsyncKv, CalledKv),
        (AsyncKv, RemoteKv),
    ],
)
def test_in_process_and_through_a_server_the_same_can_be_called(interface: type, implementation: type) -> None:
    found = members(implementation)
    for name, one in members(interface).items():
        (wanted, gives), (parameters, given) = shape(one), shape(found[name])
        assert parameters == wanted, name
        assert inspect.iscoroutinefunction(found[name]) == inspect.iscoroutinefunction(one), name
        assert given == gives or (interface is Apis and name == "find"), name
