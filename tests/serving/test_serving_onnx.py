"""The onnx engine with real nets: MiniLM's vectors, magika's labels, and a small text classifier trained here."""

import base64
import hashlib
import json
import math
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers
from onnx import TensorProto, helper

from lineclear.serving.bundled import MAGIKA, MINILM, VENDOR_DIR
from lineclear.testing.hosted import HostedModel, bundled_spec

EMBED = "/v1/embeddings"
CLASSIFY = "/v1/classify"
TOKENIZER = VENDOR_DIR / "minilm-tokenizer.json"
Start = Callable[..., HostedModel]


@pytest.fixture(scope="module")
def minilm(run_dir: Path) -> Iterator[HostedModel]:
    runtime = HostedModel(run_dir, bundled_spec(MINILM, "minilm", inputs_max=64))
    try:
        runtime.wait_for("ready")
        yield runtime
    finally:
        runtime.close()


@pytest.fixture(scope="module")
def magika(run_dir: Path) -> Iterator[HostedModel]:
    runtime = HostedModel(run_dir, bundled_spec(MAGIKA, "magika"))
    try:
        runtime.wait_for("ready")
        yield runtime
    finally:
        runtime.close()


def vectors(runtime: HostedModel, *texts: str) -> list[list[float]]:
    answer = runtime.call(EMBED, {"model": "m", "input": list(texts)})
    assert answer.status == 200, answer.body
    return [item["embedding"] for item in answer.json["data"]]


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_related_sentences_are_closer_than_unrelated_ones(minilm: HostedModel) -> None:
    pairs = [
        ("A cat sits on the mat.", "A kitten rests on a rug."),
        ("How do I reset my password?", "I forgot my login and cannot sign in."),
        ("Shares fell sharply on Friday.", "The stock market lost ground at the end of the week."),
    ]
    found = [vectors(minilm, *pair) for pair in pairs]

    related = [cosine(*pair) for pair in found]
    unrelated = [cosine(found[at][0], found[at - 1][1]) for at in range(len(pairs))]
    assert min(related) > 0.35 > 0.2 > max(unrelated)


def test_base64_equals_float_and_both_have_length_one(minilm: HostedModel) -> None:
    asked = {"model": "m", "input": ["One sentence.", "Another, which is a good deal longer than the first one."]}
    as_floats = minilm.call(EMBED, {**asked, "encoding_format": "float"}).json
    as_text = minilm.call(EMBED, {**asked, "encoding_format": "base64"}).json

    for number, text in zip(as_floats["data"], as_text["data"], strict=True):
        unpacked = struct.unpack("<384f", base64.b64decode(text["embedding"]))
        assert list(unpacked) == number["embedding"]
        assert math.isclose(sum(value * value for value in unpacked), 1.0, abs_tol=1e-5)
    assert as_floats["usage"] == as_text["usage"] == {"prompt_tokens": 20, "total_tokens": 20}
    assert as_floats["model"] == "minilm"


def test_inputs_of_any_length_come_back_in_their_order_and_do_not_touch_each_other(minilm: HostedModel) -> None:
    texts = [" ".join(["word", "other"][at % 2] for _ in range(1 + (at * 37) % 90)) for at in range(40)]
    together = vectors(minilm, *texts)

    for at in (0, 7, 39):
        assert cosine(together[at], vectors(minilm, texts[at])[0]) > 0.98  # int8 weights: padding moves the last digits


def test_tokens_may_be_sent_in_place_of_a_text(minilm: HostedModel) -> None:
    text = "A cat sits on the mat."
    tokens = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    tokens.no_padding()
    answer = minilm.call(EMBED, {"model": "m", "input": tokens.encode(text).ids})

    assert cosine(answer.json["data"][0]["embedding"], vectors(minilm, text)[0]) > 0.9999


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": "word " * 600}, "input", "602 tokens and the model reads 512"),
        ({"input": ["short", "word " * 600]}, "input.1", "602 tokens"),
        ({"input": "x" * 40_000}, "input", "40000 characters"),
        ({"input": [5, 30_522]}, "input", "not one of the model's 30522"),
        ({"input": ["x"] * 65}, "input", "takes 64"),
        ({"input": "x", "dimensions": 100}, "dimensions", "cannot be shortened"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format", "float"),
        ({"input": ""}, "input", "empty"),
    ],
)
def test_what_cannot_be_embedded_is_the_callers_error(
    minilm: HostedModel, body: dict[str, Any], param: str, words: str
) -> None:
    answer = minilm.call(EMBED, {"model": "m", **body})

    assert answer.status == 400
    assert answer.json["error"]["param"] == param
    assert words in answer.json["error"]["message"]


def test_it_says_what_it_does_when_asked_for_something_else(minilm: HostedModel) -> None:
    answer = minilm.call("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hello"}]})

    assert answer.status == 400
    assert "/v1/embeddings" in answer.json["error"]["hint"]


def test_a_long_batch_gives_its_memory_back(minilm: HostedModel) -> None:
    def resident_mb() -> int:
        pages = Path(f"/proc/{minilm.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4 // 1024

    vectors(minilm, "warm up " * 100)
    before = resident_mb()
    vectors(minilm, *["word " * 200] * 24)
    assert resident_mb() - before < 120


def test_bytes_are_labelled(magika: HostedModel) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(4) + b"IHDR" + bytes(40) + b"IDAT" + bytes(60) + b"IEND\xaeB`\x82"
    files: list[tuple[str | list[int], str]] = [
        ("import os\nfrom pathlib import Path\n\n\ndef main() -> None:\n    print(Path(os.getcwd()))\n", "python"),
        ("<!doctype html><html><head><title>x</title></head><body><p>hello</p></body></html>", "html"),
        ("SELECT a, b FROM t WHERE x = 1;\nINSERT INTO t (a, b) VALUES (1, 2);\n", "sql"),
        (list(png), "png"),
    ]
    answer = magika.call(CLASSIFY, {"model": "m", "input": [content for content, _ in files]}).json

    assert [item["label"] for item in answer["data"]] == [label for _, label in files]
    assert [item["index"] for item in answer["data"]] == [0, 1, 2, 3]
    for item in answer["data"]:
        assert item["num_classes"] == len(item["probs"]) == 214
        assert math.isclose(sum(item["probs"]), 1, abs_tol=1e-3)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0


def test_a_number_that_is_no_byte_is_refused(magika: HostedModel) -> None:
    answer = magika.call(CLASSIFY, {"model": "m", "input": [1, 256]})
    assert (answer.status, answer.json["error"]["param"]) == (400, "input")


SENTENCES = {
    "billing": [
        "I was charged twice this month",
        "please refund my last invoice",
        "the price on my bill is wrong",
        "my credit card was declined at payment",
        "cancel my subscription and return the money",
    ],
    "technical": [
        "the app crashes when I open it",
        "I get an error message after the update",
        "the page does not load on my phone",
        "my screen freezes and the program stops",
        "connection to the server fails every time",
    ],
}


def train_classifier(folder: Path, inputs: str = "input_ids") -> dict[str, object]:
    """A naive Bayes classifier over word pieces as an ONNX net, trained on SENTENCES, with its labels."""
    tokens = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    tokens.no_padding()
    counts = np.ones((tokens.get_vocab_size(), len(SENTENCES)), dtype=np.float32)
    for column, sentences in enumerate(SENTENCES.values()):
        for sentence in sentences:
            np.add.at(counts[:, column], tokens.encode(sentence, add_special_tokens=False).ids, 8)
    weights = np.log(counts / counts.sum(axis=0))
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["weights", inputs], ["picked"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["picked", "column"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
        ],
        "bayes",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "s"]) for name in (inputs, "attention_mask")],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(SENTENCES)])],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True),
            helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("middle", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "bayes.onnx").write_bytes(model.SerializeToString())
    (folder / "labels.json").write_text(json.dumps(list(SENTENCES)))
    shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
    return classifier_spec(folder)


def classifier_spec(folder: Path) -> dict[str, object]:
    def digest(name: str) -> str:
        return hashlib.sha256((folder / name).read_bytes()).hexdigest()

    return {
        "name": "bayes",
        "model": "bayes@1",
        "engine": "onnx",
        "artifact": str(folder / "bayes.onnx"),
        "sha256": digest("bayes.onnx"),
        "settings": {
            "task": "classification",
            "tokenizer": "tokenizer.json",
            "tokenizer_sha256": digest("tokenizer.json"),
            "labels": "labels.json",
            "labels_sha256": digest("labels.json"),
            "golden_prompt": "a refund for my bill",
            "golden_expect": "billing",
        },
        "upstream_id": "bayes",
    }


def test_texts_are_labelled(start: Start, tmp_path: Path) -> None:
    runtime = start(train_classifier(tmp_path))
    assert "labelled 'billing', one of 2" in runtime.wait_for("ready")["reason"]

    asked = ["why was my card charged two times", "the update made the app crash", "an error on the page"]
    answer = runtime.call(CLASSIFY, {"model": "m", "input": asked}).json
    assert [item["label"] for item in answer["data"]] == ["billing", "technical", "technical"]
    assert all(math.isclose(sum(item["probs"]), 1, abs_tol=1e-6) for item in answer["data"])


def tampered_model(folder: Path) -> None:
    content = bytearray((folder / "bayes.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "bayes.onnx").write_bytes(content)


def tampered_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("[PAD]", "[BAD]", 1))


def missing_labels(folder: Path) -> None:
    (folder / "labels.json").unlink()


@pytest.mark.parametrize("change", [tampered_model, tampered_tokenizer, missing_labels])
def test_a_file_that_was_altered_is_not_served(start: Start, tmp_path: Path, change: Callable[[Path], None]) -> None:
    spec = train_classifier(tmp_path)
    change(tmp_path)
    runtime = start(spec)

    failed = runtime.wait_for("failed")
    assert "is not the one in the catalogue" in failed["reason"] or "cannot be read" in failed["reason"]
    assert runtime.process.wait(20) == 1
    assert "loading" not in runtime.names()


def not_onnx(folder: Path) -> None:
    (folder / "bayes.onnx").write_bytes(b"\x80\x04pickle" * 20)


def damaged(folder: Path) -> None:
    (folder / "bayes.onnx").write_bytes((folder / "bayes.onnx").read_bytes()[:200])


def weights_outside(folder: Path) -> None:
    model = onnx.load_model(str(folder / "bayes.onnx"))
    onnx.save_model(
        model, str(folder / "bayes.onnx"), save_as_external_data=True, location="weights.data", size_threshold=0
    )


def foreign_input(folder: Path) -> None:
    train_classifier(folder, inputs="pixels")


def fewer_positions(folder: Path) -> None:
    """A net of 64 positions; `context` says 512."""
    model = onnx.load_model(str(folder / "bayes.onnx"))
    model.graph.initializer.append(helper.make_tensor("positions", TensorProto.FLOAT, [64, 2], [0.0] * 128))
    model.graph.initializer.append(helper.make_tensor("second", TensorProto.INT64, [1], [1]))
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.INT64, [1], [0]))
    places = [
        helper.make_node("Shape", ["input_ids"], ["length"], start=1, end=2),
        helper.make_node("Expand", ["seven", "length"], ["one_each"]),
        helper.make_node("CumSum", ["one_each", "axis"], ["places"]),
        helper.make_node("Gather", ["positions", "places"], ["added"]),
        helper.make_node("Unsqueeze", ["added", "zero"], ["broad"]),
        helper.make_node("Add", ["kept", "broad"], ["placed"]),
    ]
    model.graph.initializer.append(helper.make_tensor("seven", TensorProto.INT64, [1], [1]))
    model.graph.initializer.append(helper.make_tensor("axis", TensorProto.INT64, [], [0]))
    nodes = list(model.graph.node)
    nodes[-1].input[0] = "placed"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:-1], *places, nodes[-1]])
    (folder / "bayes.onnx").write_bytes(model.SerializeToString())


def foreign_tokenizer(folder: Path) -> None:
    """A tokenizer with one token more than the net has weights for."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["one-more"] = len(content["model"]["vocab"])
    (folder / "tokenizer.json").write_text(json.dumps(content))


def too_few_labels(folder: Path) -> None:
    (folder / "labels.json").write_text('["only"]')


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (not_onnx, "is no ONNX file but a pickle"),
        (damaged, "onnxruntime could not load"),
        (weights_outside, "onnxruntime could not load"),
        (foreign_input, "does not know how to fill: pixels"),
        (fewer_positions, "does not read 512 tokens at once; set `context`"),
        (foreign_tokenizer, "does not know token 30522"),
        (too_few_labels, "2 scores and there are 1 labels"),
        (no_tokenizer, "is not a tokenizer.json"),
    ],
)
def test_a_net_that_cannot_be_served_says_why(
    start: Start, tmp_path: Path, change: Callable[[Path], None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_classifier(tmp_path)
    change(tmp_path)
    monkeypatch.chdir(tmp_path)  # where a library might look for more files
    runtime = start(classifier_spec(tmp_path))

    assert reason in runtime.wait_for("failed")["reason"]
    assert runtime.process.wait(20) == 1
