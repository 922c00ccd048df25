"""The onnx engine with nets of numbers: what is read exactly, what is refused where, and a net that hangs."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from lineclear.compose.runtime import EXIT_STALLED
from lineclear.testing.hosted import HostedModel, UnixConnection

CLASSIFY = "/v1/classify"
LABELS = ["setosa", "versicolor", "virginica"]
Start = Callable[..., HostedModel]
FLOWERS = {"setosa": [5.1, 3.5, 1.4, 0.2], "versicolor": [5.9, 2.8, 4.3, 1.3], "virginica": [6.6, 3.0, 5.6, 2.1]}


def spec(folder: Path, graph: Any, labels: Sequence[str] = LABELS, **settings: object) -> dict[str, object]:
    """A runtime's spec for a graph (any: onnx's generated classes have no types)."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    (folder / "labels.json").write_text(json.dumps(labels))
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("net.onnx", "labels.json")}
    return {
        "name": "net",
        "model": "net@1",
        "engine": "onnx",
        "artifact": str(folder / "net.onnx"),
        "sha256": digests["net.onnx"],
        "settings": {
            "task": "classification",
            "reads": "tensor",
            "labels": "labels.json",
            "labels_sha256": digests["labels.json"],
            **settings,
        },
        "upstream_id": "net",
    }


def nearest(batch: str | int = "n") -> Any:
    """Scores are minus the squared distances to FLOWERS; a label's number comes first, as from scikit-learn."""
    centres = [value for flower in FLOWERS.values() for value in flower]
    return helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["x", "one"], ["rows"]),
            helper.make_node("Sub", ["rows", "centres"], ["apart"]),
            helper.make_node("Mul", ["apart", "apart"], ["squares"]),
            helper.make_node("ReduceSum", ["squares", "two"], ["distances"], keepdims=0),
            helper.make_node("Neg", ["distances"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        ],
        "nearest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [batch]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 3]),
        ],
        [
            helper.make_tensor("centres", TensorProto.FLOAT, [3, 4], centres),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("two", TensorProto.INT64, [1], [2]),
        ],
    )


def rows_of_image(kind: int = TensorProto.UINT8, shape: Sequence[str | int] = ("n", 1, 2, 3)) -> Any:
    """Which row of a picture is brighter."""
    return helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["light"], to=TensorProto.FLOAT),
            helper.make_node("ReduceSum", ["light", "axes"], ["scores"], keepdims=0),
        ],
        "rows",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [1, 3])],
    )


def picked() -> Any:
    """Rows of a table of three, by number: a number beyond it is one that the net cannot compute."""
    return helper.make_graph(
        [
            helper.make_node("Gather", ["table", "x"], ["found"]),
            helper.make_node("ReduceSum", ["found", "one"], ["scores"], keepdims=0),
        ],
        "picked",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])],
        [
            helper.make_tensor("table", TensorProto.FLOAT, [3, 2], [9, 0, 0, 9, 9, 9]),
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        ],
    )


def counting() -> Any:
    """Counts in a loop to the number that it is sent: with a large one it never ends."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["sum", "step"], ["more"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("more", TensorProto.FLOAT, [1, 2]),
        ],
        [helper.make_tensor("step", TensorProto.FLOAT, [1, 2], [1e-3, 0])],
    )
    return helper.make_graph(
        [
            helper.make_node("Squeeze", ["x"], ["trips"]),
            helper.make_node("Loop", ["trips", "", "start"], ["scores"], body=body),
        ],
        "counting",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1, 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor("start", TensorProto.FLOAT, [1, 2], [0, 0])],
    )


def filled() -> Any:
    """Fills an array of as many numbers as it is sent: with a large number there is no memory for it."""
    return helper.make_graph(
        [
            helper.make_node("Squeeze", ["x", "one"], ["length"]),
            helper.make_node("ConstantOfShape", ["length"], ["array"]),
            helper.make_node("ReduceSum", ["array"], ["sum"], keepdims=0),
            helper.make_node("Add", ["start", "sum"], ["scores"]),
        ],
        "filled",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1, 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
        [
            helper.make_tensor("one", TensorProto.INT64, [1], [1]),
            helper.make_tensor("start", TensorProto.FLOAT, [1, 2], [1, 0]),
        ],
    )


def ask(runtime: HostedModel, given: object) -> Any:
    return runtime.call(CLASSIFY, {"model": "m", "input": given})


@pytest.mark.parametrize("batch", ["n", 1])
def test_rows_of_numbers_are_labelled_alone_and_together(start: Start, tmp_path: Path, batch: str | int) -> None:
    runtime = start(spec(tmp_path, nearest(batch), golden_prompt="[5, 3.4, 1.5, 0.2]", golden_expect="setosa"))
    assert "labelled 'setosa', one of 3" in runtime.wait_for("ready")["reason"]

    together = ask(runtime, list(FLOWERS.values())).json
    assert [item["label"] for item in together["data"]] == list(FLOWERS)
    assert together["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    for at, numbers in enumerate(FLOWERS.values()):
        (alone,) = ask(runtime, numbers).json["data"]
        assert alone["probs"] == pytest.approx(together["data"][at]["probs"], abs=1e-6)
        distances = [sum((a - b) ** 2 for a, b in zip(numbers, other, strict=True)) for other in FLOWERS.values()]
        powers = [math.exp(-distance) for distance in distances]
        assert alone["probs"] == pytest.approx([power / sum(powers) for power in powers], abs=1e-5)


def test_arrays_of_more_levels_and_of_whole_numbers_are_read_as_they_stand(start: Start, tmp_path: Path) -> None:
    runtime = start(spec(tmp_path, rows_of_image(), ["top", "bottom"]))
    assert "one of 2" in runtime.wait_for("ready")["reason"]
    top, bottom = [[[255, 0, 255], [0, 1, 0]]], [[[0, 0, 0], [1, 2, 3]]]

    assert [item["label"] for item in ask(runtime, [bottom, top]).json["data"]] == ["bottom", "top"]
    assert [item["label"] for item in ask(runtime, top).json["data"]] == ["top"]


@pytest.fixture(scope="module")
def flowers(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostedModel]:
    runtime = HostedModel(run_dir, {**spec(tmp_path_factory.mktemp("flowers"), nearest(), inputs_max=8), "name": "f"})
    try:
        runtime.wait_for("ready")
        yield runtime
    finally:
        runtime.close()


WRONG: dict[str, tuple[object, str, str]] = {
    "text": ("5.1,3.5,1.4,0.2", "input", "is a text; this model reads numbers in 1 level of lists, or 2 for several"),
    "too deep": ([[[1.0]]], "input", "has 3 levels of lists"),
    "too few": ([5.1, 3.5], "input", "has 2 elements where this model reads 4"),
    "too many": ([[5.1, 3.5, 1.4, 0.2], [1, 2, 3, 4, 5]], "input.1", "has 5 elements where this model reads 4"),
    "not even": ([[5.1, 3.5, 1.4, 0.2], 7], "input.1", "is no list where this model reads one of 4 elements"),
    "empty": ([[]], "input.0", "has 0 elements"),
    "a text inside": ([5.1, "3.5", 1.4, 0.2], "input.1", "is no number"),
    "truth": ([[5.1, True, 1.4, 0.2]], "input.0.1", "is no number"),
    "null": ([[5.1, 3.5, 1.4, None]], "input.0.3", "is no number"),
    "list in a row": ([5.1, [3.5], 1.4, 0.2], "input.1", "is no number"),
    "too large for the net": ([1e39, 0, 0, 0], "input.0", "outside of what this model reads"),
    "scores that are not finite": ([3e38, 0, 0, 0], "input", "scores for these numbers are not finite"),
    "too many inputs": ([[1, 2, 3, 4]] * 9, "input", "has 9 arrays and this model takes 8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_at_its_place(flowers: HostedModel, case: str) -> None:
    given, param, words = WRONG[case]
    answer = ask(flowers, given)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert words in answer.json["error"]["message"]
    assert answer.json["error"]["hint"]
    assert ask(flowers, FLOWERS["setosa"]).status == 200


@pytest.mark.parametrize(("number", "words"), [(0.5, "is no whole number"), (256, "outside"), (-1, "outside")])
def test_a_net_of_whole_numbers_rounds_and_wraps_nothing(
    start: Start, tmp_path: Path, number: float, words: str
) -> None:
    runtime = start(spec(tmp_path, rows_of_image(), ["top", "bottom"]))
    runtime.wait_for("ready")

    answer = ask(runtime, [[[0, 0, 0], [0, number, 0]]])
    assert (answer.status, answer.json["error"]["param"]) == (400, "input.0.1.1")
    assert words in answer.json["error"]["message"]


def test_numbers_that_the_net_has_no_answer_to_are_the_callers_error(start: Start, tmp_path: Path) -> None:
    runtime = start(spec(tmp_path, picked(), ["left", "right"]))
    runtime.wait_for("ready")

    answer = ask(runtime, [3])
    assert (answer.status, answer.json["error"]["code"], answer.json["error"]["param"]) == (
        400,
        "invalid_request",
        "input",
    )
    assert ask(runtime, [[0], [1]]).json["data"][1]["label"] == "right"
    facts = runtime.facts()
    assert (facts["refused"], facts["failed"]) == (1, 0)


def test_more_numbers_than_a_request_may_have_are_refused(start: Start, tmp_path: Path) -> None:
    runtime = start(spec(tmp_path, rows_of_image(shape=("n", 1, 2, 400_000)), ["top", "bottom"]))
    runtime.wait_for("ready")

    picture = [[[0] * 400_000, [0] * 400_000]]
    assert ask(runtime, picture).status == 200
    answer = ask(runtime, [picture] * 6)
    assert (answer.status, answer.json["error"]["param"]) == (400, "input")
    assert "6 arrays of 800000 numbers" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("graph", "settings", "reason"),
    [
        (rows_of_image(shape=("n", 1, 2, "w")), {}, "export it with fixed sizes"),
        (rows_of_image(shape=("n", 1, 2, 600_000)), {}, "1048576 are the most"),
        (rows_of_image(TensorProto.BOOL), {}, "for tensors it has to be one array of"),
        (nearest(), {"golden_prompt": "[1, 2]"}, "has 2 elements where this model reads 4"),
        (nearest(), {"golden_prompt": "[1, 2, 3, 4]", "golden_expect": "rose"}, "and not 'rose'"),
    ],
)
def test_a_net_that_cannot_be_served_says_why(
    start: Start, tmp_path: Path, graph: Any, settings: dict[str, Any], reason: str
) -> None:
    runtime = start(spec(tmp_path, graph, **settings))

    assert reason in runtime.wait_for("failed")["reason"]
    assert runtime.process.wait(20) == 1


def test_one_step_that_hangs_is_found_while_others_beside_it_are_completed(start: Start, tmp_path: Path) -> None:
    runtime = start(spec(tmp_path, counting(), ["left", "right"], slots=2, stall_s=1, threads=1))
    runtime.wait_for("ready")
    end_s = time.monotonic() + 20
    hanging = runtime.open(CLASSIFY, {"model": "m", "input": [1 << 50]})
    answered = 0
    asking = True
    while asking:
        connection = UnixConnection(runtime.socket_path)
        try:
            connection.request("POST", CLASSIFY, json.dumps({"model": "m", "input": [1]}))
            answered += connection.read().status == 200
        except (OSError, HTTPException):
            asking = False
        finally:
            connection.close()
        asking = asking and runtime.process.poll() is None and time.monotonic() < end_s

    assert "one step has not ended for" in runtime.wait_for("failed")["reason"]
    assert runtime.process.wait(5) == EXIT_STALLED
    assert answered > 3
    hanging.close()


def test_a_net_that_fails_is_the_platforms_fault_counted_and_named_by_its_request(start: Start, tmp_path: Path) -> None:
    runtime = start(spec(tmp_path, filled(), ["left", "right"]))
    runtime.wait_for("ready")

    answer = runtime.call(CLASSIFY, {"model": "m", "input": [1 << 50]}, {"x-request-id": "req_1"})
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
    assert answer.json["error"]["request_id"] == "req_1"
    assert ask(runtime, [1]).status == 200
    assert runtime.facts()["failed"] == 1
    assert "the net failed" in runtime.log_text()
    assert "Traceback" not in runtime.log_text()
