"""The servers of one endpoint for asyncio lookups: which one to ask, where a cluster sends us, which channels speak."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import hiredis

from millrace.connectors.redis.endpoint import Address, Endpoint, lost, store_error
from millrace.connectors.redis.pipe import Link, Pipe, open_link
from millrace.connectors.redis.slots import SLOTS, Topology, parse_slots, slot_of
from millrace.connectors.wire.speedups import mget_command
from millrace.errors import MillraceError, TransientError

log = logging.getLogger(__name__)

_MGET_KEYS = 1024
_SCAN_KEYS = 2000
_MOST_REDIRECTS = 5
_PAUSES_S = (0.05, 2.0)


def command(name: bytes, *arguments: bytes) -> bytes:
    """One command in its wire form (RESP2)."""
    if len(arguments) == 1:
        return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(arguments[0]), arguments[0])
    whole: Any = (name, *arguments)
    packed: bytes = hiredis.pack_command(whole)
    return packed


class Client:
    """Reads from one server or cluster. Belongs to the event loop in which it was opened; many readers share one.

    A lookup takes `timeout_s` at most, reconnections included, then it raises TransientError.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self.endpoint = replace(endpoint, timeout_s=timeout_s)  # errors tell it
        self._timeout_s = timeout_s
        self._pipes: dict[Address, Pipe] = {}
        self._only: Pipe | None = None
        self._topology: Topology | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self._channels: dict[str, Callable[[], None]] = {}
        self._speaker: Link | None = None

    async def open(self) -> None:
        """Connect. Raises TransientError when the store can't be reached, TargetError when it refuses us."""
        if not self.endpoint.cluster:
            self._only = self._pipe(self.endpoint.addresses[0])
            self._check(await self._only.ask(command(b"PING")))
        else:
            await self._refresh()

    async def close(self) -> None:
        tasks = [task for task in (self._refreshing, self._listener) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._speaker is not None and self._speaker.transport is not None:
            self._speaker.transport.abort()
        for pipe in self._pipes.values():
            pipe.close()
        self._pipes.clear()

    def ask(self, key: bytes, payload: bytes) -> Awaitable[Any]:
        """As `fetch`, but quicker: an error reply may come as a `hiredis.ReplyError` value; raise its `refusal`."""
        only = self._only
        return only.ask(payload) if only is not None else self._fetch_in_cluster(key, payload)

    def refusal(self, reply: hiredis.ReplyError) -> MillraceError:
        """The error for an error reply."""
        return store_error(str(reply), "a lookup", self.endpoint)

    async def fetch(self, key: bytes, payload: bytes) -> Any:
        """The reply to a command (in its wire form) about one key."""
        if self._only is None:
            return await self._fetch_in_cluster(key, payload)
        reply = await self._only.ask(payload)
        if isinstance(reply, hiredis.ReplyError):
            raise store_error(str(reply), "a lookup", self.endpoint)
        return reply

    async def fetch_all(self, name: bytes, keys: Sequence[bytes], more: Sequence[bytes] = ()) -> list[Any]:
        """The replies to the same command about many keys, in their order; `more` follows each key."""
        if self._only is not None:
            return await self._fetch_all_from_one(self._only, name, keys, more)
        groups: dict[Address, list[int]] = {}
        for position, key in enumerate(keys):
            groups.setdefault(self._address(key), []).append(position)
        found: list[Any] = [None] * len(keys)

        async def ask(address: Address, positions: list[int]) -> None:
            payload = b"".join(command(name, keys[position], *more) for position in positions)
            try:
                replies = await self._pipe(address).ask_all(payload, len(positions))
            except TransientError:
                self._refresh_soon()
                raise
            for position, reply in zip(positions, replies, strict=True):
                key = keys[position]
                redirected = isinstance(reply, hiredis.ReplyError)
                again = self._fetch_in_cluster(key, command(name, key, *more)) if redirected else None
                found[position] = reply if again is None else await again

        await asyncio.gather(*(ask(address, positions) for address, positions in groups.items()))
        return found

    async def scan(self, pattern: bytes) -> AsyncIterator[list[bytes]]:
        """All keys that match a pattern, some at a time; one may come twice. Walks over every key of the servers."""
        addresses = self._topology.nodes if self._topology is not None else self.endpoint.addresses[:1]
        for address in addresses:
            cursor = b"0"
            while True:
                wanted = command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % _SCAN_KEYS)
                cursor, keys = self._check(await self._pipe(address).ask(wanted))
                if keys:
                    yield keys
                if cursor == b"0":
                    break

    def listen(self, channel: str, heard: Callable[[], None]) -> None:
        """Call `heard` for each message on a channel, and whenever messages may have been missed."""
        self._channels[channel] = heard
        if self._listener is None:
            self._listener = asyncio.get_running_loop().create_task(self._keep_listening())
        elif self._speaker is not None and self._speaker.transport is not None:
            self._speaker.transport.write(command(b"SUBSCRIBE", channel.encode()))

    def unlisten(self, channel: str) -> None:
        self._channels.pop(channel, None)

    async def _fetch_all_from_one(
        self, pipe: Pipe, name: bytes, keys: Sequence[bytes], more: Sequence[bytes]
    ) -> list[Any]:
        if name == b"GET" and len(keys) <= _MGET_KEYS:
            found: list[Any] = self._check(await pipe.ask_now(mget_command(keys)))
            return found
        if name == b"GET":
            chunks = [keys[start : start + _MGET_KEYS] for start in range(0, len(keys), _MGET_KEYS)]
            replies = await pipe.ask_all(b"".join(map(mget_command, chunks)), len(chunks))
            return [value for reply in replies for value in self._check(reply)]
        replies = await pipe.ask_all(b"".join(command(name, key, *more) for key in keys), len(keys))
        return [self._check(reply) for reply in replies]

    def _check(self, reply: Any) -> Any:
        if isinstance(reply, hiredis.ReplyError):
            raise store_error(str(reply), "a lookup", self.endpoint)
        return reply

    def _pipe(self, address: Address) -> Pipe:
        found = self._pipes.get(address)
        if found is None:
            on_lost = self._refresh_soon if self.endpoint.cluster else None
            found = self._pipes[address] = Pipe(self.endpoint, address, self._timeout_s, on_lost)
        return found

    def _address(self, key: bytes) -> Address:
        address = self._topology.node_of(key) if self._topology is not None else None
        if address is None:
            self._refresh_soon()
            raise TransientError(
                f"a lookup in {self.endpoint}: no server of the cluster holds slot {slot_of(key)} of {SLOTS}",
                hint="see CLUSTER INFO: a node is down, or slots are unassigned",
            )
        return address

    async def _fetch_in_cluster(self, key: bytes, payload: bytes) -> Any:
        address, asking = self._address(key), False
        for _ in range(_MOST_REDIRECTS):
            pipe = self._pipe(address)
            try:
                reply = (await pipe.ask_all(command(b"ASKING") + payload, 2))[1] if asking else await pipe.ask(payload)
            except TransientError:
                self._refresh_soon()
                raise
            if not isinstance(reply, hiredis.ReplyError):
                return reply
            kind, *where = str(reply).split(" ")
            if kind not in ("MOVED", "ASK"):
                raise store_error(str(reply), "a lookup", self.endpoint)
            host, _, port = where[1].rpartition(":")
            address, asking = (host or address[0], int(port)), kind == "ASK"
            if not asking:
                self._refresh_soon()
        raise store_error(str(reply), "a lookup", self.endpoint)

    def _refresh_soon(self) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh_and_log())

    async def _refresh_and_log(self) -> None:
        try:
            await self._refresh()
        except MillraceError as error:
            log.warning("the cluster's topology could not be read; lookups use the one before: %s", error.message)

    async def _refresh(self) -> None:
        """Read the topology from the first server that answers, and hang up on those that have left it."""
        known = self._topology.nodes if self._topology is not None else ()
        problem: MillraceError = lost(TimeoutError(), "a lookup", self.endpoint, self.endpoint.addresses[0])
        for address in dict.fromkeys((*known, *self.endpoint.addresses)):
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._topology = await self._ask_topology(address)
            except MillraceError as error:
                problem = error
            except OSError as error:
                problem = lost(error, "a lookup", self.endpoint, address)
            else:
                for gone in self._pipes.keys() - set(self._topology.nodes):
                    self._pipes.pop(gone).close()
                return
        raise problem

    async def _ask_topology(self, address: Address) -> Topology:
        link = await open_link(self.endpoint, address, self._tls())
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def take(reader: hiredis.Reader) -> None:
            if (reply := reader.gets()) is not False and not answered.done():
                answered.set_result(reply)

        link.on_replies = take
        assert link.transport is not None
        try:
            link.transport.write(command(b"CLUSTER", b"SLOTS"))
            await asyncio.wait((answered, link.ended), return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                raise ConnectionResetError("the server closed the connection")
            return parse_slots(self._check(answered.result()), address)
        finally:
            link.transport.abort()

    def _tls(self) -> Any:
        return self.endpoint.tls.context() if self.endpoint.tls is not None else None

    async def _keep_listening(self) -> None:
        shortest, longest = _PAUSES_S
        pause = shortest
        while True:
            address = random.choice(self._topology.nodes if self._topology is not None else self.endpoint.addresses)
            try:
                async with asyncio.timeout(self._timeout_s):
                    link = await open_link(self.endpoint, address, self._tls())
                pause = shortest
                await self._listen_on(link)
            except (MillraceError, OSError) as error:
                log.info("not listening for moves of pointers, which are looked up every few seconds: %s", error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, longest)

    async def _listen_on(self, link: Link) -> None:
        assert link.transport is not None
        self._speaker = link
        link.on_replies = self._heard
        try:
            if self._channels:
                link.transport.write(command(b"SUBSCRIBE", *(channel.encode() for channel in self._channels)))
            await link.ended
        finally:
            self._speaker = None
            link.transport.abort()

    def _heard(self, reader: hiredis.Reader) -> None:
        """`message` tells of a move; `subscribe` confirms that we hear from now on: a move before it may be missed."""
        while (reply := reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                log.warning("%s", store_error(str(reply), "listening for moves of pointers", self.endpoint).message)
            elif reply[0] in (b"message", b"subscribe"):
                with contextlib.suppress(KeyError):
                    self._channels[reply[1].decode()]()
