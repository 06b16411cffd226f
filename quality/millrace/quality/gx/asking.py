"""Asking Great Expectations: first everything in one go, then for the rows that failed, where something did."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from great_expectations.validator.validator import Validator
from pyspark.logger import PySparkLogger

from millrace.quality.arguments import first_problem
from millrace.quality.duplicates import Proof
from millrace.quality.gx import metrics  # noqa: F401  # registers what is ours
from millrace.quality.gx.engine import StageEngine
from millrace.quality.samples import MAX_ROWS
from millrace.spec.model import JsonValue

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_INDEX = "millrace"
_SPARK_LOGGERS = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")
_TRACEBACK = "Traceback (most recent call last)"
_RAISED = re.compile(r"[A-Za-z_][\w.]*(: |$)")
_SUMMARY = {"result_format": "BASIC", "partial_unexpected_count": MAX_ROWS}
_ROWS = {**_SUMMARY, "include_unexpected_rows": True}
_QUERIED_ROWS = {"result_format": "COMPLETE"}
_QUERY = "unexpected_rows_expectation"
_UNIQUE = frozenset({"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"})


@dataclass(frozen=True)
class Question:
    """An expectation's snake_case type and its arguments; `told_apart` when it must be known which rows failed."""

    type: str
    arguments: Mapping[str, JsonValue]
    told_apart: bool = False


@dataclass(frozen=True)
class Answer:
    """`success` only when it was evaluated and holds; `result` is laid out as Great Expectations does.

    `condition` is true of the rows that failed a question whose rows are `told_apart`.
    """

    success: bool
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    condition: Column | None = None


def ask(frame: DataFrame, questions: Sequence[Question], rows: int | None, proof: Proof | None = None) -> list[Answer]:
    """An answer to each question. What can't be asked or evaluated is answered with its error.

    Raises what Spark raised when it went away or the job was cancelled: nothing is known of the data then.
    """
    engine = StageEngine(frame, rows, proof)
    try:
        with _quiet_spark():
            return _Session(engine).ask(questions)
    finally:
        engine.close()


class _Session:
    """One engine that remembers what it has answered, so that asking for more later costs only what is new."""

    def __init__(self, engine: StageEngine) -> None:
        self.engine = engine
        self.validator = Validator(execution_engine=engine)
        self.validator.metrics_calculator.show_progress_bars = False

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        refused = {i: first_problem(q.type, q.arguments) for i, q in enumerate(questions)}
        asked = {i: q for i, q in enumerate(questions) if refused[i] is None}
        self._start_counting(asked)
        answers = self._validate(asked, _SUMMARY)
        failed = {i: asked[i] for i, answer in answers.items() if not answer.success and answer.error is None}
        by_row = {i: q for i, q in failed.items() if answers[i].result.get("unexpected_count")}
        by_query = {i: q for i, q in failed.items() if q.type == _QUERY}
        rows = self._told_apart({i: q for i, q in by_row.items() if q.told_apart})
        rows |= self._validate({i: q for i, q in by_row.items() if not q.told_apart}, _ROWS)
        rows |= self._validate(by_query, _QUERIED_ROWS)
        return [
            Answer(False, error=refused[i]) if i not in asked else _with_rows(answers[i], rows.get(i))
            for i in range(len(questions))
        ]

    def _told_apart(self, questions: Mapping[int, Question]) -> dict[int, Answer]:
        """One by one, so that the condition is that of the question; rows of an equal one are known already."""
        found: dict[int, Answer] = {}
        for index, question in questions.items():
            self.engine.condition = None
            for key, answer in self._validate({index: question}, _ROWS).items():
                found[key] = replace(answer, condition=self.engine.condition)
        return found

    def _start_counting(self, questions: Mapping[int, Question]) -> None:
        for question in questions.values():
            if question.type in _UNIQUE and not question.arguments.get("row_condition"):
                self.engine.start_counting(_domain(question))

    def _validate(self, questions: Mapping[int, Question], result_format: Mapping[str, Any]) -> dict[int, Answer]:
        """Together; if that as a whole raises, one by one."""
        if not questions:
            return {}
        try:
            found = self._graph(questions, result_format)
        except Exception as error:  # of whichever expectation: it is asked again alone, and shows its own
            if len(questions) == 1:
                return {i: Answer(False, error=plain(str(error) or type(error).__name__)) for i in questions}
            found = {}
            for index, question in questions.items():
                found |= self._validate({index: question}, result_format)
        if self.engine.lost is not None:
            raise self.engine.lost
        silent = Answer(False, error="Great Expectations gave no result")
        return {i: found.get(i, silent) for i in questions}

    def _graph(self, questions: Mapping[int, Question], result_format: Mapping[str, Any]) -> dict[int, Answer]:
        results = self.validator.graph_validate(
            [ExpectationConfiguration(q.type, dict(q.arguments), meta={_INDEX: i}) for i, q in questions.items()],
            runtime_configuration={"catch_exceptions": True, "result_format": dict(result_format)},
        )
        return {r.expectation_config.meta[_INDEX]: _answer(r) for r in results if r.expectation_config is not None}


@contextmanager
def _quiet_spark() -> Iterator[None]:
    """PySpark prints a page of JSON for an expression that doesn't fit its column; the answer says it in a line."""

    def nothing(_: logging.LogRecord) -> bool:
        return False

    loggers = [PySparkLogger.getLogger(name) for name in _SPARK_LOGGERS]
    for logger in loggers:
        logger.addFilter(nothing)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(nothing)


def _domain(question: Question) -> dict[str, Any]:
    if "column" in question.arguments:
        return {"column": question.arguments["column"]}
    default = "all_values_are_missing"
    return {
        "column_list": list(question.arguments["column_list"]),
        "ignore_row_if": question.arguments.get("ignore_row_if", default),
    }


def _answer(result: Any) -> Answer:
    """Great Expectations may say `success` beside an exception, and nests exceptions by metric: either means failed."""
    error = _raised(result.exception_info)
    found = dict(result.result or {})
    queried = found.get("details", {}).get("unexpected_rows")  # where a query's rows stand
    if queried is not None:
        found["unexpected_rows"] = queried[:MAX_ROWS]
    return Answer(bool(result.success) and error is None, found, error)


def _raised(info: Any) -> str | None:
    if not isinstance(info, Mapping):
        return None
    if "raised_exception" in info:
        return plain(str(info.get("exception_message") or "unknown error")) if info["raised_exception"] else None
    return next((message for message in map(_raised, info.values()) if message is not None), None)


def _with_rows(answer: Answer, with_rows: Answer | None) -> Answer:
    """The verdict stays the first one; rows that can't be read are no reason to hide what was counted."""
    if with_rows is None:
        return answer
    if with_rows.error is not None:
        return Answer(False, answer.result, f"the rows can't be read: {with_rows.error}")
    return Answer(False, with_rows.result, condition=with_rows.condition)


def plain(message: str) -> str:
    """The line of a Spark or Python error that says what happened, without plan, stack and query context."""
    lines = [line for line in message.splitlines() if line.strip()] or [message]
    raised = [line for line in lines if _RAISED.match(line)] if _TRACEBACK in message else []
    coded = [line for line in lines if line.startswith("[")]
    causes = [line.partition("Caused by: ")[2] for line in lines if "Caused by: " in line]
    return (raised[-1:] or coded[:1] or causes[-1:] or lines)[0].partition(" SQLSTATE:")[0].strip()[:500]
