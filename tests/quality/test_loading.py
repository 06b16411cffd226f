"""Importing Great Expectations has no side effects that a person would notice. Each test has a process of its own."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_it_is_quiet_stays_off_the_network_and_leaves_the_process_alive() -> None:
    """PySpark ends a process without a main file (exit code 0) when Spark Connect is imported without its packages."""
    code = """
import sys, warnings

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise RuntimeError(f"{event}: {arguments}")

sys.addaudithook(refuse)
shown = warnings.showwarning
from millrace.quality import warm_up
warm_up()
warm_up()
assert warnings.showwarning is shown
assert "great_expectations" in sys.modules
print("alive")
"""
    assert run(code) == "alive"


def test_rarely_used_libraries_are_loaded_when_they_are_used() -> None:
    code = """
import sys
from millrace.quality import warm_up
warm_up()
print(sorted({"altair", "scipy.stats", "scipy.sparse"} & set(sys.modules)))
from great_expectations.expectations.core import expect_column_kl_divergence_to_be_less_than as divergence
print(round(divergence.stats.entropy([0.5, 0.5], [0.25, 0.75]), 3))
print(divergence.alt.Chart.__name__)
import scipy.sparse.linalg
from scipy import stats
print(stats.norm.cdf(0), stats is sys.modules["scipy.stats"])
"""
    assert run(code).split("\n") == ["[]", "0.144", "Chart", "0.5 True"]


def test_it_can_be_imported_by_several_threads_beside_pyspark() -> None:
    code = """
import threading
from millrace.quality import warm_up

failures = []

def attempt(work):
    try:
        work()
    except BaseException as error:
        failures.append(error)

def pyspark():
    from pyspark import SparkContext
    from pyspark.sql import SparkSession
    from pyspark.sql import functions
    import pandas, pyarrow

threads = [threading.Thread(target=attempt, args=(work,)) for work in (warm_up, pyspark, warm_up, pyspark)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(failures)
"""
    assert run(code) == "[]"
