"""Datasets: what a line may say, what versions there are, whose they are, and that they are sealed."""

import json
from pathlib import Path

import pytest

from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.replays.answer_text import answer_text, error_of
from lineclear.control.replays.dataset_file import CASES_MAX, InvalidDataset, read_cases
from lineclear.control.replays.datasets import Datasets
from lineclear.domain.exchange import Operation
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.manifests import SUPPORT

QUESTIONS = b'{"text": "one"}\n\n{"id": "two", "request": {"messages": []}, "expected": 2}\n'

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"b":1, "a":2}'}}
MESSAGE = {"type": "message", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}


def lines(*values: object) -> bytes:
    return b"\n".join(json.dumps(value).encode() for value in values)


def test_a_line_is_a_case() -> None:
    first, second = read_cases(QUESTIONS)
    assert (first.id, first.operation) == ("1", Operation.CHAT)
    assert first.request == {"messages": [{"role": "user", "content": "one"}]}
    assert (second.id, second.request, second.expected) == ("two", {"messages": []}, 2)
    (third,) = read_cases(lines({"text": "x", "operation": "embeddings", "variables": {"shop": "A"}, "task": "t"}))
    assert (third.request, third.variables, third.task) == ({"input": "x"}, {"shop": "A"}, "t")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1 to 10000 cases"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"[1]", "a JSON object"),
        (lines({}), "either `request` or `text`"),
        (lines({"text": "a", "request": {}}), "either `request` or `text`"),
        (lines({"text": ""}), "not empty"),
        (lines({"text": "a", "colour": 1}), "unknown field 'colour'"),
        (lines({"request": {"model": "x"}}), "request.model has no place"),
        (lines({"request": {"stream": True}}), "request.stream has no place"),
        (lines({"request": []}), "the JSON object of a call"),
        (lines({"text": "a", "operation": "sing"}), "operation 'sing'"),
        (lines({"text": "a", "operation": []}), "operation []"),
        (lines({"text": "a", "id": 3}), "id is a text"),
        (lines({"text": "a", "id": "x"}, {"text": "b", "id": "x"}), "stands in line 1 already"),
        (lines({"text": "a", "variables": {"Shop": "b"}}), "variable 'Shop'"),
        (lines({"text": "a", "variables": {"shop": 1}}), "variable 'shop'"),
        (lines({"text": "a", "task": "a\r\nx-evil: 1"}), "task is the name"),
        (lines({"text": "a", "data_class": "secret"}), "data_class 'secret'"),
        (lines({"text": "x" * 300_000}), "at most 262144 bytes"),
        (b'{"text":"a"}\n' * (CASES_MAX + 1), "this one has 10001"),
    ],
)
def test_a_mistake_is_told_with_its_line(content: bytes, message: str) -> None:
    with pytest.raises(InvalidDataset) as found:
        read_cases(content)
    assert message in found.value.findings[0].message
    assert found.value.findings[0].line >= 1


def test_every_mistake_is_told_up_to_a_limit() -> None:
    with pytest.raises(InvalidDataset) as found:
        read_cases(b"{\n" * 200)
    assert [one.line for one in found.value.findings] == list(range(1, 51))


def test_versions_are_their_content_and_belong_to_one_team(plane: ControlPlane, tmp_path: Path) -> None:
    plane.apply(SUPPORT + "---\nkind: Team\nname: sales\n")
    datasets = Datasets(plane.publisher)
    first = datasets.add("questions", "support", QUESTIONS, "anna")
    assert first.is_new
    assert not datasets.add("questions", "support", QUESTIONS, "ben").is_new
    second = datasets.add("questions", "support", QUESTIONS + lines({"text": "zanzibar"}), "anna").row
    assert datasets.find("questions") == second
    assert datasets.find(f"questions@{first.row.digest[:16]}") == first.row
    assert [case.id for case in datasets.cases(first.row)] == ["1", "two"]
    with pytest.raises(Refused, match="taken") as taken:
        datasets.add("questions", "sales", QUESTIONS, "cleo")
    assert taken.value.code is AdminCode.CONFLICT
    for name in ("nothing", "questions@", "questions@12", f"questions@{'0' * 16}"):
        if name != "questions@":
            with pytest.raises(Refused) as unknown:
                datasets.find(name)
            assert unknown.value.code is AdminCode.NOT_FOUND
    with pytest.raises(Refused, match="no team 'ghosts'"):
        datasets.add("others", "ghosts", QUESTIONS, "anna")
    with pytest.raises(Refused) as wrong:
        datasets.add("others", "support", b"{", "anna")
    assert wrong.value.findings[0].line == 1
    datasets.remove(first.row, "anna")
    assert datasets.listed() == [second]
    plane.database.sync()
    assert b"zanzibar" not in b"".join(path.read_bytes() for path in tmp_path.glob("lineclear.db*"))


@pytest.mark.parametrize(
    ("operation", "body", "text"),
    [
        (Operation.CHAT, {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}, "hi"),
        (
            Operation.CHAT,
            {"choices": [{"message": {"content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}]},
            'f({"a":2,"b":1})',
        ),
        (Operation.MESSAGES, MESSAGE, "ab"),
        (Operation.EMBEDDINGS, {"data": [{"embedding": [0.5, 1]}, {"embedding": [0, 2]}]}, "[0.5,1]\n[0,2]"),
        (Operation.CLASSIFY, {"data": [{"label": "spam", "probs": [0.9, 0.1]}]}, "spam"),
        (Operation.COUNT_TOKENS, {"input_tokens": 12}, "12"),
    ],
)
def test_answers_are_compared_as_texts(operation: Operation, body: object, text: str) -> None:
    assert answer_text(operation, json.dumps(body).encode()) == text


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": 3}', b'{"data": [{}]}'])
def test_what_is_no_answer_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        answer_text(Operation.EMBEDDINGS, body)


def test_errors_of_both_dialects_are_read() -> None:
    ours = b'{"error": {"code": "rate_limited", "message": "slowly", "type": "x"}}'
    assert error_of(ours) == ("rate_limited", "slowly")
    assert error_of(b'{"type": "error", "error": {"type": "overloaded_error", "message": "later"}}') == (
        "overloaded_error",
        "later",
    )
    assert error_of(b"<html>") == ("unreadable", "<html>")
