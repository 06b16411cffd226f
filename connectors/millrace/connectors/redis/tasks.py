"""Work over the keys of a version in Spark tasks: counting them, erasing them. Pipelined, in small steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from millrace.connectors.redis.columns import Rows, encode_keys, pieces
from millrace.connectors.redis.endpoint import Address, Endpoint, store_error
from millrace.connectors.redis.layout import Manifest
from millrace.connectors.redis.loader import Fleet
from millrace.connectors.wire import resp
from millrace.errors import TransientError

if TYPE_CHECKING:
    import pyarrow as pa

#: So few bytes of keys go out before their replies are awaited that other clients of the server hardly wait for us.
_STEP_BYTES = 1 << 17
#: One server answers for this many keys at once, in a quarter of the time that it takes key by key. With more of them
#: it takes longer again: what Valkey fetches from memory ahead is for some keys only.
_KEYS_PER_COMMAND = 16


class KeyTask:
    """One command for each key of a batch, `EXISTS` or `UNLINK`; the sum of the answers. See `base.BatchTask`."""

    def __init__(self, endpoint: Endpoint, manifest: Manifest, command: str, doing: str) -> None:
        self._endpoint, self._manifest, self._command, self._doing = endpoint, manifest, command, doing
        self._fleet: Fleet | None = None

    def open(self) -> None:
        self._fleet = Fleet(self._endpoint, self._doing)

    def run(self, batch: pa.RecordBatch) -> int:
        found = 0
        for piece in pieces(batch, _STEP_BYTES):
            asked = self._encode(piece)  # while the server works on the piece before
            found += self._answers()
            for address, commands, replies in asked:
                self._opened().stream(address).send(commands, replies)
        return found + self._answers()

    def close(self) -> None:
        if self._fleet is not None:
            self._fleet.close()
            self._fleet = None

    def _encode(self, batch: pa.RecordBatch) -> list[tuple[Address, memoryview, int]]:
        """What each server is asked, and how many replies that brings."""
        keys, refused = encode_keys(self._manifest, batch)
        keys = keys.drop_null() if refused else keys  # rows without a key were never stored
        if not self._endpoint.cluster:
            commands = resp.many_keys(self._command, keys, _KEYS_PER_COMMAND)
            return [(self._endpoint.addresses[0], commands.data, commands.replies)]
        alone = resp.commands([self._command.encode(), keys])  # keys of one command would have to share a slot
        rows = Rows(self._manifest, batch, np.arange(len(keys)), keys, alone.rows, 1)
        return [(address, part.data, part.replies) for address, part in self._opened().split(rows)]

    def _answers(self) -> int:
        """Wait for every answer that is out; the sum of those that haven't been given yet."""
        found, failures = 0, []
        for stream in self._opened().streams.values():
            stream.drain()
            found += stream.replies.take_total()
            failures += stream.failures_before(stream.expected)
        for failure in failures:
            if failure.text.startswith("MOVED "):
                self._opened().moved()
                raise TransientError(
                    f"{self._doing} in {self._endpoint}: the cluster moves slots just now ({failure.text})",
                    hint="try again when its resharding is over",
                )
            raise store_error(failure.text, self._doing, self._endpoint)
        return found

    def _opened(self) -> Fleet:
        assert self._fleet is not None, "open() comes first"
        return self._fleet
