"""Settings of hosted versions: the same table speaks to the manifest reader and to the runtime."""

import re
from pathlib import Path

import pytest

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
