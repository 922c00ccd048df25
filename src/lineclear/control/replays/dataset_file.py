"""A dataset as a file: one JSON object a line, each a case. Pure.

In: bytes of JSONL. Out: cases, or every mistake with its line. A line says `request` (the body of a call without
`model`) or `text` (one message of a user), and may say id, operation, variables, task, data_class and expected.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from lineclear.domain.catalogue import DataClass
from lineclear.domain.exchange import Operation
from lineclear.domain.findings import Finding
from lineclear.domain.replay import Case
from lineclear.domain.sample_call import sample_body

CONTENT_BYTES_MAX: Final = 6 * 1024 * 1024
CASES_MAX: Final = 10_000
LINE_BYTES_MAX: Final = 256 * 1024
MISTAKES_MAX: Final = 50
"""Told at once."""
ID_CHARS_MAX: Final = 200
VARIABLES_MAX: Final = 50
VARIABLE_CHARS_MAX: Final = 4_096

_FIELDS = frozenset({"id", "operation", "request", "text", "variables", "task", "data_class", "expected"})
_VARIABLE = re.compile(r"[a-z0-9-]{1,100}")
_TASK = re.compile(r"[!-~]{0,200}")
_ITS_OWN = {
    "model": "the route is named when the dataset is run",
    "stream": "answers are read whole",
    "stream_options": "answers are read whole",
}
"""Fields of a request that a case does not decide."""


class InvalidDataset(Exception):
    """A dataset cannot be taken; `findings` says which lines and why."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(f"{len(findings)} mistakes in the dataset")
        self.findings = findings


def read_cases(content: bytes) -> list[Case]:
    """Every case, in order; empty lines are none.

    Raises:
        InvalidDataset: with the first mistakes.
    """
    if len(content) > CONTENT_BYTES_MAX:
        raise InvalidDataset([_finding(1, f"{len(content)} bytes are more than {CONTENT_BYTES_MAX}")])
    cases: list[Case] = []
    mistakes: list[Finding] = []
    lines_of: dict[str, int] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            case = _case(number, line)
        except ValueError as error:
            mistakes.append(_finding(number, str(error)))
        else:
            first = lines_of.setdefault(case.id, number)
            if first != number:
                mistakes.append(_finding(number, f"the id {case.id!r} stands in line {first} already"))
            cases.append(case)
        if len(mistakes) >= MISTAKES_MAX:
            break
    if not mistakes and not 1 <= len(cases) <= CASES_MAX:
        mistakes.append(_finding(1, f"a dataset has 1 to {CASES_MAX} cases, this one has {len(cases)}"))
    if mistakes:
        raise InvalidDataset(mistakes)
    return cases


def _case(number: int, line: bytes) -> Case:
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"a line has at most {LINE_BYTES_MAX} bytes, this one has {len(line)}")
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("a line is a JSON object")  # noqa: TRY004 - what came from outside, told with its line
    unknown = sorted(value.keys() - _FIELDS)
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    operation = _operation(value.get("operation", Operation.CHAT.value))
    id_ = value.get("id", str(number))
    if not isinstance(id_, str) or not 1 <= len(id_) <= ID_CHARS_MAX or not id_.isprintable():
        raise ValueError(f"id is a text of 1 to {ID_CHARS_MAX} characters")
    return Case(
        id=id_,
        operation=operation,
        request=_request(value, operation),
        variables=dict(_variables(value.get("variables", {}))),
        task=_task(value.get("task", "")),
        data_class=_data_class(value.get("data_class", "")),
        expected=value.get("expected"),
    )


def _operation(said: object) -> Operation:
    found = next((one for one in Operation if one.value == said), None)
    if found is None:
        raise ValueError(f"operation {said!r} is none of {', '.join(Operation)}")
    return found


def _request(value: dict[str, Any], operation: Operation) -> dict[str, Any]:
    if ("request" in value) == ("text" in value):
        raise ValueError("a line has either `request` or `text`")
    if "text" in value:
        text = value["text"]
        if not isinstance(text, str) or not text:
            raise ValueError("text is a text that is not empty")
        # Anthropic's messages cannot be asked for without a limit; the others leave it to the release.
        made = sample_body(operation, "", text, 1_024 if operation is Operation.MESSAGES else None)
        return {name: item for name, item in made.items() if name != "model"}
    request = value["request"]
    if not isinstance(request, dict):
        raise ValueError("request is the JSON object of a call")  # noqa: TRY004 - as above
    for name, why in _ITS_OWN.items():
        if name in request:
            raise ValueError(f"request.{name} has no place in a case: {why}")
    return request


def _variables(said: object) -> Iterator[tuple[str, str]]:
    if not isinstance(said, dict) or len(said) > VARIABLES_MAX:
        raise ValueError(f"variables is an object of at most {VARIABLES_MAX} texts")
    for name, text in said.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"variable {name[:100]!r} is not made of a-z, 0-9 and -")
        if not isinstance(text, str) or len(text) > VARIABLE_CHARS_MAX:
            raise ValueError(f"variable {name!r} is a text of at most {VARIABLE_CHARS_MAX} characters")
        yield name, text


def _task(said: object) -> str:
    if not isinstance(said, str) or not _TASK.fullmatch(said):
        raise ValueError("task is the name of a task")
    return said


def _data_class(said: object) -> str:
    if said != "" and said not in [one.value for one in DataClass]:
        raise ValueError(f"data_class {said!r} is none of {', '.join(DataClass)}")
    return str(said)


def _finding(line: int, message: str) -> Finding:
    return Finding("invalid_value", message, line=line, column=1)
