"""The task's side of a load: Arrow batches into pipelined commands, replies into rows confirmed or set aside."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hiredis
import numpy as np

from millrace.connectors.base import DirtyRow, Loaded
from millrace.connectors.redis.columns import Indices, Rows, encode_deletes, encode_rows, pieces, split_deletes
from millrace.connectors.redis.endpoint import Address, Endpoint, store_error
from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.link import Store
from millrace.connectors.redis.stream import Stream
from millrace.connectors.wire.replies import Failure
from millrace.errors import TransientError

if TYPE_CHECKING:
    import pyarrow as pa

#: A batch is encoded and sent in pieces of about this many bytes.
PIECE_BYTES = 4 << 20
#: What an error reply starts with when only its own row is to blame; any other one fails the load.
_ROW_ERRORS = ("ERR ", "WRONGTYPE ")
_MOST_MOVES = 16
_MOVE_PAUSE_S = 0.05


class Fleet:
    """A stream to each server that is needed, and which server each row belongs to."""

    def __init__(self, endpoint: Endpoint, doing: str) -> None:
        self._endpoint, self._doing = endpoint, doing
        self._store = Store(endpoint)
        self.streams: dict[Address, Stream] = {}

    def stream(self, address: Address) -> Stream:
        found = self.streams.get(address)
        if found is None:
            found = self.streams[address] = Stream(self._endpoint, address, self._doing)
        return found

    def split(self, rows: Rows) -> Iterator[tuple[Address, Rows]]:
        """The rows by the server that holds their keys. Raises TransientError when a slot has none."""
        if not self._endpoint.cluster:
            yield self._endpoint.addresses[0], rows
            return
        topology = self._store.topology(self._doing)
        owners = np.array(topology.owners)[rows.slots()]
        if (owners < 0).any():
            self._store.forget_topology()
            raise TransientError(
                f"{self._doing} in {self._endpoint}: some slots of the cluster have no server",
                hint="see CLUSTER INFO: a node is down, or slots are unassigned",
            )
        for owner in np.unique(owners).tolist():
            yield topology.nodes[owner], rows.take(np.flatnonzero(owners == owner))

    def moved(self) -> None:
        """A server has said that keys are elsewhere now."""
        self._store.forget_topology()

    def ask(self, address: Address, commands: memoryview) -> None:
        """Run commands at the server that takes over their slot (redirected by ASK), one after the other."""
        reader = hiredis.Reader()
        reader.feed(bytes(commands))
        while (command := reader.gets()) is not False:
            self._store.all_at(self._doing, address, [("ASKING",), command])

    def close(self) -> None:
        self._store.close()
        for stream in self.streams.values():
            stream.close()
        self.streams.clear()


@dataclass
class _Sent:
    """Rows on their way to one server: replies `[first, end)` are theirs. `moves`: how often they were redirected."""

    rows: Rows
    first: int
    end: int
    moves: int


class RedisLoader:
    """Writes the rows of one version; see `millrace.connectors.base.Loader`. Keys are overwritten, never added to.

    `deletes` names a boolean column that tells the rows whose keys go away instead.

    Several rows share a command where the layout and the server allow it; rows whose command is refused are sent again,
    each by itself, and so is every row after them: an error is that of its own row, and a user who may only SET loads.

    Up to some 20 MB are under way at a time; `load` returns while replies to it are still out, and reports what has
    been confirmed up to then. A connection that breaks raises TransientError: rows under way may or may not be written.
    """

    def __init__(self, endpoint: Endpoint, manifest: Manifest, deletes: str | None = None) -> None:
        self._endpoint = endpoint
        self._manifest = manifest
        self._deletes = deletes
        self._together = not endpoint.cluster  # where the keys of a command would have to share a slot
        self._doing = f"loading version {manifest.version} of {manifest.asset}"
        self._fleet: Fleet | None = None
        self._sent: dict[Address, deque[_Sent]] = {}
        self._rows = self._size = 0
        self._dirty: list[DirtyRow] = []

    def open(self) -> None:
        self._fleet = Fleet(self._endpoint, self._doing)
        self._sent = {}

    def load(self, batch: pa.RecordBatch) -> Loaded:
        for piece in pieces(batch, PIECE_BYTES):
            for rows, dirty in self._encode(piece):
                self._dirty += dirty
                self._send(rows, moves=0)
                self._settle()
        return self._report()

    def finish(self) -> Loaded:
        fleet = self._opened()
        while any(self._sent.values()):
            for stream in list(fleet.streams.values()):
                stream.drain()
            self._settle()
        return self._report()

    def close(self) -> None:
        if self._fleet is not None:
            self._fleet.close()
            self._fleet = None

    def _opened(self) -> Fleet:
        assert self._fleet is not None, "open() comes first"
        return self._fleet

    def _encode(self, piece: pa.RecordBatch) -> Iterator[tuple[Rows, list[DirtyRow]]]:
        if self._deletes is None:
            yield encode_rows(self._manifest, piece, together=self._together)
            return
        stays, goes = split_deletes(piece, self._deletes)
        if goes.num_rows:
            yield encode_deletes(self._manifest, goes)
        if stays.num_rows:
            yield encode_rows(self._manifest, stays, together=self._together)

    def _send(self, rows: Rows, moves: int) -> None:
        fleet = self._opened()
        for address, part in fleet.split(rows):
            stream = fleet.stream(address)
            first = stream.expected
            stream.send(part.data, part.replies)
            self._sent.setdefault(address, deque()).append(_Sent(part, first, stream.expected, moves))

    def _settle(self) -> None:
        """Take in every confirmation that has arrived."""
        for address, sent in list(self._sent.items()):
            stream = self._opened().streams[address]
            while sent and sent[0].end <= stream.replies.count:
                done = sent.popleft()
                self._judge(done, stream.failures_before(done.end))

    def _judge(self, sent: _Sent, failures: list[Failure]) -> None:
        self._rows += len(sent.rows)
        self._size += sent.rows.size
        if not failures:
            return
        if sent.rows.rows_per_command > 1:
            self._send_alone(sent, failures)
            return
        reasons: dict[int, str] = {}
        for failure in failures:
            reasons.setdefault(sent.rows.answered_by(failure.index - sent.first)[0], failure.text)
        bad = sent.rows.take(_positions(list(reasons)))
        self._rows -= len(bad)
        self._size -= bad.size
        moved = []
        for position, reason in enumerate(reasons.values()):
            if reason.startswith("MOVED "):
                moved.append(position)
            elif reason.startswith("ASK "):
                self._ask(bad.take(_positions([position])), reason)
            elif reason.startswith(_ROW_ERRORS):
                self._dirty.append(bad.dirty(position, f"the store says '{reason}'"))
            else:
                raise store_error(reason, self._doing, self._endpoint)
        if moved:
            self._send_again(bad.take(_positions(moved)), sent.moves + 1)

    def _send_alone(self, sent: _Sent, failures: list[Failure]) -> None:
        """Send the rows of refused commands one by one, and from now on all."""
        self._together = False
        refused = [row for failure in failures for row in sent.rows.answered_by(failure.index - sent.first)]
        self._rows -= len(refused)
        self._size -= sent.rows.size_of(_positions(refused))
        self._send(sent.rows.alone(_positions(refused)), sent.moves)

    def _send_again(self, rows: Rows, moves: int) -> None:
        if moves > _MOST_MOVES:
            raise TransientError(
                f"{self._doing} in {self._endpoint}: {len(rows)} rows were redirected {_MOST_MOVES} times",
                hint="the cluster's nodes disagree about its slots, maybe during a failover: see CLUSTER NODES",
            )
        time.sleep(_MOVE_PAUSE_S * (moves - 1))
        self._opened().moved()
        self._send(rows, moves)

    def _ask(self, row: Rows, redirect: str) -> None:
        host, _, port = redirect.split(" ")[2].rpartition(":")
        self._opened().ask((host, int(port)), row.data)
        self._rows += 1
        self._size += row.size

    def _report(self) -> Loaded:
        found = Loaded(self._rows, self._size, tuple(self._dirty))
        self._rows = self._size = 0
        self._dirty = []
        return found


def _positions(found: list[int]) -> Indices:
    return np.array(found, np.int64)
