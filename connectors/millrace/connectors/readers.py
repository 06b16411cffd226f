"""The contract of a store's serving side, asyncio: readers by key and by SQL, which its `TargetRole` names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from millrace.connectors.base import Field
from millrace.spec.types import DataType

if TYPE_CHECKING:
    import pyarrow as pa


class KeyReader(Protocol):
    """Serving side of a store with lookups: follows the store's own pointer, one instance an asset and process.

    Made as `Reader(connection, asset)` from `TargetRole.reader`; used from one asyncio loop. A call sees one version
    from its beginning to its end: the one that was current when it began, or a later one.
    """

    async def open(self) -> None:
        """Connect, and read the pointer; no error when nothing is published yet."""

    async def get(self, key: Any) -> Mapping[str, Any] | None:
        """The row with this key as column → Python value, or None. A composite key is a tuple in the template's order.

        Raises NotFound when the asset has no published version, TransientError when the store can't be reached,
        ValueError for a key that doesn't fit.
        """

    async def multi_get(self, keys: Sequence[Any]) -> Sequence[Mapping[str, Any] | None]:
        """One answer for each key, in order, all from one version."""

    @property
    def version(self) -> str:
        """The id of the version that answers now. Raises NotFound when there is none."""

    async def close(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Form:
    """How the rows of one version are stored. Made once for each version: equal only to itself.

    `encoding` is what a row's stored bytes are, e.g. `protobuf` (`wire.protobuf`), `json`, `msgpack`, or `row` where
    there are none of a whole row: stored is then what `decode` takes. `key` gives the bytes that a key is stored under,
    the version among them; `text_key` the same for a key of one column as text. Both raise ValueError for a misfit.
    """

    version: str
    fields: tuple[Field, ...]
    key_columns: tuple[str, ...]
    encoding: str
    key: Callable[[Any], bytes]
    text_key: Callable[[bytes], bytes]
    decode: Callable[[Any], Mapping[str, Any]]
    number_keys: Callable[[bytes], list[bytes] | None] | None = None  # of `1, 22, 333`; None for more than numbers

    def keys(self, keys: Sequence[Any]) -> list[bytes]:
        """`key` of each."""
        return [*map(self.key, keys)]

    def text_keys(self, texts: Sequence[bytes]) -> list[bytes]:
        """`text_key` of each."""
        return [*map(self.text_key, texts)]


class StoredReader(Protocol):
    """What a `KeyReader` can do besides when it can give rows as they are stored, which spares decoding them."""

    @property
    def form(self) -> Form:
        """Of the version that lookups see now. Raises NotFound when there is none."""

    async def fetch(self, form: Form, key: Any, stored_key: bytes) -> tuple[Form, Any]:
        """The row under `form.key(key)`, None when there is none; and its form, a later one if there was a flip."""

    async def fetch_all(
        self, form: Form, keys: Sequence[Any], stored_keys: Sequence[bytes] = ()
    ) -> tuple[Form, Sequence[Any]]:
        """The rows under many keys, all of one version. `stored_keys` is `form.keys(keys)` if that is made already."""


class OrderedReader(Protocol):
    """What a `KeyReader` of a store with ordered keys can do besides; lookups `range` and `prefix` in its role."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of a key, in the order of its parts. Raises NotFound when nothing is published."""

    async def floor(self, key: Any) -> Mapping[str, Any] | None:
        """The row with the greatest key that is not above this one; of a composite key, with all parts but the last
        equal. The serving side then compares the row's own end: this is the first half of a range lookup."""

    async def scan(self, prefix: Sequence[Any], limit: int, after: Any = None) -> Sequence[Mapping[str, Any]]:
        """At most `limit` rows in the order of their keys, whose first key columns equal `prefix`, beyond the key
        `after`, all from one version."""


class WholeReader(Protocol):
    """What a `KeyReader` can do besides when it can give all of its rows; lookup `rows` in its role."""

    def all_rows(self, form: Form) -> AsyncIterator[Sequence[Any]]:
        """Every row of a form's version as it is stored, some at a time, in any order; one may come twice."""


class SqlResult(Protocol):
    """A query's answer: its columns by name, and its rows as Python values."""

    @property
    def columns(self) -> Sequence[str]: ...

    @property
    def rows(self) -> Sequence[Sequence[Any]]: ...


@dataclass(frozen=True)
class SqlTable:
    """Where the rows of one version of an asset are queried: the parts of the table's name, the last one its own.

    `version` is empty where the table has none: then it changes under its readers. `renamed` are columns that are
    called otherwise there: the asset's name for it, the table's. Of its rows, only those count that meet `where`, a
    condition in the store's own words.
    """

    version: str
    parts: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()
    where: str = ""


class SqlReader(Protocol):
    """Serving side of a store with SQL. Made as `Reader(connection)`; used from one asyncio loop.

    Raises NotFound for a version that is gone, TransientError when the store can't be reached or took too long, and
    TargetError for what it refuses. A call that is cancelled ends its statement in the store.
    """

    @property
    def dialect(self) -> str:
        """Whose SQL it speaks, and with that how parameters are written: clickhouse, druid or mysql."""

    async def open(self) -> None: ...

    async def table(self, asset: str, options: Mapping[str, Any], version: str | None = None) -> SqlTable:
        """Where the rows of a version are: the current one's, known for at most a second, or of one by its id.

        Raises NotFound when nothing is published; whether a version by its id is still there, the query tells.
        """

    async def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType] = (),
        timeout_s: float | None = None,
    ) -> SqlResult:
        """Run a query; `params` are bound by the store or its driver, never put into the text here.

        With `types`, the columns' values are those of these types: ints, floats, Decimals, str, bytes, dates, times.
        """

    def stream(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        types: Sequence[DataType],
        timeout_s: float | None = None,
    ) -> AsyncIterator[pa.RecordBatch]:
        """A query's rows as Arrow, batch by batch, as they come: memory doesn't grow with them.

        Close the iterator to end the statement before its end.
        """

    async def close(self) -> None: ...
