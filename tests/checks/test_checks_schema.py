"""A schema of answers: what it takes, what it says, and what it refuses to be."""

import time
from typing import Any

import pytest

from lineclear.checks.answer_schema import SCHEMA_NODES_MAX, AnswerSchema, SchemaMistake

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 3},
    },
    "required": ["order"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"count": {"minimum": 1}}}},
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"order":"AB-12"}', ""),
        ('{"order":"AB-12","lines":[{"sku":"a","count":2}]} ', ""),
        ('{"order":"ab-12"}', "`pattern` is not met at /order"),
        ("{}", "`required` is not met at /"),
        ('{"order":"AB-1","more":1}', "`additionalProperties` is not met at /"),
        ('{"order":"AB-1","lines":[{"sku":"a"},{"sku":"b","count":0}]}', "`minimum` is not met at /lines/1/count"),
        ("[]", "`type` is not met at /"),
        ("Sure! Here it is: {}", "it is not JSON"),
        ("", "it is not JSON"),
        ('{"order": NaN}', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
def test_says_where_an_answer_breaks_it(text: str, words: str) -> None:
    assert AnswerSchema(ORDER).mistake(text) == words


def test_never_repeats_what_an_answer_says() -> None:
    assert "secret" not in AnswerSchema({"const": 1}).mistake('"a secret of somebody"')


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "strin"}, "strin"),
        ({"$ref": "https://example.com/schema"}, "not supported"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"}, "refers to itself"),
        ({"properties": {"child": {"$ref": "#"}}}, "refers to itself"),
        ({"$dynamicRef": "#node"}, "not supported"),
        ({"pattern": "(a)\\1"}, "regex"),
        ({"pattern": "a(?=b)"}, "regex"),
        ({"enum": ["x" * 70_000]}, "bytes"),
        ({"properties": {f"p{n}": {} for n in range(SCHEMA_NODES_MAX)}}, "subschemas"),
        ({"minimum": "one"}, "one"),
    ],
)
def test_refuses_what_it_could_not_check(schema: dict[str, Any], words: str) -> None:
    with pytest.raises(SchemaMistake, match=words):
        AnswerSchema(schema)


def test_references_that_double_are_counted() -> None:
    doubling = {f"s{n}": {"allOf": [{"$ref": f"#/$defs/s{n + 1}"}] * 2} for n in range(30)}
    with pytest.raises(SchemaMistake, match="subschemas"):
        AnswerSchema({"$ref": "#/$defs/s0", "$defs": {**doubling, "s30": {}}})


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"pattern": "^(a+)+$"}, '"' + "a" * 500_000 + 'b"'),
        ({"uniqueItems": True}, "[" + ",".join(f"{n}" for n in range(100_000)) + "]"),
        ({"items": {"anyOf": [{"const": n} for n in range(400)]}}, "[" + "1000," * 2_000 + "1]"),
    ],
)
def test_a_check_has_a_bound(schema: dict[str, Any], text: str) -> None:
    compiled = AnswerSchema(schema)
    began = time.perf_counter()
    compiled.mistake(text)
    assert time.perf_counter() - began < 2.0


def test_too_much_work_does_not_pass() -> None:
    compiled = AnswerSchema({"items": {"anyOf": [{"const": n} for n in range(1_000)]}})
    assert compiled.mistake("[" + "1," * 100_000 + "1]") == "it is too large to be checked"
