"""A connection to a Druid's coordinator and broker, with its errors as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millrace.connectors.druid.endpoint import Endpoint, lost, refused
from millrace.errors import MillraceError

if TYPE_CHECKING:
    import httpx

SQL_PATH = "/druid/v2/sql"
CONNECT_S = 10.0
_ANSWER_S = 120.0
#: Distinct counts are exact unless a sketch is asked for; times come as ISO texts, arrays as arrays.
CONTEXT: Mapping[str, Any] = {
    "useApproximateCountDistinct": False,
    "useApproximateTopN": False,
    "useGroupingSetForExactDistinct": True,
    "sqlTimeZone": "UTC",
    "sqlStringifyArrays": False,
}


class Link:
    """One client. Its methods raise TransientError, TargetError or NotFound, saying `doing`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client: httpx.Client | None = None

    def get(self, doing: str, path: str) -> Any:
        """What the coordinator or overlord answers; None when it knows no such thing."""
        return self._answer(doing, "GET", path, None)

    def post(self, doing: str, path: str, body: Any) -> Any:
        return self._answer(doing, "POST", path, body)

    def delete(self, doing: str, path: str) -> Any:
        """Unknown things are no error."""
        return self._answer(doing, "DELETE", path, None)

    def sql(self, doing: str, query: str, params: Sequence[Mapping[str, Any]] = ()) -> list[list[Any]]:
        """A query's rows, as JSON has their values."""
        body = {"query": query, "parameters": list(params), "resultFormat": "array", "context": dict(CONTEXT)}
        found: list[list[Any]] = self._send(doing, self.endpoint.broker, "POST", SQL_PATH, body).json()
        return found

    def close(self) -> None:
        """Free the connections. A second call does nothing."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _answer(self, doing: str, method: str, path: str, body: Any) -> Any:
        answer = self._send(doing, self.endpoint.coordinator, method, path, body)
        if answer.status_code == 404 or not answer.content.strip():
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise refused(answer.status_code, answer.content, doing, self.endpoint) from error

    def _send(self, doing: str, base: str, method: str, path: str, body: Any) -> httpx.Response:
        import httpx

        from millrace.connectors.druid.login import Login

        if self._client is None:
            self._client = httpx.Client(
                auth=Login(self.endpoint),
                headers={"Accept": "application/json"},
                verify=self.endpoint.verify(),
                timeout=httpx.Timeout(min(_ANSWER_S, self.endpoint.timeout_s), connect=CONNECT_S),
            )
        try:
            answer = self._client.request(method, base + path, json=body)
        except httpx.HTTPError as error:
            raise lost(error, doing, self.endpoint, base) from error
        missing = answer.status_code == 404 and base == self.endpoint.coordinator and method != "POST"
        if answer.status_code >= 300 and not missing:
            problem: MillraceError = refused(answer.status_code, answer.content, doing, self.endpoint)
            raise problem
        return answer
