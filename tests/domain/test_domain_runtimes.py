"""Settings of hosted models: what each engine takes, what does not fit together, which files are served."""

import pytest

from lineclear.domain.catalogue import Engine
from lineclear.domain.runtimes import (
    ARTIFACT_SUFFIX,
    ENGINE_SETTINGS,
    UNSAFE_SUFFIXES,
    RuntimeSettings,
    SettingValue,
    artifact_problem,
    read_runtime_settings,
    setting_problem,
    settings_problems,
    side_files,
    socket_name,
)

SHA = "a" * 64
TEXT_NET: dict[str, SettingValue] = {"tokenizer": "tokenizer.json", "tokenizer_sha256": SHA}
LABELS: dict[str, SettingValue] = {"task": "classification", "labels": "labels.json", "labels_sha256": SHA}
TENSOR_NET: dict[str, SettingValue] = {**LABELS, "reads": "tensor"}
BYTES_NET: dict[str, SettingValue] = {**LABELS, "reads": "bytes"}


@pytest.mark.parametrize("engine", list(Engine))
def test_every_default_is_a_value_that_may_be_given(engine: Engine) -> None:
    for name, setting in ENGINE_SETTINGS[engine].items():
        assert setting_problem(engine, name, setting.default) is None, name


@pytest.mark.parametrize(
    ("engine", "name", "value", "reason"),
    [
        (Engine.GGUF, "slots", 64, ""),
        (Engine.GGUF, "slots", 65, "whole number from 1 to 64"),
        (Engine.GGUF, "slots", 0, "whole number from 1 to 64"),
        (Engine.GGUF, "slots", "2", "whole number"),
        (Engine.GGUF, "slots", True, "whole number"),
        (Engine.GGUF, "golden_prompt", "x" * 2000, ""),
        (Engine.GGUF, "golden_prompt", "x" * 2001, "at most 2000 characters"),
        (Engine.GGUF, "golden_prompt", 7, "must be a text"),
        (Engine.GGUF, "task", "embeddings", ""),
        (Engine.GGUF, "task", "classification", "generation or embeddings"),
        (Engine.SIMULATED, "slots", 65_536, ""),
        (Engine.SIMULATED, "threads", 1, "has no setting 'threads'; it has: golden_expect, "),
    ],
)
def test_a_setting_is_taken_or_told_what_it_must_be(
    engine: Engine, name: str, value: SettingValue, reason: str
) -> None:
    problem = setting_problem(engine, name, value)
    assert (problem is None) is (reason == "")
    assert reason in (problem or "")


@pytest.mark.parametrize(
    ("engine", "settings", "at_fault"),
    [
        (Engine.SIMULATED, {}, []),
        (Engine.GGUF, {"slots": 2, "output_tokens": 9, "golden_expect": "hi"}, []),
        (Engine.GGUF, {"pooling": "mean"}, ["pooling"]),
        (Engine.GGUF, {"task": "embeddings", "pooling": "mean"}, []),
        (Engine.GGUF, {"task": "embeddings", "slots": 2, "output_tokens": 9}, ["slots", "output_tokens"]),
        (Engine.GGUF, {"task": "embeddings", "golden_expect": "hi"}, ["golden_expect"]),
        (Engine.ONNX, {**TEXT_NET}, []),
        (Engine.ONNX, {**TEXT_NET, **LABELS, "golden_expect": "spam"}, []),
        (Engine.ONNX, {**BYTES_NET, "padding": 0}, []),
        (Engine.ONNX, {}, ["tokenizer"]),
        (Engine.ONNX, {"tokenizer": "tokenizer.json"}, ["tokenizer_sha256"]),
        (Engine.ONNX, {**TEXT_NET, "tokenizer_sha256": "A" * 64}, ["tokenizer_sha256"]),
        (Engine.ONNX, {**TEXT_NET, "task": "classification"}, ["labels"]),
        (Engine.ONNX, {**TEXT_NET, "labels": "labels.json"}, ["labels"]),
        (Engine.ONNX, {**TEXT_NET, "labels_sha256": SHA}, ["labels"]),
        (Engine.ONNX, {**BYTES_NET, **TEXT_NET}, ["tokenizer"]),
        (Engine.ONNX, {"reads": "bytes"}, ["reads"]),
        (Engine.ONNX, {**TEXT_NET, "golden_expect": "spam"}, ["golden_expect"]),
        (Engine.ONNX, {**TEXT_NET, "padding": 0}, ["padding"]),
        (Engine.ONNX, {**BYTES_NET, "context": 512}, ["context"]),
        (Engine.ONNX, {**TENSOR_NET, "golden_prompt": "[1, 2.5]", "golden_expect": "spam"}, []),
        (Engine.ONNX, {**TENSOR_NET, "golden_prompt": "hello"}, ["golden_prompt"]),
        (Engine.ONNX, {**TENSOR_NET, "golden_prompt": "7"}, ["golden_prompt"]),
        (Engine.ONNX, {**TENSOR_NET, "padding": 0, "context": 512}, ["padding", "context"]),
        (Engine.ONNX, {**TENSOR_NET, **TEXT_NET}, ["tokenizer"]),
        (Engine.ONNX, {"reads": "tensor"}, ["reads"]),
    ],
)
def test_settings_that_do_not_fit_together_are_named(
    engine: Engine, settings: dict[str, SettingValue], at_fault: list[str]
) -> None:
    assert [name for name, _ in settings_problems(engine, settings)] == at_fault
    if not at_fault:
        read_runtime_settings(engine, settings)
        return
    with pytest.raises(ValueError, match=f"^'{at_fault[0]}': "):
        read_runtime_settings(engine, settings)


def test_what_is_given_stands_and_the_rest_has_the_engines_defaults() -> None:
    assert read_runtime_settings(Engine.SIMULATED, {"slots": 3}) == RuntimeSettings(
        slots=3, queue_max=16, stall_s=60, golden_prompt="Say hello.", golden_expect=""
    )
    vectors = read_runtime_settings(Engine.ONNX, TEXT_NET)
    assert (vectors.slots, vectors.queue_max, vectors.task, vectors.tokenizer) == (
        1,
        128,
        "embeddings",
        "tokenizer.json",
    )
    assert read_runtime_settings(Engine.ONNX, TENSOR_NET).golden_prompt == ""
    with pytest.raises(ValueError, match="'slots' must be a whole number"):
        read_runtime_settings(Engine.GGUF, {"slots": -1})


@pytest.mark.parametrize("engine", list(ARTIFACT_SUFFIX))
def test_only_the_engines_own_format_is_served_and_what_may_run_code_is_called_so(engine: Engine) -> None:
    suffix = ARTIFACT_SUFFIX[engine]
    assert artifact_problem(engine, f"models/x{suffix}") is None
    assert artifact_problem(engine, f"models/x{suffix.upper()}") is None
    for unsafe in UNSAFE_SUFFIXES:
        problem = artifact_problem(engine, f"models/x{unsafe}") or ""
        assert problem.startswith(f"{unsafe} files are never loaded")
        assert suffix in problem
    assert (artifact_problem(engine, "x.safetensors") or "").endswith("ends in .safetensors")
    assert (artifact_problem(engine, "weights") or "").endswith("ends in nothing")


def test_the_files_beside_a_model_are_those_that_settings_name() -> None:
    assert list(side_files({})) == []
    assert list(side_files({**TEXT_NET, "labels": "labels.json"})) == [("tokenizer.json", SHA), ("labels.json", "")]


def test_each_replica_has_a_socket_of_its_own() -> None:
    assert [socket_name("mini", replica) for replica in range(3)] == [
        "rt-mini.sock",
        "rt-mini~1.sock",
        "rt-mini~2.sock",
    ]
