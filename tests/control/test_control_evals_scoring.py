"""What checks make of answers: texts, patterns, schemas, numbers, vectors, marks, and code of other people."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lineclear.control.evals.python_check import PythonCheck
from lineclear.control.evals.scoring import TextScorer, cosine, judged_score, last_number
from lineclear.domain.evals import ENTRY_POINT_GROUP, Exact, Numeric, Pattern, Shape
from lineclear.domain.exchange import Operation
from lineclear.domain.replay import Case

CHECKS = """
import os, sys, time

def good(case, answer):
    print("chatter")
    return 1.0 if answer == case["expected"] else 0.25

def bad(case, answer):
    raise ValueError("no idea")

def slow(case, answer):
    time.sleep(60)

def gone(case, answer):
    os._exit(3)

def odd(case, answer):
    return 7

def secrets(case, answer):
    return float("LINECLEAR_SECRET" in os.environ)
"""


def case(expected: Any = None) -> Case:
    return Case("1", Operation.CHAT, {"messages": []}, expected=expected)


@pytest.mark.parametrize(
    ("way", "expected", "answer", "score"),
    [
        (Exact(False), "Paris", " Paris\n", 1.0),
        (Exact(False), "Paris", "paris", 0.0),
        (Exact(True), "Paris", "PARIS", 1.0),
        (Exact(False), {"a": [1, 2]}, '{ "a": [1,2] }', 1.0),
        (Exact(False), {"a": 1}, "no JSON", 0.0),
        (Exact(False), None, "Paris", None),
        # Deeper than a parser follows.
        (Exact(False), {"a": 1}, "[" * 100_000, 0.0),
        (Pattern(r"(?i)\bparis\b"), None, "It is Paris.", 1.0),
        (Pattern(r"^Paris$"), None, "It is Paris.", 0.0),
        (Pattern('"quoted" \\d+'), None, 'say "quoted" 12', 1.0),
        # What would take an engine with back-tracking longer than the universe lasts.
        (Pattern(r"(a+)+$"), None, "a" * 50_000 + "b", 0.0),
        (Shape({"type": "object", "required": ["a"]}), None, '{"a": 1}', 1.0),
        (Shape({"type": "object", "required": ["a"]}), None, "{}", 0.0),
        (Shape({"type": "object"}), None, "no JSON", 0.0),
        (Numeric(0, 0), 42, "6 times 7 is 42.", 1.0),
        (Numeric(0, 0), 42, "6 times 7 is 41.", 0.0),
        (Numeric(0.5, 0), 42, "about 42.4", 1.0),
        (Numeric(0, 0.01), 1_000_000, "1,009,999", 1.0),
        (Numeric(0, 0.01), -1_000_000, "1,009,999", 0.0),
        (Numeric(0, 0), "12 apples", "twelve, or 12", 1.0),
        (Numeric(0, 0), 42, "no number", 0.0),
        (Numeric(0, 0), "many", "42", None),
        (Numeric(0, 0), True, "1", None),
        # More than a float holds, in the dataset and in an answer.
        (Numeric(0, 0.1), 10**400, "42", None),
        (Numeric(0, 0.1), "1e999", "42", None),
        (Numeric(0, 0.1), 42, "1" + "0" * 400, 0.0),
    ],
)
def test_a_text_is_scored(way: Any, expected: Any, answer: str, score: float | None) -> None:
    assert TextScorer(way).score(case(expected), answer) == score


@pytest.mark.parametrize(
    ("text", "number"),
    [("5-3", 3), ("1,234.5", 1234.5), ("a -7", -7), ("x=.5", 0.5), ("1e3", 1000), ("1,2,3", 3), ("7.", 7), ("-", None)],
)
def test_the_last_number_of_a_text(text: str, number: float | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("8", 0.8),
        ("8/10", 0.8),
        ("I first thought 3.\n\n10", 1.0),
        ("0", 0.0),
        ("7.5 / 10", 0.75),
        ("11", None),
        ("good", None),
    ],
)
def test_a_mark_from_0_to_10(said: str, score: float | None) -> None:
    assert judged_score(said) == score


def test_an_angle_needs_two_vectors_of_one_length() -> None:
    assert cosine([1.0, 0.0], [2.0, 0.0]) == pytest.approx(1)
    assert cosine([1.0, 0.0], [0.0, 3.0]) == pytest.approx(0)
    assert cosine([1.0], [1.0, 2.0]) is None
    assert cosine([0.0], [1.0]) is None


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A package with checks, as it would be installed beside the server."""
    (tmp_path / "some_checks.py").write_text(CHECKS)
    information = tmp_path / "some_checks-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: some-checks\nVersion: 1\n")
    names = ("good", "bad", "slow", "gone", "odd", "secrets")
    lines = "".join(f"{name} = some_checks:{name}\n" for name in names)
    (information / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{lines}")
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    return {"PYTHONPATH": paths, "PATH": os.environ["PATH"], "LINECLEAR_SECRET": "x"}


def test_code_of_other_people_scores_in_a_process_of_its_own(environment: dict[str, str]) -> None:
    with PythonCheck("good", environment) as check:
        assert [check.score(case("a"), answer) for answer in ("a", "b", "a")] == [1.0, 0.25, 1.0]
    with PythonCheck("secrets", environment) as check:
        assert check.score(case(), "a") == 0.0


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("bad", "ValueError: no idea"),
        ("gone", "its process ended"),
        ("odd", "7.0 is no score from 0 to 1"),
        ("missing", "there is no entry point 'missing' in the group 'lineclear.checks'"),
    ],
)
def test_code_that_breaks_says_nothing_of_an_answer(environment: dict[str, str], name: str, trouble: str) -> None:
    with PythonCheck(name, environment) as check:
        assert [check.score(case(), "a") for _ in range(7)] == [None] * 7
        assert check.trouble == trouble


def test_code_that_never_answers_is_ended(environment: dict[str, str]) -> None:
    with PythonCheck("slow", environment, answer_s=1.0) as check:
        # An answer larger than a pipe holds, so that writing it would wait for ever too.
        assert check.score(case(), "a" * 1_000_000) is None
        assert check.trouble == "it took longer than 1 s"
