"""The catalog's URL: checked, completed with a driver, and shown without its password."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from millrace.errors import ConfigError

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
_FORMS = (
    "sqlite:////path/to/catalog.db, mysql+pymysql://user:password@host:3306/database "
    "or postgresql+psycopg://user:password@host:5432/database"
)
_SECRET_WORDS = ("password", "passwd", "secret", "token", "key")


@dataclass(frozen=True)
class Address:
    """Where the catalog is. `shown` is for messages: it never holds a secret."""

    url: URL
    shown: str

    @property
    def dialect(self) -> str:
        return self.url.get_backend_name()

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for a server."""
        name = self.url.database or ""
        return Path(name) if self.dialect == "sqlite" and not name.startswith("file:") else None


def parse(text: str) -> Address:
    """Raises ConfigError, without the text itself, for anything that can't be a catalog."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigError("the catalog's URL can't be read", hint=f"MILLRACE_CATALOG is e.g. {_FORMS}") from error
    backend = url.get_backend_name()
    driver = _DRIVERS.get(backend)
    if driver is None or ("+" in url.drivername and url.drivername != driver):
        raise ConfigError(f"a catalog can't be kept in '{url.drivername}'", hint=f"MILLRACE_CATALOG is e.g. {_FORMS}")
    url = url.set(drivername=driver)
    if not url.database or url.database == ":memory:":
        raise ConfigError(
            f"the catalog's URL {_shown(url)} names no {'file' if backend == 'sqlite' else 'database'}",
            hint=f"MILLRACE_CATALOG is e.g. {_FORMS}; the processes of a run share it, so it can't be in memory",
        )
    shown = _shown(url)
    if backend in {"mysql", "mariadb"}:
        url = url.update_query_dict({"charset": "utf8mb4"})
    return Address(url, shown)


def _shown(url: URL) -> str:
    hidden = {k: "***" if any(word in k.lower() for word in _SECRET_WORDS) else v for k, v in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True)
