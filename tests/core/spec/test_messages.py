"""pydantic's errors in our words, also those of connectors that others write with all of pydantic's means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, ValidationError, field_validator

from millrace.spec.document import read_document
from millrace.spec.messages import problems


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 0
    kind: Literal["a"] = "a"


class Other(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int
    kind: Literal["b"] = "b"


class Sample(BaseModel):
    model_config = ConfigDict(extra="forbid")

    either: int | bool | list[str] = 0
    models: Inner | Other = Inner()
    tagged: Annotated[Inner | Other, Field(discriminator="kind")] = Inner()
    by_name: dict[str, Inner] = {}
    by_word: Mapping[str, Sequence[Inner]] = {}
    items: set[int] = set()
    renamed: int = Field(default=0, alias="from")
    number: float = 0
    exact: Decimal = Decimal(0)
    flag: bool = False
    when: datetime = datetime(2026, 1, 1)
    url: AnyUrl | None = None
    file: Path = Path()
    nothing: None = None
    even: Annotated[int, Field(multiple_of=2)] = 0
    code: Annotated[str, Field(pattern="^[A-Z]+$", max_length=3)] = "A"
    odd: int = 1
    callback: Any = None

    @field_validator("odd")
    @classmethod
    def _is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} is not odd")
        assert value < 100, "too odd"
        return value


def messages(text: str) -> list[str]:
    document = read_document(text, "x.yaml", {"N": "secret"})
    with pytest.raises(ValidationError) as caught:
        Sample.model_validate(document.data)
    found = document.diagnostics(problems(caught.value, Sample, document))
    return [str(d).removeprefix("x.yaml:") for d in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("either: x", "1:9: expected a whole number or true or false or a list, got 'x'"),
        ("number: x", "1:9: expected a number, got 'x'"),
        ("exact: x", "1:8: expected a number, got 'x'"),
        ("flag: maybe", "1:7: expected true or false, got 'maybe'"),
        ("flag: ${N}", "1:7: expected true or false, got the value of ${N}"),
        ("when: soon", "1:7: expected a time such as '2026-01-31T12:00:00Z', got 'soon'"),
        ("url: x", "1:6: expected a URL, got 'x'"),
        ("file: 5", "1:7: expected a path, got the number 5"),
        ("nothing: 5", "1:10: expected nothing, got the number 5"),
        ("even: 3", "1:7: expected a multiple of 2, got the number 3"),
        ("code: a", "1:7: expected a text that matches ^[A-Z]+$, got 'a'"),
        ("code: ABCD", "1:7: expected at most 3 characters"),
        ("odd: 4", "1:6: 4 is not odd"),
        ("odd: 101", "1:6: too odd"),
        ("from: x", "1:7: expected a whole number, got 'x'"),
        ("form: 1", "1:1: unknown key 'form', did you mean 'from'?"),
        ("by_name: {a: {sise: 1}}", "1:15: unknown key 'sise', did you mean 'size'?"),
        ("by_name: {a: {size: [1, 2]}}", "1:21: expected a whole number, got a list"),
        ("by_word: {a: [{sise: 1}]}", "1:16: unknown key 'sise', did you mean 'size'?"),
        ("items: [1, x]", "1:12: expected a whole number, got 'x'"),
        ("items: 5", "1:8: expected a list, got the number 5"),
        ("number: {a: 1}", "1:9: expected a number, got a mapping"),
        ("tagged: {kind: c}", "1:9: expected 'kind' to be one of 'a', 'b', got 'c'"),
        ("tagged: {}", "1:9: missing required key 'kind'"),
        ("tagged: {kind: b}", "1:1: missing required key 'width' of tagged"),
        ("tagged: {kind: b, width: x}", "1:26: expected a whole number, got 'x'"),
    ],
)
def test_every_kind_of_error_has_words_of_ours_and_its_place(text: str, expected: str) -> None:
    found = messages(text)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


TAGGED = ["models: {sise: 1}", "models: {kind: c}", "models: 5", "tagged: {kind: c}", "tagged: {}", "tagged: 5"]


@pytest.mark.parametrize("text", TAGGED)
def test_pydantics_own_tags_and_addresses_never_show(text: str) -> None:
    for message in messages(text):
        for word in ("Inner", "Other", "pydantic", "type=", "function-", "input_value", "tag"):
            assert word not in message.replace("of tagged", "")
