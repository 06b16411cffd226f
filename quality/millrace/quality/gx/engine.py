"""Great Expectations' Spark engine over a stage: every aggregate in one query, duplicates counted without a window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from great_expectations.core.id_dict import IDDict
from great_expectations.exceptions.exceptions import MetricResolutionError
from great_expectations.execution_engine.sparkdf_execution_engine import SparkDFExecutionEngine
from great_expectations.expectations.registry import get_metric_provider
from pyspark.errors import AnalysisException
from pyspark.sql import functions as f
from pyspark.util import inheritable_thread_target

from millrace.quality.duplicates import Duplicates, Proof, count_duplicates, is_repeated, repeated_rows
from millrace.quality.lost import is_lost
from millrace.quality.samples import MAX_ROWS, row_as_json, shortened
from millrace.spec.model import JsonValue

if TYPE_CHECKING:
    from great_expectations.execution_engine.execution_engine import MetricComputationConfiguration
    from great_expectations.validator.metric_configuration import MetricConfiguration
    from pyspark.sql import Column, DataFrame

UNIQUE_METRICS = ("column_values.unique", "compound_columns.unique")
_ROWS = ".unexpected_rows"
_VALUES = ".unexpected_values"
_FAILED = "millrace_failed"
_SIDE_JOBS = 2

Answers = dict[Any, Any]
Domain = Mapping[str, Any]


class StageEngine(SparkDFExecutionEngine):
    """Answers metrics over one DataFrame, each once. Close it when done.

    Nothing is cached in Spark: a stage is Parquet, and reading a column of it again costs less than the memory.
    `known_rows` is the frame's number of rows when that was counted before; `proof` may spare a count of duplicates.
    Rows that failed are given as JSON, at most MAX_ROWS of them with long texts cut off, and their values not once more
    beside them.

    `lost` is set when Spark itself went away or the job was cancelled: then nothing is known of the data.
    """

    def __init__(self, frame: DataFrame, known_rows: int | None = None, proof: Proof | None = None) -> None:
        super().__init__(persist=False, spark=frame.sparkSession)
        self.load_batch_data("stage", frame)
        self.known_rows = known_rows
        self._proof = proof
        self.lost: BaseException | None = None
        self.condition: Column | None = None  # which rows failed the check whose rows were read last
        self._answers: Answers = {}
        self._failures: dict[Any, BaseException] = {}
        self._duplicates: dict[Any, Future[Duplicates]] = {}
        self._side_jobs = ThreadPoolExecutor(_SIDE_JOBS, thread_name_prefix="millrace-check")

    def close(self) -> None:
        """Start nothing more; does not wait for what runs."""
        self._side_jobs.shutdown(wait=False, cancel_futures=True)

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[MetricConfiguration],
        metrics: Answers | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> Answers:
        """Answer what can be answered now, from memory where it was asked before.

        The caller asks again until everything is answered or has failed three times. So aggregates wait until nothing
        else is asked for, and are then one query; and a metric that fails is not tried again and takes no other with
        it: the others are answered first, then a MetricResolutionError is raised for each that failed.
        """
        wanted = list(metrics_to_resolve)
        known = {**(metrics or {}), **self._answers}
        new = [m for m in wanted if m.id not in self._answers and m.id not in self._failures]
        for group in self._next(new):
            self._answer(group, known, runtime_configuration)
        if self.lost is not None:  # nothing is asked of Spark any more, and the caller must come to an end
            self._failures.update({m.id: self.lost for m in new if m.id not in self._answers})
        failed = [m for m in wanted if m.id in self._failures]
        if failed and not new:
            raise MetricResolutionError(_message(self._failures[failed[0].id]), failed_metrics=failed[:1])
        return {m.id: self._answers[m.id] for m in wanted if m.id in self._answers}

    def resolve_metric_bundle(self, metric_fn_bundle: Iterable[MetricComputationConfiguration]) -> Answers:
        """Compute aggregates in one query. Those that are why it fails are left out and remembered as failed."""
        bundle = list(metric_fn_bundle)
        if self.lost is not None or not bundle:
            return {}
        try:
            return super().resolve_metric_bundle(bundle)
        except AnalysisException as error:
            sound = [c for c in bundle if self._analyses(c)]
            if len(sound) == len(bundle):  # each alone is sound, all together are not
                return self._halves(bundle, error)
            return self.resolve_metric_bundle(sound)
        except Exception as error:  # a value that the expression can't take, found while it ran
            return self._halves(bundle, error)

    def duplicates(self, domain: Domain) -> Duplicates:
        """How many rows of a `column` or `column_list` domain share its values; waits for the count."""
        return self.start_counting(domain).result()

    def start_counting(self, domain: Domain) -> Future[Duplicates]:
        """Begin to count duplicates beside what else is asked. A second call gives the same count."""
        relevant = {key: value for key, value in domain.items() if value is not None and key != "batch_id"}
        key = IDDict(relevant).to_id()
        if key not in self._duplicates:
            count = inheritable_thread_target(self.spark)(self._count_duplicates)
            self._duplicates[key] = self._side_jobs.submit(count, relevant)
        return self._duplicates[key]

    def records(self, domain: Domain) -> DataFrame:
        """The rows of a domain; for a single column those where it is not null."""
        frame: DataFrame = self.get_domain_records(dict(domain))
        return frame.filter(f.col(domain["column"]).isNotNull()) if "column" in domain else frame

    def _next(self, metrics: list[MetricConfiguration]) -> list[list[MetricConfiguration]]:
        """Those that are no aggregates, one by one; all aggregates together when there is nothing else.

        In a fixed order: they come as a set, and Spark compiles a query anew when its columns are in another order.
        """
        ordered = sorted(metrics, key=lambda m: str(m.id))
        single = [[m] for m in ordered if get_metric_provider(m.metric_name, self)[1] is not None]
        return single or [ordered]

    def _count_duplicates(self, domain: Domain) -> Duplicates:
        values = self._proof(domain["column"]) if self._proof and set(domain) == {"column"} else None
        if values is not None:
            return Duplicates(values, 0)
        return count_duplicates(self.records(domain), key_columns(domain))

    def _answer(
        self, group: list[MetricConfiguration], known: Answers, runtime_configuration: dict[str, Any] | None
    ) -> None:
        if not group or self.lost is not None:
            return
        name = group[0].metric_name
        try:
            if name.endswith(_VALUES):
                self._answers[group[0].id] = []
            elif name.endswith(_ROWS):
                self._answers[group[0].id] = self._failed_rows(group[0], known)
            else:
                self._answers.update(super().resolve_metrics(group, known, runtime_configuration))
        except Exception as error:  # of any kind: the check whose metric this is has failed, and shows it
            self._fail(group[0].id, error.__cause__ or error)

    def _failed_rows(self, metric: MetricConfiguration, known: Answers) -> list[dict[str, JsonValue]]:
        name = metric.metric_name.removesuffix(_ROWS)
        if name in UNIQUE_METRICS:
            domain = dict(metric.metric_domain_kwargs)
            rows = repeated_rows(self.records(domain), key_columns(domain))
            self.condition = is_repeated(key_columns(domain))
        else:
            condition, compute, accessor = known[metric.metric_dependencies["unexpected_condition"].id]
            self.condition = condition
            frame = self.get_domain_records({**compute, **accessor})
            rows = frame.withColumn(_FAILED, condition).filter(f.col(_FAILED)).drop(_FAILED)
        sample = rows.limit(MAX_ROWS).select(*shortened(rows.schema))
        return [row_as_json(row, sample.schema) for row in sample.collect()]

    def _analyses(self, aggregate: MetricComputationConfiguration) -> bool:
        try:
            self.get_domain_records(dict(aggregate.compute_domain_kwargs or {})).agg(aggregate.metric_fn)
        except AnalysisException as error:
            self._fail(aggregate.metric_configuration.id, error)
            return False
        return True

    def _halves(self, bundle: list[MetricComputationConfiguration], error: Exception) -> Answers:
        if len(bundle) == 1 or is_lost(error):
            self._fail(bundle[0].metric_configuration.id, error)
            return {}
        middle = len(bundle) // 2
        return {**self.resolve_metric_bundle(bundle[:middle]), **self.resolve_metric_bundle(bundle[middle:])}

    def _fail(self, metric_id: Any, error: BaseException) -> None:
        self._failures[metric_id] = error
        if is_lost(error):
            self.lost = error


def key_columns(domain: Domain) -> list[str]:
    """The columns that a domain compares: its `column_list`, or its one `column`."""
    return list(domain["column_list"]) if "column_list" in domain else [domain["column"]]


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__
