"""Hosted models: the states a runtime goes through and the settings each engine understands.

In: an engine's name and the `settings` of a model version. Out: checked values, or the reason against them.
The manifest reader and the runtime process ask the same table, so that nothing is accepted and then ignored.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeAlias

import msgspec

from lineclear.domain.catalogue import Engine

SettingValue: TypeAlias = "int | str | bool"


class RuntimeState(StrEnum):
    """Where a hosted model version stands on its way from a file to an endpoint and back."""

    QUEUED = "queued"
    """Known, not begun."""
    VERIFYING = "verifying"
    """The artefact's digest is being compared."""
    LOADING = "loading"
    WARMING = "warming"
    """The golden sample is being answered."""
    READY = "ready"
    DRAINING = "draining"
    """No new work; what runs is finished."""
    UNLOADED = "unloaded"
    FAILED = "failed"


class WholeSetting(msgspec.Struct, frozen=True):
    """A whole number between two bounds."""

    low: int
    high: int
    default: int


class TextSetting(msgspec.Struct, frozen=True):
    """A text of bounded length; empty is allowed and means "not given"."""

    default: str
    chars_max: int = 2000


Setting: TypeAlias = WholeSetting | TextSetting

COMMON_SETTINGS: Mapping[str, Setting] = {
    "queue_max": WholeSetting(0, 1024, 16),
    "stall_s": WholeSetting(1, 3600, 60),
    "golden_prompt": TextSetting("Say hello."),
    "golden_expect": TextSetting(""),
}

ENGINE_SETTINGS: Mapping[Engine, Mapping[str, Setting]] = {
    Engine.GGUF: {
        **COMMON_SETTINGS,
        "slots": WholeSetting(1, 64, 2),
        "threads": WholeSetting(0, 256, 0),
        "context": WholeSetting(128, 1 << 20, 2048),
        "output_tokens": WholeSetting(1, 1 << 20, 512),
    },
    Engine.SIMULATED: {**COMMON_SETTINGS, "slots": WholeSetting(1, 65536, 1024)},
}
"""What may stand under `settings` of a model version, by engine."""


class RuntimeSettings(msgspec.Struct, frozen=True):
    """The settings of one runtime, checked and with defaults filled in."""

    slots: int
    """Requests the engine works on at the same time."""
    queue_max: int
    """Requests that may wait for a slot; one more is 503 `overloaded`."""
    stall_s: int
    """Busy for this long without a completed step = the process is replaced."""
    golden_prompt: str
    """What the warm-up asks, in one user message."""
    golden_expect: str
    """Text that the warm-up's answer must contain; empty = any text will do."""
    threads: int
    """CPU threads of the engine; 0 = one less than the cores this process may use, at least 1."""
    context: int
    """Tokens of context of each slot; 0 where the engine has none."""
    output_tokens: int
    """Output cap of a request that names none; a small model may otherwise ramble to the end of its context."""


def setting_problem(engine: Engine, name: str, value: SettingValue) -> str | None:
    """Why `name: value` cannot stand under `settings` of a model version with this engine; None if it can."""
    setting = ENGINE_SETTINGS[engine].get(name)
    if setting is None:
        known = ", ".join(sorted(ENGINE_SETTINGS[engine]))
        return f"engine {engine.value!r} has no setting {name!r}; it has: {known}"
    if isinstance(setting, TextSetting):
        if isinstance(value, str) and len(value) <= setting.chars_max:
            return None
        return f"{name!r} must be a text of at most {setting.chars_max} characters, not {value!r}"
    if isinstance(value, int) and not isinstance(value, bool) and setting.low <= value <= setting.high:
        return None
    return f"{name!r} must be a whole number from {setting.low} to {setting.high}, not {value!r}"


def read_runtime_settings(engine: Engine, settings: Mapping[str, SettingValue]) -> RuntimeSettings:
    """The settings of a runtime with defaults filled in.

    Raises:
        ValueError: a name is unknown to the engine, or a value is outside its bounds.
    """
    for name, value in settings.items():
        problem = setting_problem(engine, name, value)
        if problem is not None:
            raise ValueError(problem)
    values = {name: setting.default for name, setting in ENGINE_SETTINGS[engine].items()}
    return msgspec.convert({"threads": 0, "context": 0, "output_tokens": 0, **values, **settings}, RuntimeSettings)
