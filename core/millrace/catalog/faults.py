"""What a database's error means for us, told by its code, and by its words only where there is none.

Codes: https://www.sqlite.org/rescode.html, https://mariadb.com/kb/en/mariadb-error-codes/,
https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Mapping
from enum import Enum

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from millrace.errors import ConfigError, MillraceError, RunFailed, TransientError


class Fault(Enum):
    BUSY = "another process holds a lock"  # rolled back for certain: do it again
    LOST = "the server is away or hung up"
    FULL = "no space is left for it"
    READ_ONLY = "it is read-only"
    REFUSED = "it can't be opened"
    DAMAGED = "the file is not a SQLite database, or is damaged"
    FAILING = "reading or writing its file failed"
    OTHER = "it refused the statement"


_MYSQL: Mapping[Fault, Collection[object]] = {
    Fault.BUSY: {1020, 1205, 1213, 3101, 3572},
    Fault.LOST: {1040, 1053, 1077, 1078, 1079, 1152, 1158, 1159, 1160, 1161, 1203, 1226, 1317, 1927, 2002, 2003}
    | {2006, 2013, 2014, 2055},
    Fault.FULL: {1021, 1114, 1041},
    Fault.READ_ONLY: {1036, 1290, 1792, 1836},
    Fault.REFUSED: {1044, 1045, 1049, 1142, 1143, 1227, 1251, 1698, 2005, 2026, 2061},
}
# PostgreSQL: whole codes, or classes of two characters. No code at all means that there was no connection.
_POSTGRES: Mapping[Fault, Collection[object]] = {
    Fault.BUSY: {"40001", "40P01", "55P03", "57014"},
    Fault.LOST: {"08", "57P01", "57P02", "57P03", "57P05", "53300", "53200", "25P03", "25P04"},
    Fault.FULL: {"53100", "53"},
    Fault.READ_ONLY: {"25006"},
    Fault.REFUSED: {"28", "3D", "3F", "42501", "0A000"},
}
_SQLITE: Mapping[Fault, Collection[object]] = {
    Fault.BUSY: {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL"},
    Fault.FULL: {"SQLITE_FULL"},
    Fault.READ_ONLY: {"SQLITE_READONLY"},
    Fault.REFUSED: {"SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH"},
    Fault.FAILING: {"SQLITE_IOERR"},
    Fault.DAMAGED: {"SQLITE_NOTADB", "SQLITE_CORRUPT"},
}
_HINTS = {
    Fault.BUSY: "run it again; if it stays so, a process that has stopped in the middle of a write holds the lock",
    Fault.LOST: "see whether the server runs and can be reached from here, then run it again",
    Fault.FULL: "free some space there, then run it again",
    Fault.READ_ONLY: "give this user the right to write it and its folder, or set MILLRACE_CATALOG to another place",
    Fault.REFUSED: "check the path or the database's name, the user, the password and the rights in MILLRACE_CATALOG",
    Fault.DAMAGED: "set MILLRACE_CATALOG to another file, or bring this one back from a backup",
    Fault.FAILING: "see the system's log for a failing disk, a lost network file system or a quota that is used up",
    Fault.OTHER: "if someone changed its tables by hand, bring them back from a backup; if not, please report this",
}


def classify(error: DBAPIError) -> Fault:
    """What kind of trouble this is. Anything unknown is OTHER, and is not tried again."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "") or ""
        return _first(_SQLITE, name, "_".join(name.split("_")[:2]))
    number = next(iter(getattr(cause, "args", ())), None)
    if isinstance(number, int):
        # pymysql raises InterfaceError(0, "") for a connection that it has closed itself.
        return Fault.LOST if error.connection_invalidated or number == 0 else _first(_MYSQL, number)
    code = getattr(cause, "sqlstate", None)
    if code is None and isinstance(error, OperationalError | InterfaceError):
        code = _of_refused_connection(str(cause))
    return _first(_POSTGRES, code, (code or "")[:2])


def explain(error: DBAPIError, what: str, shown: str, *, committing: bool = False) -> MillraceError:
    """The error to raise: what was being done, where, what the database said, and what to do next."""
    fault = classify(error)
    said = " ".join(str(part) for part in getattr(error.orig, "args", ()) if part).strip() or "no details"
    doubt = "; whether it was kept is not known" if committing and fault is Fault.LOST else ""
    message = f"{what}: catalog {shown}: {fault.value} ({' '.join(said.split())}){doubt}"
    match fault:
        case Fault.BUSY | Fault.LOST | Fault.FULL:
            return TransientError(message, hint=_HINTS[fault])
        case Fault.OTHER | Fault.FAILING:
            return RunFailed(message, hint=_HINTS[fault])
        case _:
            return ConfigError(message, hint=_HINTS[fault])


def _of_refused_connection(words: str) -> str:
    """The code that libpq keeps to itself when a server answers, and refuses, a new connection."""
    if "authentication failed" in words or "no password supplied" in words or "pg_hba.conf" in words:
        return "28000"
    return "3D000" if re.search(r'(database|role) ".*" does not exist', words) else "08001"


def _first(table: Mapping[Fault, Collection[object]], *codes: object) -> Fault:
    for code in codes:
        for fault, known in table.items():
            if code in known:
                return fault
    return Fault.OTHER
