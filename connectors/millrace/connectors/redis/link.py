"""One synchronous connection to one Redis server: log in, ask, answer. For the driver's few commands."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

import hiredis

from millrace.connectors.redis.endpoint import Address, Command, Endpoint, lost, pack, store_error
from millrace.connectors.redis.slots import Topology, parse_slots
from millrace.errors import TargetError, TransientError

_RECEIVE_BYTES = 1 << 16
_MOVES = 5


def connect(endpoint: Endpoint, address: Address, doing: str) -> socket.socket:
    """A socket to one server, logged in, with TLS as the endpoint says; its timeout is the endpoint's.

    Raises TransientError when the server can't be reached, TargetError when it refuses the login or isn't trusted.
    """
    try:
        link = socket.create_connection(address, timeout=endpoint.timeout_s)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if endpoint.tls is not None:
            link = endpoint.tls.context().wrap_socket(link, server_hostname=address[0])
    except OSError as error:
        raise lost(error, doing, endpoint, address) from error
    try:
        for reply in exchange(link, endpoint.handshake(), endpoint, address, doing):
            if isinstance(reply, hiredis.ReplyError):
                raise store_error(str(reply), doing, endpoint)
    except BaseException:
        link.close()
        raise
    return link


def exchange(
    link: socket.socket, commands: Sequence[Command], endpoint: Endpoint, address: Address, doing: str
) -> list[Any]:
    """Send commands at once and wait for all their replies; an error reply is a `hiredis.ReplyError` among them."""
    reader = hiredis.Reader()
    replies: list[Any] = []
    try:
        link.sendall(b"".join(map(pack, commands)))
        while len(replies) < len(commands):
            data = link.recv(_RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                replies.append(reply)
    except (OSError, hiredis.ProtocolError) as error:
        raise lost(error, doing, endpoint, address) from error
    return replies


class Store:
    """The servers of one endpoint, each connected to when it is first needed. Not for many commands a second."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._links: dict[Address, socket.socket] = {}
        self._topology: Topology | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def call(self, doing: str, key: str | bytes, *command: bytes | str | int) -> Any:
        """One command to the server that holds `key`. `doing` stands in errors: "publishing version X of Y"."""
        return self.transaction(doing, key, [command])[-1]

    def transaction(self, doing: str, key: str | bytes, commands: Sequence[Command]) -> list[Any]:
        """Commands in a row to the server that holds `key`, following it when it has moved. Raises the first error."""
        raw = key.encode() if isinstance(key, str) else key
        for _ in range(_MOVES):
            address = self._address(raw, doing)
            replies = self._exchange(address, commands, doing)
            errors = [str(reply) for reply in replies if isinstance(reply, hiredis.ReplyError)]
            if not errors:
                return replies
            if not any(text.startswith("MOVED ") for text in errors):
                break
            self.forget_topology()
        raise store_error(errors[0], doing, self.endpoint)

    def everywhere(self, doing: str, *command: bytes | str | int) -> list[tuple[Address, Any]]:
        """One command to every server that holds data."""
        return [(address, self.at(doing, address, *command)) for address in self.addresses(doing)]

    def at(self, doing: str, address: Address, *command: bytes | str | int) -> Any:
        """One command to one server."""
        return self.all_at(doing, address, [command])[0]

    def all_at(self, doing: str, address: Address, commands: Sequence[Command]) -> list[Any]:
        """Commands in a row to one server. Raises the first error, when all have been answered."""
        replies = self._exchange(address, commands, doing)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise store_error(str(reply), doing, self.endpoint)
        return replies

    def addresses(self, doing: str) -> Iterable[Address]:
        """Every server that holds data: the one, or each primary of a cluster."""
        return self.topology(doing).nodes if self.endpoint.cluster else self.endpoint.addresses[:1]

    def topology(self, doing: str) -> Topology:
        """The cluster's present topology, asked from the first of the endpoint's nodes that answers."""
        if self._topology is None:
            self._topology = self._ask_topology(doing)
        return self._topology

    def forget_topology(self) -> None:
        """A server said that keys have moved: ask anew when the topology is needed next."""
        self._topology = None

    def close(self) -> None:
        for link in self._links.values():
            link.close()
        self._links.clear()

    def _address(self, key: bytes, doing: str) -> Address:
        if not self.endpoint.cluster:
            return self.endpoint.addresses[0]
        address = self.topology(doing).node_of(key)
        if address is None:
            self.forget_topology()
            raise TransientError(
                f"{doing} in {self.endpoint}: no server of the cluster holds the slot of {key!r}",
                hint="see CLUSTER INFO: a node is down, or slots are unassigned",
            )
        return address

    def _ask_topology(self, doing: str) -> Topology:
        known = self._topology.nodes if self._topology else ()
        problem: TransientError | None = None
        for address in dict.fromkeys((*known, *self.endpoint.addresses)):
            try:
                reply = self._exchange(address, [("CLUSTER", "SLOTS")], doing)[0]
            except TransientError as error:
                problem = error
                continue
            if isinstance(reply, hiredis.ReplyError):
                raise TargetError(
                    f"{doing}: {self.endpoint} is not a cluster: the store says '{reply}'",
                    hint="use redis:// or rediss:// for a single server",
                )
            return parse_slots(reply, address)
        assert problem is not None
        raise problem

    def _exchange(self, address: Address, commands: Sequence[Command], doing: str) -> list[Any]:
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = connect(self.endpoint, address, doing)
        try:
            return exchange(link, commands, self.endpoint, address, doing)
        except BaseException:
            self._links.pop(address).close()
            raise
