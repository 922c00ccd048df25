"""Settings of hosted versions: the same table speaks to the manifest reader and to the runtime."""

import re
from pathlib import Path

import pytest

from lineclear.config.manifest import InvalidManifest, read_values
from lineclear.domain.catalogue import Engine
from lineclear.domain.runtimes import (
    ENGINE_SETTINGS,
    RuntimeState,
    SettingValue,
    read_runtime_settings,
    setting_problem,
)


def test_defaults_are_filled_in() -> None:
    gguf = read_runtime_settings(Engine.GGUF, {"slots": 4})
    simulated = read_runtime_settings(Engine.SIMULATED, {})

    assert (gguf.slots, gguf.queue_max, gguf.context, gguf.threads) == (4, 16, 2048, 0)
    assert (simulated.slots, simulated.queue_max, simulated.context) == (1024, 16, 0)


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        (Engine.GGUF, "thread", 1),
        (Engine.GGUF, "slots", 0),
        (Engine.GGUF, "slots", 65),
        (Engine.GGUF, "slots", True),
        (Engine.GGUF, "slots", "2"),
        (Engine.GGUF, "golden_prompt", 1),
        (Engine.GGUF, "golden_prompt", "x" * 2001),
        (Engine.SIMULATED, "context", 2048),
        (Engine.SIMULATED, "threads", 2),
    ],
)
def test_what_an_engine_does_not_understand_is_refused(engine: Engine, name: str, value: SettingValue) -> None:
    problem = setting_problem(engine, name, value)

    assert problem is not None
    assert repr(name) in problem
    with pytest.raises(ValueError, match=name):
        read_runtime_settings(engine, {name: value})


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"pooling": "mean"}, "pooling"),
        ({"task": "embeddings", "slots": 2}, "slots"),
        ({"task": "embeddings", "output_tokens": 9}, "output_tokens"),
        ({"task": "embeddings", "golden_expect": "hello"}, "golden_expect"),
    ],
)
def test_gguf_settings_without_effect_are_refused(settings: dict[str, SettingValue], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        read_runtime_settings(Engine.GGUF, settings)
    assert read_runtime_settings(Engine.GGUF, {"task": "embeddings", "pooling": "last"}).pooling == "last"


DOCS = Path(__file__).parents[2] / "docs"


def test_settings_and_states_are_documented() -> None:
    page = (DOCS / "serving.md").read_text()
    documented = set(re.findall(r"^\| `([a-z0-9_]+)` \| ([a-z, ]+) \|", page, flags=re.MULTILINE))

    pairs = {(name, engine) for name, engines in documented for engine in engines.split(", ")}
    assert pairs == {(name, engine.value) for engine, settings in ENGINE_SETTINGS.items() for name in settings}
    states = re.findall(r"^- \*\*([a-z]+)\*\*", page, flags=re.MULTILINE)
    assert states == [state.value for state in RuntimeState]


TOKENIZED = {"tokenizer": "t.json", "tokenizer_sha256": "0" * 64}


def onnx_version(**changes: object) -> dict[str, object]:
    right = {"version": "1", "engine": "onnx", "artifact": "/m.onnx", "sha256": "0" * 64, "settings": TOKENIZED}
    return {**right, **changes}


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"artifact": "/m.pkl"}, "artifact", "may run code"),
        ({"artifact": "/m.pt"}, "artifact", "may run code"),
        ({"artifact": "/m.bin"}, "artifact", "may run code"),
        ({"artifact": "/m.joblib"}, "artifact", "convert the model to .onnx"),
        ({"artifact": "/m.gguf"}, "artifact", "serves .onnx files"),
        ({"engine": "gguf", "artifact": "/m.onnx", "settings": {}}, "artifact", "serves .gguf files"),
        ({"replicas": 0}, "replicas", "from 1 to 16"),
        ({"replicas": 17}, "replicas", "from 1 to 16"),
        ({"settings": {}}, "settings", "needs `tokenizer`"),
        ({"settings": {"tokenizer": "t.json"}}, "settings", "64 lower-case hex digits"),
        ({"settings": {"task": "painting"}}, "settings.task", "embeddings or classification"),
        ({"settings": {"reads": "bytes"}}, "settings.reads", "task: classification"),
        ({"settings": {"reads": "bytes", "task": "classification"}}, "settings", "needs `labels`"),
        ({"settings": {**TOKENIZED, "labels": "l.json"}}, "settings.labels", "no effect"),
        ({"settings": {**TOKENIZED, "golden_expect": "x"}}, "settings.golden_expect", "no text"),
        ({"settings": {**TOKENIZED, "padding": 1}}, "settings.padding", "reads: bytes"),
    ],
)
def test_what_could_not_be_served_is_refused_with_the_manifest(
    change: dict[str, object], path: str, words: str
) -> None:
    model = {"kind": "Model", "name": "m", "owner": "default", "versions": [onnx_version(**change)]}
    with pytest.raises(InvalidManifest) as refused:
        read_values([model], "test")
    found = [(finding.path, finding.message) for finding in refused.value.findings]
    assert any(at.endswith(path) and words in message for at, message in found), found


def test_a_right_one_is_accepted() -> None:
    model = {"kind": "Model", "name": "m", "owner": "default", "versions": [onnx_version(replicas=16)]}
    assert read_values([model], "test")
