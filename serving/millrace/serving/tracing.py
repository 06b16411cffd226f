"""OpenTelemetry spans, from a request through to its store. Off, at no cost, unless an exporter is configured.

On when `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set; all else is as OpenTelemetry's own
environment variables say. A request's `traceparent` (W3C Trace Context) is taken up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_SWITCHES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class _Tracing:
    """The tracer of this process; None while tracing is off."""

    tracer: Any = None


def set_up(env: Mapping[str, str] = os.environ) -> None:
    """Begin to trace, if the environment says where spans go."""
    if not any(env.get(name) for name in _SWITCHES):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": env.get("OTEL_SERVICE_NAME") or "millrace"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    use(provider)


def use(provider: Any) -> None:
    """Trace with this provider; None ends tracing."""
    _Tracing.tracer = None if provider is None else provider.get_tracer("millrace.serving")


def on() -> bool:
    return _Tracing.tracer is not None


def parent_of(headers: Mapping[bytes, bytes]) -> Any:
    """The trace that a request is part of; None when tracing is off."""
    if _Tracing.tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name: headers[name.encode()].decode("latin-1") for name in _HEADERS if name.encode() in headers}
    return TraceContextTextMapPropagator().extract(carrier)


def span(name: str, parent: Any = None, **attributes: str) -> AbstractContextManager[Any]:
    """A span around a block, which takes up exceptions; nothing when tracing is off."""
    if _Tracing.tracer is None:
        return nullcontext()
    context: AbstractContextManager[Any] = _Tracing.tracer.start_as_current_span(
        name, context=parent, attributes={f"millrace.{key}": value for key, value in attributes.items()}
    )
    return context


@contextmanager
def pausing_span(name: str) -> Iterator[None]:
    """A span around work that others' work comes between, as of a stream: it is nobody's parent."""
    if _Tracing.tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    found = _Tracing.tracer.start_span(name)
    try:
        yield
    except Exception as error:
        found.record_exception(error)
        found.set_status(Status(StatusCode.ERROR, str(error)))
        raise
    finally:
        found.end()


_HEADERS = ("traceparent", "tracestate")
