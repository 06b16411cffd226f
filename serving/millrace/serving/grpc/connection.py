"""One client's HTTP/2 connection, for gRPC's calls alone: frames in, frames out, within limits of size and patience.

Written for the one use, because the general servers spend more time on a call than everything behind it. What RFC 9113
asks of a server is here, but for what gRPC never uses: priorities are passed over, nothing is pushed, and a plain HTTP
request gets a bare status. `docs/decisions/grpc.md` has the reasons and the figures.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from millrace.serving.grpc import frames, messages
from millrace.serving.grpc.frames import Code, ConnectionFault, StreamFault
from millrace.serving.grpc.headers import MOST_HEADER_BYTES, Blocks, NotGrpc, Opening, status_block
from millrace.serving.grpc.statuses import CallFault
from millrace.serving.grpc.stream import Stream
from millrace.serving.parting import part

if TYPE_CHECKING:
    from millrace.serving.grpc.server import GrpcServer

MOST_STREAMS = 1_000
_WINDOW = 16 << 20  # bytes that all calls of a connection may have on their way, and in half requests
_STREAM_WINDOW = messages.MOST_BYTES + frames.LONGEST_FRAME
_PATIENCE = 10_000  # frames that only make work: see `_annoyed`
_MOST_BLOCK_BYTES = 2 * MOST_HEADER_BYTES
_PROBE = b"millrace"  # the ping that tells when a client has heard of the end

_GREETING = frames.settings(
    (
        (frames.MAX_CONCURRENT_STREAMS, MOST_STREAMS),
        (frames.INITIAL_WINDOW_SIZE, _STREAM_WINDOW),
        (frames.MAX_HEADER_LIST_SIZE, MOST_HEADER_BYTES),
    )
) + frames.window_update(0, _WINDOW - frames.DEFAULT_WINDOW)


class Connection(asyncio.Protocol):
    """Parses one client's frames. The server decides what happens with each call."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.streams: dict[int, Stream] = {}
        self.window = frames.DEFAULT_WINDOW  # bytes that the client takes
        self.longest_frame = frames.LONGEST_FRAME
        self.blocked = False
        self._stream_window = frames.DEFAULT_WINDOW
        self._receivable = _WINDOW
        self._owed = 0
        self._blocks = Blocks()
        self._rest = b""
        self._greeted = False
        self._last = 0  # the newest stream
        self._continued: tuple[int, int, bytes] | None = None  # a header block that goes on: stream, flags, its bytes
        self._out: list[bytes] = []
        self._waiting: dict[int, Stream] = {}  # for credit
        self._patience = _PATIENCE
        self._flushing = False  # what is written now goes out soon
        self._draining = False  # the client has been told to send no more calls
        self._leaving = False  # and knows which were the last
        self._ended = False
        self._since = server.now  # of the frame that is not all there, or of the block in writing

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        if len(self._server.connections) >= self._server.limits.connections:
            self._transport.write(_GREETING)
            self.hang_up(Code.ENHANCE_YOUR_CALM, "this worker has as many connections as it takes")
            return
        self._server.connections.add(self)
        link = transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # who is gone without a word is noticed in the end
        self._transport.write(_GREETING)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if self._rest:
            data = self._rest + data
        else:
            self._since = self._server.now
        self._flushing = True
        try:
            position = self._greet(data)
            position = self._take(data, position) if self._greeted else 0
        except ConnectionFault as fault:
            self.hang_up(fault.code, str(fault))
            return
        self._rest = data[position:] if position < len(data) else b""
        if position:
            self._since = self._server.now
        self._flush()

    def eof_received(self) -> bool:
        """gRPC knows no half-closed connections: the client has gone."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._ended = True
        self._transport = None
        self._cancel_all()

    def pause_writing(self) -> None:
        assert self._transport is not None
        self.blocked = True
        self._since = self._server.now
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.blocked = False
        self._since = self._server.now
        if self._transport is not None:
            self._transport.resume_reading()
        for stream in [*self.streams.values()]:
            stream.wake()

    # frames that come

    def _greet(self, data: bytes) -> int:
        """Where the frames begin. Raises ConnectionFault for a client that speaks something else."""
        if self._greeted:
            return 0
        size = min(len(data), len(frames.PREFACE))
        if data[:size] != frames.PREFACE[:size]:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks gRPC, over HTTP/2 with prior knowledge")
        if size == len(frames.PREFACE):
            self._greeted = True
        return size

    def _take(self, data: bytes, position: int) -> int:
        """Act on each whole frame; where the first one begins that isn't."""
        size = len(data)
        while size - position >= frames.HEAD_BYTES and not self._ended:
            length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            if length > frames.LONGEST_FRAME:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "a frame is longer than was agreed")
            start = position + frames.HEAD_BYTES
            end = start + length
            if end > size:
                break
            kind, flags = data[position + 3], data[position + 4]
            stream = int.from_bytes(data[position + 5 : start], "big") & 0x7FFFFFFF
            if self._continued is not None and (kind != frames.CONTINUATION or stream != self._continued[0]):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was broken off")
            if kind == frames.DATA:
                self._take_data(stream, flags, data[start:end])
            elif kind == frames.HEADERS:
                self._take_headers(stream, flags, data[start:end])
            else:
                self._take_other(kind, flags, stream, data[start:end])
            position = end
        return position

    def _take_headers(self, id_: int, flags: int, payload: bytes) -> None:
        if not id_ % 2:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a client's streams have odd numbers")
        if flags & (frames.PADDED | frames.WITH_PRIORITY):
            payload = frames.unpadded(payload, flags)
        if flags & frames.END_HEADERS:
            self._open(id_, flags, payload)
        else:
            self._continued = (id_, flags, payload)

    def _take_continuation(self, flags: int, payload: bytes) -> None:
        if self._continued is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        id_, first_flags, block = self._continued
        block += payload
        self._annoyed()
        if len(block) > _MOST_BLOCK_BYTES:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block is too long")
        self._continued = None if flags & frames.END_HEADERS else (id_, first_flags, block)
        if self._continued is None:
            self._open(id_, first_flags, block)

    def _open(self, id_: int, flags: int, block: bytes) -> None:
        """A header block is whole: a call begins, or its request ends with trailers."""
        end = bool(flags & frames.END_STREAM)
        if id_ <= self._last:
            self._blocks.skip(block)
            stream = self.streams.get(id_)
            if stream is None or stream.half_closed or not end:
                self._annoyed()
                self._reset(id_, Code.STREAM_CLOSED)
            else:
                self._complete(stream)
            return
        try:
            opening = self._blocks.opening(block)
        except StreamFault as fault:
            self._refuse(id_, fault.code)
        except NotGrpc as other:
            self._last = id_
            last = frames.END_HEADERS | frames.END_STREAM
            self.write(frames.frame(frames.HEADERS, last, id_, status_block(other.status)))
            if not end:
                self.write(frames.reset(id_, Code.NO_ERROR))
        else:
            if self._leaving or len(self.streams) >= MOST_STREAMS:
                self._refuse(id_, Code.REFUSED_STREAM)
            else:
                self._begin(id_, opening, end)

    def _begin(self, id_: int, opening: Opening, end: bool) -> None:
        self._last = id_
        stream = self.streams[id_] = Stream(self, id_, opening, self._stream_window, _STREAM_WINDOW)
        self._server.begin(stream)
        if end and id_ in self.streams:
            self._complete(stream)

    def _complete(self, stream: Stream) -> None:
        """All of a request is here."""
        stream.half_closed = True
        try:
            stream.hear()
            self._server.complete(stream)
        except CallFault as fault:
            stream.fail(fault.status, str(fault))

    def _take_data(self, id_: int, flags: int, payload: bytes) -> None:
        size = len(payload)
        self._receivable -= size
        if self._receivable < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more bytes than there was credit for")
        if flags & frames.PADDED:
            payload = frames.unpadded(payload, flags & frames.PADDED)
        stream = self.streams.get(id_)
        if stream is None or stream.half_closed:
            if id_ > self._last or not id_ % 2:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "DATA of a stream that was never begun")
            self._annoyed()
            self._credit(size)
            return
        stream.owed += size
        stream.receivable -= size
        if stream.receivable < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more bytes than there was credit for")
        stream.body += payload
        if flags & frames.END_STREAM:
            self._complete(stream)
            return
        if not payload:
            self._annoyed()
        try:
            messages.check_size(stream.body)
            stream.hear()
        except CallFault as fault:
            stream.cancel()
            stream.fail(fault.status, str(fault))

    def _take_other(self, kind: int, flags: int, id_: int, payload: bytes) -> None:
        match kind:
            case frames.WINDOW_UPDATE:
                self._take_credit(id_, payload)
            case frames.RST_STREAM:
                self._take_reset(id_, payload)
            case frames.CONTINUATION:
                self._take_continuation(flags, payload)
            case frames.SETTINGS | frames.PING | frames.GOAWAY:
                if id_:
                    raise ConnectionFault(Code.PROTOCOL_ERROR, "a frame of the connection has a stream")
                self._take_connection_frame(kind, flags, payload)
            case frames.PUSH_PROMISE:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a client can't push")
            case frames.PRIORITY if len(payload) != 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PRIORITY of a wrong size")
            case _:
                self._annoyed()

    def _take_connection_frame(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == frames.PING:
            if len(payload) != 8:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING of a wrong size")
            if not flags & frames.ACK:
                self._annoyed()
                self.write(frames.frame(frames.PING, frames.ACK, 0, payload))
            elif payload == _PROBE and self._draining and not self._leaving:
                self._leaving = True
                self.write(frames.goaway(self._last, Code.NO_ERROR))
                self._loop.call_soon(self.leave)
        elif kind == frames.SETTINGS:
            if flags & frames.ACK:
                if payload:
                    raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS that are acknowledged and sent at once")
                return
            self._annoyed()
            for name, value in frames.parse_settings(payload):
                self._set(name, value)
            self.write(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _set(self, name: int, value: int) -> None:
        if name == frames.MAX_FRAME_SIZE:
            self.longest_frame = min(value, 1 << 18)
        elif name == frames.INITIAL_WINDOW_SIZE:
            more, self._stream_window = value - self._stream_window, value
            for stream in [*self.streams.values()]:
                stream.window += more
                if stream.window > frames.LARGEST_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window is too large")
            self._pump()

    def _take_credit(self, id_: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a wrong size")
        more = int.from_bytes(payload, "big") & 0x7FFFFFFF
        stream = self.streams.get(id_) if id_ else None
        if not id_:
            self.window += more
        elif stream is not None:
            stream.window += more
        elif id_ > self._last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "credit for a stream that was never begun")
        else:
            return
        if not more or self.window > frames.LARGEST_WINDOW or (stream and stream.window > frames.LARGEST_WINDOW):
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR, "a window is out of bounds")
        self._pump()

    def _take_reset(self, id_: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM of a wrong size")
        if not id_ or id_ > self._last:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "RST_STREAM of a stream that was never begun")
        self._annoyed(10)
        stream = self.streams.pop(id_, None)
        if stream is not None:
            stream.cancel()
            self.forget(stream)

    def _annoyed(self, by: int = 1) -> None:
        """A frame that makes work and brings nothing: a reset (CVE-2023-44487), a ping, an empty piece of a block.

        Patience comes back with time and with each call that is answered.
        """
        self._patience -= by
        if self._patience < 0:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that only make work")

    # what goes out

    @property
    def now(self) -> float:
        return self._server.now

    def write(self, data: bytes) -> None:
        """Send this with all else of the same tick of the loop."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def wait_for_credit(self, stream: Stream) -> None:
        self._waiting[stream.id] = stream

    def give_credit(self, stream: Stream) -> None:
        """What a stream's messages took is free again, for it and for all."""
        owed, stream.owed = stream.owed, 0
        if owed and not stream.half_closed:
            stream.receivable += owed
            self.write(frames.window_update(stream.id, owed))
        self._credit(owed)

    def forget(self, stream: Stream) -> None:
        """A stream has ended."""
        stream.open = False
        self.streams.pop(stream.id, None)
        self._waiting.pop(stream.id, None)
        self._credit(stream.owed)
        stream.owed = 0
        if self._patience < _PATIENCE:
            self._patience += 1
        if self._leaving and not self.streams:
            self._loop.call_soon(self.leave)

    def hang_up(self, code: Code, text: str = "") -> None:
        """Say why, and end the connection."""
        self.write(frames.goaway(self._last, code, text))
        self._flush()
        self._ended = True
        self._cancel_all()
        if self._transport is not None:
            self._transport.close()

    def leave(self) -> None:
        """Take no more calls; end when the last one has ended.

        The client hears of it first, and only then which calls were the last: none that it had sent is lost.
        """
        if not self._greeted:
            self.abort()
        elif not self._draining:
            self._draining = True
            no_more = frames.goaway(frames.LARGEST_WINDOW, Code.NO_ERROR)
            self.write(no_more + frames.frame(frames.PING, 0, 0, _PROBE))
        elif self._ended and self._transport is not None:
            part(self._transport)
        elif self._leaving and not self.streams and self._transport is not None:
            self._flush()
            self._ended = True
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def check(self, now: float) -> None:
        """Give patience back; hang up on a client that is too slow, and on calls that don't go on."""
        limits = self._server.limits
        self._patience = min(_PATIENCE, self._patience + limits.patience_per_tick)
        if self.blocked:
            if now - self._since > limits.send_s:
                self.abort()
            return
        if (self._rest or not self._greeted or self._continued) and now - self._since > limits.header_s:
            self.hang_up(Code.NO_ERROR, "the rest of a frame did not come in time")
            return
        for stream in [*self.streams.values()]:
            self._server.check(stream, now)

    def _credit(self, size: int) -> None:
        self._owed += size
        if self._owed > _WINDOW // 4:
            self.write(frames.window_update(0, self._owed))
            self._receivable += self._owed
            self._owed = 0

    def _pump(self) -> None:
        """Send what waits for credit, frame by frame in turn, so that no stream takes all of it."""
        while self._waiting and self.window > 0:
            waiting, self._waiting = self._waiting, {}
            before = self.window
            for stream in waiting.values():
                stream.pump(1)
            if self.window == before:
                return

    def _cancel_all(self) -> None:
        streams, self.streams = [*self.streams.values()], {}
        self._waiting.clear()
        for stream in streams:
            stream.open = False
            stream.cancel()

    def _refuse(self, id_: int, code: Code) -> None:
        self._last = id_
        self._annoyed()
        self._reset(id_, code)

    def _reset(self, id_: int, code: Code) -> None:
        self.write(frames.reset(id_, code))

    def _flush(self) -> None:
        self._flushing = False
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            if self._transport is not None:
                self._transport.write(data)
