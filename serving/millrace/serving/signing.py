"""The key by which cursors are signed: one file that all servers of an installation share."""

from __future__ import annotations

import contextlib
import os
import secrets

from millrace.errors import ConfigError
from millrace.spec.settings import Settings

_LEAST_BYTES = 16


def signing_key(settings: Settings) -> bytes:
    """The key in `settings.signing_key_file`, made when there is none. Safe to call from several processes at once.

    Raises ConfigError when the file can't be read or made, or holds fewer than 16 bytes.
    """
    file = settings.signing_key_file
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
                made.write(secrets.token_hex(32).encode())
            with contextlib.suppress(FileExistsError):  # another process was quicker: its key holds
                os.link(draft, file)
            draft.unlink()
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"the key that signs cursors, {file}, can't be read: {error.strerror}",
            hint="name a readable file in MILLRACE_SIGNING_KEY_FILE, the same content on all servers",
        ) from error
    if len(key) < _LEAST_BYTES:
        raise ConfigError(f"the key that signs cursors, {file}, has fewer than {_LEAST_BYTES} bytes")
    return key
