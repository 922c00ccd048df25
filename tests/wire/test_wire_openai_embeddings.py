"""Embeddings and classification: requests, usage of answers, both encodings, and real vendor traffic."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import openai
import pytest

from lineclear.domain.errors import CallerError, PlatformFault
from lineclear.domain.exchange import Failed, Started, Terminated, UsageReported
from lineclear.domain.money import Usage
from lineclear.wire.codec import Codec, Patch
from lineclear.wire.json_guard import guard
from lineclear.wire.openai_classify import OPENAI_CLASSIFY, Classified, write_classes
from lineclear.wire.openai_embeddings import (
    OPENAI_EMBEDDINGS,
    VectorEncoding,
    dimensions_of,
    encoding_of,
    pack_vector,
    write_embeddings,
)
from lineclear.wire.openai_inputs import INPUTS_MAX, read_inputs

Recordings: TypeAlias = Callable[[str], list[dict[str, Any]]]
VECTORS = [pack_vector([0.1, -2.5, 1e-7]), pack_vector([1 / 3, 0.0, 3.0])]
BOTH = pytest.mark.parametrize("codec", [OPENAI_EMBEDDINGS, OPENAI_CLASSIFY])


@BOTH
def test_a_request_brings_no_output_and_travels_as_it_is(codec: Codec) -> None:
    body = b'{"input": ["a",  "b"],"model":"m","encoding_format":"base64","dimensions":7,"user":"u","x":1.50}'
    view = codec.view(guard(body), len(body))
    assert (view.model, view.stream, view.max_output_tokens, view.choices) == ("m", False, 0, 1)
    patched = codec.patch(body, guard(body), Patch("up"))
    assert patched == body.replace(b'"m"', b'"up"').replace(b'"input": ', b'"input":')
    with pytest.raises(PlatformFault):
        codec.patch(body, guard(body), Patch("up", prompt_text="be kind"))


@BOTH
def test_there_are_no_streams_of_it(codec: Codec) -> None:
    for ask in (
        codec.stream_reader,
        lambda: codec.stream_writer("r", "m", 0),
        lambda: codec.write_whole([], "r", "m", 0),
    ):
        with pytest.raises(PlatformFault):
            ask()


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("text", ("text",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        (["a", [3]], ("a", (3,))),
    ],
)
def test_every_form_of_input_is_read(given: object, inputs: tuple[object, ...]) -> None:
    assert read_inputs({"input": given}) == inputs


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (None, "input"),
        ("", "input"),
        ([], "input"),
        ({"text": "a"}, "input"),
        (["a", ""], "input.1"),
        ([1, "a"], "input"),
        ([1, -1], "input"),
        ([[]], "input.0"),
        ([[1.5]], "input.0"),
        (["a", None], "input.1"),
        ([True], "input.0"),
        (["a"] * (INPUTS_MAX + 1), "input"),
    ],
)
def test_an_input_that_cannot_be_read_is_named(given: object, param: str) -> None:
    with pytest.raises(CallerError) as refused:
        read_inputs({"input": given})
    assert refused.value.param == param


def test_the_fields_of_an_embedding_are_read_or_named() -> None:
    assert (encoding_of({}), dimensions_of({})) == (VectorEncoding.FLOAT, None)
    asked = {"encoding_format": "base64", "dimensions": 9}
    assert (encoding_of(asked), dimensions_of(asked)) == (VectorEncoding.BASE64, 9)
    for name, value, read in (
        ("encoding_format", "hex", encoding_of),
        ("encoding_format", 5, encoding_of),
        ("dimensions", 0, dimensions_of),
        ("dimensions", "9", dimensions_of),
    ):
        with pytest.raises(CallerError) as refused:
            read({name: value})
        assert refused.value.param == name


def test_both_encodings_carry_the_same_floats() -> None:
    numbers = json.loads(write_embeddings(VECTORS, "m", 4, VectorEncoding.FLOAT))
    packed = json.loads(write_embeddings(VECTORS, "m", 4, VectorEncoding.BASE64))
    read = [list(struct.unpack("<3f", base64.b64decode(item["embedding"]))) for item in packed["data"]]
    assert read == [item["embedding"] for item in numbers["data"]]
    assert [item["index"] for item in packed["data"]] == [0, 1]
    assert {**packed, "data": 0} == {**numbers, "data": 0}
    assert packed["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert "usage" not in json.loads(write_embeddings(VECTORS, "m", None, VectorEncoding.FLOAT))


def test_the_official_client_reads_the_same_from_both(serving: Any) -> None:
    read: list[list[list[float]]] = []
    for encoding in VectorEncoding:
        body = write_embeddings(VECTORS, "m", 4, encoding)
        with (
            serving([body], "application/json") as url,
            openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client,
        ):
            answer = client.embeddings.create(model="m", input=["a", "b"])
        assert (answer.usage.prompt_tokens, answer.model) == (4, "m")
        read.append([item.embedding for item in answer.data])
    assert read[0] == read[1] == [list(struct.unpack("<3f", vector)) for vector in VECTORS]


def test_an_answer_says_its_name_and_its_input_alone() -> None:
    body = write_embeddings(VECTORS, "m1", 4, VectorEncoding.BASE64)
    said = (Started("", "m1"), UsageReported(Usage(input_tokens=4)), Terminated())
    assert OPENAI_EMBEDDINGS.read_whole(body) == said
    classes = [Classified("yes", (0.25, 0.75)), Classified("no", (0.9, 0.1))]
    body = write_classes(classes, "m1", 4, "c1")
    assert OPENAI_CLASSIFY.read_whole(body) == (Started("c1", "m1"), *said[1:])
    assert json.loads(body)["data"][0] == {"index": 0, "label": "yes", "probs": [0.25, 0.75], "num_classes": 2}
    assert OPENAI_CLASSIFY.read_whole(write_classes(classes, "m1", None, "c1")) == (Started("c1", "m1"), Terminated())


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"total_tokens": 6}, Usage(input_tokens=6)),
        ({"prompt_tokens": 6, "total_tokens": 6, "completion_tokens": 0}, Usage(input_tokens=6)),
        ({"prompt_tokens": 6, "total_tokens": 9, "completion_tokens": 3}, Usage(input_tokens=6)),
        ({"prompt_tokens": -1}, None),
        ({"total_tokens": "many"}, None),
        ([], None),
    ],
)
def test_usage_is_input_however_a_vendor_states_it(counts: object, usage: Usage | None) -> None:
    body = json.dumps({"data": [{"embedding": [1.0]}], "usage": counts}).encode()
    reported = [event.usage for event in OPENAI_EMBEDDINGS.read_whole(body) if isinstance(event, UsageReported)]
    assert reported == ([] if usage is None else [usage])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"data":[]}', b'{"data":[{"index":0}]}', b'{"data":[[1.0]]}', b"<html>"]
)
@BOTH
def test_what_is_no_answer_is_refused(codec: Codec, body: bytes) -> None:
    with pytest.raises(ValueError, match="not a list of items"):
        codec.read_whole(body)


@BOTH
def test_an_error_in_a_whole_answer_is_a_failure(codec: Codec) -> None:
    assert codec.read_whole(b'{"error":{"message":"no","code":"c"}}') == (Failed("no", "c"),)


@pytest.mark.parametrize("name", ["openai_embeddings"])
def test_real_traffic_is_read(name: str, recordings: Recordings) -> None:
    rows = recordings(name)
    assert {row["status"] for row in rows} == {200, 404}
    for row in rows:
        body = json.dumps(row["request"]).encode()
        tree = guard(body)
        assert OPENAI_EMBEDDINGS.view(tree, len(body)).model == row["request"]["model"]
        assert guard(OPENAI_EMBEDDINGS.patch(body, tree, Patch("up"))) == {**row["request"], "model": "up"}
        answer = json.dumps(row["response"]).encode()
        if row["status"] != 200:
            assert OPENAI_EMBEDDINGS.read_error(answer)[0] == row["response"]["error"]["code"]
            continue
        stated = row["response"]["usage"]["total_tokens"]
        assert UsageReported(Usage(input_tokens=stated)) in OPENAI_EMBEDDINGS.read_whole(answer)
