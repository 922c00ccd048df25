"""Simulated vectors and classes through their own process: equal inputs, equal answers, both encodings, faults."""

import base64
import http.client
import json
import math
import struct
from typing import Any

import pytest

from lineclear.testing.hosted import HostedModel

EMBEDDINGS = "/v1/embeddings"
CLASSIFY = "/v1/classify"


def vectors(simulated: HostedModel, given: object, **more: object) -> list[list[float]]:
    answer = simulated.call(EMBEDDINGS, {"model": "simulated", "input": given, **more})
    assert answer.status == 200
    found = [item["embedding"] for item in answer.json["data"]]
    if more.get("encoding_format") == "base64":
        found = [list(struct.unpack(f"<{len(raw) // 4}f", raw)) for raw in map(base64.b64decode, found)]
    return found


def test_a_vector_has_length_one_and_follows_the_input_alone(simulated: HostedModel) -> None:
    both = vectors(simulated, ["one", "two"])
    assert both == [*vectors(simulated, "one"), *vectors(simulated, ["two"], user="u")]
    assert [len(vector) for vector in both] == [384, 384]
    assert [math.hypot(*vector) for vector in both] == pytest.approx([1, 1], abs=1e-6)
    assert both[0] != both[1]
    assert vectors(simulated, [1, 2]) == vectors(simulated, [[1, 2]]) != vectors(simulated, [[1, 3]])


@pytest.mark.parametrize("dimensions", [None, 1, 8, 1536])
def test_base64_says_the_same_as_numbers(simulated: HostedModel, dimensions: int | None) -> None:
    more = {} if dimensions is None else {"dimensions": dimensions}
    numbers = vectors(simulated, ["one", [7]], **more)
    assert vectors(simulated, ["one", [7]], encoding_format="base64", **more) == numbers
    assert {len(vector) for vector in numbers} == {dimensions or 384}


def test_classes_add_up_and_the_label_is_the_likeliest(simulated: HostedModel) -> None:
    answer = simulated.call(CLASSIFY, {"model": "simulated", "input": ["one", "two", [7]]}).json
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    for item in answer["data"]:
        assert item["num_classes"] == len(item["probs"]) == 3
        assert math.fsum(item["probs"]) == pytest.approx(1)
    labels = {max(range(3), key=item["probs"].__getitem__): item["label"] for item in answer["data"]}
    assert all(label.startswith("simulated-") for label in labels.values())
    assert simulated.call(CLASSIFY, {"model": "simulated", "input": ["one", "two", [7]]}).json == answer


@pytest.mark.parametrize("path", [EMBEDDINGS, CLASSIFY])
def test_input_is_counted_and_nothing_comes_out(simulated: HostedModel, path: str) -> None:
    def usage(given: object, simulate: str = "") -> Any:
        headers = {"x-lineclear-simulate": simulate}
        return simulated.call(path, {"model": "simulated", "input": given}, headers).json.get("usage")

    assert usage("12345") == {"prompt_tokens": 2, "total_tokens": 2}
    assert usage(["1234", [1, 2, 3]]) == {"prompt_tokens": 4, "total_tokens": 4}
    assert usage("x", "usage=none") is None


@pytest.mark.parametrize("path", [EMBEDDINGS, CLASSIFY])
def test_it_fails_as_it_is_told(simulated: HostedModel, path: str) -> None:
    def call(simulate: str, given: object = ("a", "b", "c")) -> Any:
        return simulated.call(path, {"model": "simulated", "input": given}, {"x-lineclear-simulate": simulate})

    assert call("status=503,retry-after=2").headers["retry-after"] == "2"
    assert call("error-after=2").status == 500
    assert call("error-after=4").status == 200
    assert call("event-delay-ms=1").status == 200
    with pytest.raises(json.JSONDecodeError):
        call("end-after=1").json  # noqa: B018 - reading it is what fails
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        call("cut-after=1")


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (EMBEDDINGS, {"input": ""}, "input"),
        (EMBEDDINGS, {"input": ["a", ""]}, "input.1"),
        (EMBEDDINGS, {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        (EMBEDDINGS, {"input": "a", "dimensions": 70_000}, "dimensions"),
        (CLASSIFY, {"input": [["a"]]}, "input.0"),
        ("/v1/completions", {"prompt": ["a", "b"]}, "prompt"),
        ("/v1/completions", {"prompt": "a", "n": 2}, "n"),
    ],
)
def test_what_it_cannot_do_is_named(simulated: HostedModel, path: str, fields: dict[str, Any], param: str) -> None:
    answer = simulated.call(path, {"model": "simulated", **fields})
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
