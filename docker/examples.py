"""Fill what the specs in `specs/` read: the table `users`, the topic `plays`, access logs. Again does nothing.

examples.py FOLDER: logs go to FOLDER/logs; the servers are those of MILLRACE_CONNECTION_MYSQL_MAIN and …_EVENTS.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import pymysql
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.data import access_log
from benchmarks.examples import PARTITIONS, PLAYS_TOPIC, USERS_TABLE, plays, users
from millrace.spec.connection import resolve


def fill_users() -> None:
    to = resolve("mysql_main", os.environ, Path("none"))
    link = pymysql.connect(
        host=to.host, port=to.port or 3306, user=to.user, password=to.password.value, database=to.path.strip("/")
    )
    with closing(link), link.cursor() as cursor:
        cursor.execute(USERS_TABLE)
        cursor.executemany("INSERT IGNORE INTO users VALUES (%s, %s, %s, %s, %s)", users())
        link.commit()


def fill_plays() -> None:
    to = resolve("events", os.environ, Path("none"))
    settings = {"bootstrap.servers": f"{to.host}:{to.port or 9092}"}
    admin = AdminClient(settings)
    if PLAYS_TOPIC in admin.list_topics(timeout=30).topics:
        return
    admin.create_topics([NewTopic(PLAYS_TOPIC, PARTITIONS, 1)])[PLAYS_TOPIC].result(30)
    producer = Producer(settings)
    for partition in range(PARTITIONS):
        for message in plays(partition):
            producer.produce(PLAYS_TOPIC, message, partition=partition)
    left = producer.flush(60)
    if left:
        sys.exit(f"{left} messages for {PLAYS_TOPIC} were not taken")


def write_logs(folder: Path) -> None:
    log = folder / "access.log"
    if not log.exists():
        folder.mkdir(parents=True, exist_ok=True)
        access_log(folder / "access.new", 20_000, seed=1, bad=0.0001, hosts=500)
        (folder / "access.new").rename(log)


if __name__ == "__main__":
    fill_users()
    fill_plays()
    write_logs(Path(sys.argv[1], "logs"))
