"""The addresses of SQL APIs: an answer, or all rows as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from millrace.serving.call import Answer, Call, Operation, Stream
from millrace.serving.formats import Format, negotiate
from millrace.serving.formats.tables import ENCODERS, STREAMS, TABLES, encode_table, within
from millrace.serving.http.json_body import json_body
from millrace.serving.http.kv import context_of, headers_of
from millrace.serving.http.messages import Header, Request, Response
from millrace.serving.http.routes import Route
from millrace.serving.refusals import UnknownApi
from millrace.serving.service import Service
from millrace.serving.sql.stream import Summary, encoded

PREFIX = "/v1/sql/"
_STREAM = ":stream"
_TRAILERS = (b"trailer", b"Millrace-Rows, Millrace-Checksum")


def routes(service: Service) -> list[Route]:
    """`POST /v1/sql/{api}` and `POST /v1/sql/{api}:stream`."""
    return [Route(("POST",), PREFIX, lambda request: _post(service, request))]


async def _post(service: Service, request: Request) -> Response:
    name, *more = request.segments()[2:]
    if more or not name:
        raise UnknownApi("there is nothing to POST to at this address", hint=f"POST to {PREFIX}{{api}}[{_STREAM}]")
    arguments = json_body(request, "a query: see docs/sql.md")
    if name.endswith(_STREAM):
        return await _stream(service, request, name.removesuffix(_STREAM), arguments)
    served = service.registry.find(name, "sql")
    wanted = negotiate(request.header(b"accept"), TABLES)
    answer = await served.call(Call(Operation.QUERY, arguments, context_of(service, request)))
    headers: tuple[Header, ...] = headers_of(served, answer)
    if answer.body.cursor is not None:
        headers += ((b"millrace-next", answer.body.cursor.encode()),)
    whole = encode_table(answer.body, answer.version, wanted, answer.origin.mark)
    body = within(served.plan.profile.limits, whole)
    return Response(200, body, wanted.content_type.encode(), headers)


async def _stream(service: Service, request: Request, name: str, arguments: Any) -> Response:
    served = service.registry.find(name, "sql")
    wanted = negotiate(request.header(b"accept"), STREAMS)
    answer = await served.call(Call(Operation.STREAM, arguments, context_of(service, request)))
    return streamed(answer, wanted, (*headers_of(served, answer), _TRAILERS))


def streamed(answer: Answer, wanted: Format, headers: Sequence[Header]) -> Response:
    """A stream as a response, with its rows and checksum as trailers."""
    stream: Stream = answer.body
    summary = Summary()
    body: AsyncIterator[bytes] = encoded(stream.batches, ENCODERS[wanted](stream.schema), summary)

    def trailers() -> Sequence[Header]:
        return (
            (b"millrace-rows", b"%d" % summary.rows),
            (b"millrace-checksum", summary.checksum.encode()),
        )

    return Response(200, body, wanted.content_type.encode(), headers, trailers)
