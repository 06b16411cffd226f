"""What the specs in `specs/` read, made up: users in MySQL, plays in Kafka. The same each time."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Iterator

USERS = 10_000
PLAYS = 20_000
PLAYS_TOPIC = "plays"
PARTITIONS = 4
USERS_TABLE = (
    "CREATE TABLE IF NOT EXISTS users (id BIGINT PRIMARY KEY, name VARCHAR(100) NOT NULL, city VARCHAR(50),"
    " age TINYINT, updated_at DATETIME NOT NULL)"
)
_CITIES = ("aachen", "bergen", "cadiz", "delft", "essen", "faro", "ghent", "hull")
_COUNTRIES = ("de", "es", "gb", "nl", "no", "pt")
_NEW_YEAR = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_SECOND = datetime.timedelta(seconds=1)

User = tuple[int, str, str, int, datetime.datetime]


def users() -> list[User]:
    """Rows of the table `users`, in the order of its columns."""
    chance = random.Random(1)
    return [
        (number, f"user {number}", chance.choice(_CITIES), chance.randint(0, 99), _NEW_YEAR + number * _SECOND)
        for number in range(1, USERS + 1)
    ]


def plays(partition: int) -> Iterator[bytes]:
    """Messages of one of the topic's partitions, JSON."""
    chance = random.Random(partition)
    first_ms = int(_NEW_YEAR.timestamp() * 1000)
    for number in range(PLAYS // PARTITIONS):
        message = {
            "user_id": chance.randint(1, USERS),
            "song": f"song {chance.randint(1, 500)}",
            "country": chance.choice(_COUNTRIES),
            "at": first_ms + number * 1000,
        }
        yield json.dumps(message).encode()
