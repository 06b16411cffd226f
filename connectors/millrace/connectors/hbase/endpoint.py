"""Where an HBase is, and what its errors mean. Pure.

    hbase://THRIFT-HOST:9090/NAMESPACE?transport=framed&timeout=60s
    hbase://THRIFT-HOST:9090/?hbase_home=/opt/hbase&staging=hdfs://nameservice/tmp/millrace

Thrift is enough for everything but the bulk path and tables that are split beforehand: those go through HBase's own
Java client, whose jars and configuration the driver finds by `hbase_home` or `classpath`; `staging` is a folder of
HBase's own file system, which Spark's workers may write to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace.errors import ConfigError, MillraceError, TargetError, TransientError
from millrace.spec.connection import Connection
from millrace.spec.connection_params import known_params, timeout_s

DEFAULT_PORT = 9090
DEFAULT_TIMEOUT_S = 120.0
PARAMS = ("transport", "timeout", "hbase_home", "classpath", "staging", "zookeeper")
_TRANSPORTS = ("buffered", "framed")
_SHOWN_CHARACTERS = 400
#: What an HBase exception's name means for a run, and what to do; the first one that the text holds counts.
_TARGET_HINTS: Mapping[str, str] = {
    "TableNotFoundException": "the table is gone: somebody has dropped it. Run the spec again",
    "NamespaceNotFoundException": "create the namespace first: `create_namespace 'NAME'` in the HBase shell",
    "NoSuchColumnFamilyException": "somebody has altered the table: run the spec again to load a new version",
    "AccessDeniedException": "let the user of the Thrift server create, write and delete these tables",
    "IllegalArgument": "",
    "DoNotRetryIOException": "",
}
_TRANSIENT = ("TableNotEnabledException", "TableNotDisabledException", "PleaseHoldException", "MasterNotRunning")


@dataclass(frozen=True)
class Endpoint:
    """One HBase by its Thrift server. Picklable: tasks on other machines use it as it is."""

    name: str
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    namespace: str = ""
    framed: bool = False
    timeout_s: float = DEFAULT_TIMEOUT_S
    class_path: str = ""  # of HBase's Java client, on the driver's machine
    staging: str = ""
    zookeeper: str = ""  # host:port,… where it isn't in an hbase-site.xml of the class path

    def __str__(self) -> str:
        return f"{self.name} (hbase://{self.host}:{self.port}/{self.namespace})"

    @property
    def has_java(self) -> bool:
        return bool(self.class_path)

    @property
    def bulk(self) -> bool:
        """Whether whole files can be loaded."""
        return self.has_java and bool(self.staging)


@dataclass(eq=False)
class Refusal(Exception):
    """What the Thrift server answers in place of a result. `kind` is the exception's name in Hbase.thrift."""

    kind: str
    text: str
    may_pass: bool | None = None  # whether HBase itself would try again; None: not said

    @property
    def of_rows(self) -> bool:
        """Whether some row of the call may be to blame: a value too large, a cell that HBase can't take."""
        return self.kind == "IllegalArgument" or "exceeds limit" in self.text or "too large" in self.text

    @property
    def table_is_gone(self) -> bool:
        return any(name in self.text for name in ("TableNotFoundException", "TableNotEnabledException"))

    @property
    def summary(self) -> str:
        """The exception's own words, without the stack."""
        lines = [line for line in self.text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
        return (lines[0].strip() if lines else self.kind)[:_SHOWN_CHARACTERS]


def endpoint_of(connection: Connection) -> Endpoint:
    """The endpoint of a connection. Raises ConfigError for a scheme or parameter that HBase doesn't have."""
    if connection.scheme != "hbase":
        raise ConfigError(
            f"connection {connection} is not an HBase one",
            hint="write hbase://HOST:9090/ with the host and port of HBase's Thrift server",
        )
    if connection.user or connection.password:
        raise ConfigError(
            f"connection {connection} has a user or password, which HBase's Thrift server has no place for",
            hint="leave it out; the Thrift server itself logs in to HBase",
        )
    params = known_params(connection, PARAMS)
    transport = params.get("transport", "buffered")
    if transport not in _TRANSPORTS:
        raise ConfigError(
            f"connection {connection}: unknown transport '{transport}'",
            hint=f"it is one of {', '.join(_TRANSPORTS)}, as the Thrift server was started",
        )
    return Endpoint(
        name=connection.name,
        host=connection.host,
        port=connection.port or DEFAULT_PORT,
        namespace=connection.database,
        framed=transport == "framed",
        timeout_s=timeout_s(connection, params, DEFAULT_TIMEOUT_S),
        class_path=_class_path(params),
        staging=params.get("staging", "").rstrip("/"),
        zookeeper=params.get("zookeeper", ""),
    )


def lost(error: BaseException, doing: str, endpoint: Endpoint) -> MillraceError:
    """What a run does about a connection that could not be made, or broke."""
    if isinstance(error, TimeoutError):
        return TransientError(
            f"{doing} in {endpoint}: no answer within {endpoint.timeout_s:g}s",
            hint="is a region server away? See HBase's log; `?timeout=5m` in the URL waits for longer, and"
            " `?transport=framed` is needed when the Thrift server is framed",
        )
    return TransientError(
        f"{doing} in {endpoint}: it can't be reached: {str(error) or type(error).__name__}",
        hint="is HBase's Thrift server running there?",
    )


def store_error(refusal: Refusal, doing: str, endpoint: Endpoint) -> MillraceError:
    """What a run does about a refusal: TransientError when it may pass, else TargetError, in HBase's words."""
    message = f"{doing} in {endpoint}: HBase says '{refusal.summary}'"
    for name, hint in _TARGET_HINTS.items():
        if name in refusal.text or name == refusal.kind:
            return TargetError(message, hint=hint)
    if refusal.may_pass is False and not any(name in refusal.text for name in _TRANSIENT):
        return TargetError(message)
    return TransientError(message, hint="see the logs of HBase's master and region servers")


def _class_path(params: Mapping[str, str]) -> str:
    if params.get("classpath"):
        return params["classpath"]
    home = params.get("hbase_home", "").rstrip("/")
    return f"{home}/conf:{home}/lib/*:{home}/lib/client-facing-thirdparty/*" if home else ""
