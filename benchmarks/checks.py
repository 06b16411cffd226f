"""Twenty checks of a million staged rows by Great Expectations, against the same aggregates in one query by hand.

    python -m benchmarks.checks [--rows N]

`checks`: all pass. `checks.failed`: three of them fail, so that the rows that failed are read too; the reference stays
the one query. Both sides count what breaks each check over the same Parquet in the same Spark session; by hand there is
no uniqueness among them, since it takes a shuffle and not an aggregate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import print_measure, rows_argument, side_by_side
from millrace.jobs.session import SessionHolder
from millrace.quality import run_checks, warm_up
from millrace.spec.model import Between, Check, Expectation, InSet, NotNull, RowCount
from millrace.spec.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ROUNDS = 5
COLUMNS = 6
CITIES = ("berlin", "paris", "rome")


def main() -> None:
    rows = rows_argument(__doc__, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        settings = Settings.from_env(
            {"MILLRACE_HOME": name, "MILLRACE_SPARK_CONF": "spark.driver.memory=2g spark.ui.enabled=false"}
        )
        with SessionHolder(settings) as session:
            spark = session.get()
            warm_up()
            path = str(Path(name) / "stage")
            values = ", ".join(f"cast(rand({n}) * 100 as int) as n{n}" for n in range(COLUMNS))
            city = f"element_at(array{CITIES}, cast(id % 3 as int) + 1) as city"
            spark.sql(f"select id, {values}, {city}, string(id) as name from range({rows})").write.parquet(path)
            frame = spark.read.parquet(path)
            for measure, most in (("checks", 100), ("checks.failed", 98)):
                checks = twenty(rows, most)
                seconds = side_by_side(
                    lambda checks=checks: run_checks(frame, checks, rows=rows),  # type: ignore[misc]  # its own default
                    lambda most=most: by_hand(frame, most),  # type: ignore[misc]  # its own default
                    ROUNDS,
                )
                print_measure(measure, rows / seconds.ours, rows / seconds.reference, "rows/s")


def twenty(rows: int, most: int) -> Sequence[Check]:
    """Three of these fail when `most` is less than 100."""
    bounds: list[Check] = [Between(f"n{n}", 0, most if n < 3 else 100) for n in range(COLUMNS)]
    means: list[Check] = [
        Expectation("expect_column_mean_to_be_between", {"column": f"n{n}", "min_value": 0, "max_value": 100})
        for n in range(COLUMNS - 1)
    ]
    found: list[Check] = [
        NotNull(("id", "name", "city", *(f"n{n}" for n in range(3)))),
        *bounds,
        *means,
        InSet("city", CITIES),
        Expectation("expect_column_values_to_match_regex", {"column": "name", "regex": "^[0-9]+$"}),
        RowCount(rows, rows, None),
    ]
    return found


def by_hand(frame: DataFrame, most: int) -> None:
    """What a person would write: how many rows break each check, the means, and the rows."""
    from pyspark.sql import functions as f

    def breaking(condition: Column) -> Column:
        return f.sum(f.when(condition, 1).otherwise(0))

    nulls = [breaking(f.col(name).isNull()) for name in ("id", "name", "city", "n0", "n1", "n2")]
    bounds = [breaking((f.col(f"n{n}") < 0) | (f.col(f"n{n}") > (most if n < 3 else 100))) for n in range(COLUMNS)]
    means = [f.avg(f"n{n}") for n in range(COLUMNS - 1)]
    others = [breaking(~f.col("city").isin(*CITIES)), breaking(~f.col("name").rlike("^[0-9]+$")), f.count(f.lit(1))]
    frame.agg(*[column.alias(f"c{i}") for i, column in enumerate([*nulls, *bounds, *means, *others])]).collect()


if __name__ == "__main__":
    main()
