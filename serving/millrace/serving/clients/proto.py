"""The `.proto` of an API: the message of its rows. Pure: a plan in, text out."""

from __future__ import annotations

from millrace.connectors.base import Field
from millrace.connectors.wire.protobuf_schema import message_of, proto_text
from millrace.serving.call import Plan
from millrace.serving.plans import KvPlan
from millrace.serving.sql.api import SqlApiPlan


def proto_files(plan: Plan) -> dict[str, str]:
    """File name → text: a KV API's rows, or the rows of each named query of a SQL API; a union has none of its own.

    The service is `millrace/v1/serving.proto`, the same for all APIs.
    """
    if isinstance(plan, KvPlan):
        return {f"{plan.api}.proto": proto_text(plan.asset, message_of(plan.asset, plan.fields))}
    found: dict[str, str] = {}
    for query in plan.queries.values() if isinstance(plan, SqlApiPlan) else ():
        name = f"{plan.api}_{query.name}"
        fields = [Field(column, number) for number, column in enumerate(query.columns, start=1)]
        found[f"{name}.proto"] = proto_text(name, message_of(name, fields))
    return found
