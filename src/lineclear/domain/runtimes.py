"""Hosted models: the states a runtime goes through and the settings each engine understands.

In: an engine's name and the `settings` of a model version. Out: checked values, or the reason against them.
The manifest reader and the runtime process ask the same table, so that nothing is accepted and then ignored.
"""

import re
from collections.abc import Iterator, Mapping
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


class ChoiceSetting(msgspec.Struct, frozen=True):
    """One of a few words."""

    choices: tuple[str, ...]
    default: str


Setting: TypeAlias = WholeSetting | TextSetting | ChoiceSetting

GENERATION = "generation"
EMBEDDINGS = "embeddings"
CLASSIFICATION = "classification"
"""What a model is loaded for: setting `task`."""
POOLING_OF_MODEL = "model"
"""The pooling that the model file names: setting `pooling`."""
TEXT = "text"
BYTES = "bytes"
TENSOR = "tensor"
"""What an ONNX net reads: setting `reads`."""
IDENTITY_SETTINGS = ("task", "reads", "pooling", "padding", "tokenizer_sha256", "labels_sha256")
"""Settings that decide what a model computes of an input: part of a version, as the model file is."""
GOLDEN_PROMPT = "golden_prompt"

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
        "task": ChoiceSetting((GENERATION, EMBEDDINGS), GENERATION),
        "pooling": ChoiceSetting((POOLING_OF_MODEL, "mean", "cls", "last"), POOLING_OF_MODEL),
    },
    Engine.ONNX: {
        **COMMON_SETTINGS,
        "slots": WholeSetting(1, 64, 1),
        "queue_max": WholeSetting(0, 1024, 128),
        "threads": WholeSetting(0, 256, 0),
        "context": WholeSetting(8, 32_768, 512),
        "task": ChoiceSetting((EMBEDDINGS, CLASSIFICATION), EMBEDDINGS),
        "reads": ChoiceSetting((TEXT, BYTES, TENSOR), TEXT),
        "inputs_max": WholeSetting(1, 2048, 256),
        "batch": WholeSetting(1, 256, 16),
        "tokenizer": TextSetting(""),
        "tokenizer_sha256": TextSetting(""),
        "labels": TextSetting(""),
        "labels_sha256": TextSetting(""),
        "padding": WholeSetting(0, 65_535, 256),
    },
    Engine.SIMULATED: {**COMMON_SETTINGS, "slots": WholeSetting(1, 65536, 1024)},
}
"""What may stand under `settings` of a model version, by engine."""

REPLICAS_MAX = 16
RUNTIME_PROCESSES_MAX = 64
"""More runtime processes than this on one machine is a mistake in the catalogue."""
ARTIFACT_SUFFIX: Mapping[Engine, str] = {Engine.GGUF: ".gguf", Engine.ONNX: ".onnx"}
UNSAFE_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".dill", ".npy", ".npz", ".h5", ".keras", ".mar"}
)
"""Formats that may run code when they are read, or that are only ever read by a library which does so."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class RuntimeSettings(msgspec.Struct, frozen=True):
    """The settings of one runtime, checked and with defaults filled in."""

    slots: int
    """Requests the engine works on at the same time."""
    queue_max: int
    """Requests that may wait for a slot; one more is 503 `overloaded`."""
    stall_s: int
    """Busy for this long without a completed step = the process is replaced."""
    golden_prompt: str
    """What the warm-up asks, in one user message or as one input; for tensors an array as JSON, empty = zeros."""
    golden_expect: str
    """Text that the warm-up's answer must contain, or the label it must give; empty = any will do."""
    threads: int = 0
    """CPU threads of the engine; 0 = one less than the cores this process may use, at least 1."""
    context: int = 0
    """Tokens of context of each slot; for an ONNX net the most that one input may have. 0 where there are none."""
    output_tokens: int = 0
    """Output cap of a request that names none; a small model may otherwise ramble to the end of its context."""
    task: str = ""
    """GENERATION or EMBEDDINGS for a GGUF model, EMBEDDINGS or CLASSIFICATION for an ONNX net."""
    pooling: str = ""
    """How a GGUF model loaded for embeddings makes one vector of many; POOLING_OF_MODEL = its own way."""
    reads: str = ""
    """TEXT, BYTES or TENSOR for an ONNX net."""
    inputs_max: int = 0
    """Inputs that one request may have."""
    batch: int = 0
    """Inputs that are computed at once."""
    tokenizer: str = ""
    """Path of a tokenizer.json, from the model file's folder."""
    tokenizer_sha256: str = ""
    labels: str = ""
    """Path of a JSON list of labels, from the model file's folder."""
    labels_sha256: str = ""
    padding: int = 0
    """The number that stands where an input has no byte."""


def setting_problem(engine: Engine, name: str, value: SettingValue) -> str | None:
    """Why `name: value` cannot stand under `settings` of a model version with this engine; None if it can."""
    setting = ENGINE_SETTINGS[engine].get(name)
    if setting is None:
        known = ", ".join(sorted(ENGINE_SETTINGS[engine]))
        return f"engine {engine.value!r} has no setting {name!r}; it has: {known}"
    match setting:
        case TextSetting():
            if isinstance(value, str) and len(value) <= setting.chars_max:
                return None
            return f"{name!r} must be a text of at most {setting.chars_max} characters, not {value!r}"
        case ChoiceSetting():
            return (
                None if value in setting.choices else f"{name!r} must be {' or '.join(setting.choices)}, not {value!r}"
            )
        case WholeSetting():
            if isinstance(value, int) and not isinstance(value, bool) and setting.low <= value <= setting.high:
                return None
            return f"{name!r} must be a whole number from {setting.low} to {setting.high}, not {value!r}"


def settings_problems(engine: Engine, settings: Mapping[str, SettingValue]) -> Iterator[tuple[str, str]]:
    """Settings that do not fit together, each with the reason; every one on its own is right."""
    if engine is Engine.GGUF:
        yield from _gguf_problems(settings)
    if engine is not Engine.ONNX:
        return
    reads = settings.get("reads", TEXT)
    reads_text = reads == TEXT
    classifies = settings.get("task", EMBEDDINGS) == CLASSIFICATION
    if not reads_text and not classifies:
        yield "reads", f"only a net with `task: classification` reads {reads}{'' if reads == BYTES else 's'}"
    for file, needed, when in (
        ("tokenizer", reads_text, "reads: text"),
        ("labels", classifies, "task: classification"),
    ):
        digest = str(settings.get(f"{file}_sha256", ""))
        if needed and not settings.get(file):
            yield file, f"a net with `{when}` needs `{file}`, a file beside the model file, and its `{file}_sha256`"
        elif not needed and (settings.get(file) or digest):
            yield file, f"`{file}` has no effect without `{when}`"
        elif needed and not _SHA256.fullmatch(digest):
            yield f"{file}_sha256", f"the sha256 of the file `{file}` must be 64 lower-case hex digits"
    if not classifies and settings.get("golden_expect"):
        yield "golden_expect", "vectors contain no text; leave it out"
    yield from _reading_problems(str(reads), settings)


def _reading_problems(reads: str, settings: Mapping[str, SettingValue]) -> Iterator[tuple[str, str]]:
    if reads != BYTES and "padding" in settings:
        yield "padding", "has no effect without `reads: bytes`; a tokenizer brings its own, and a tensor has no gaps"
    if reads != TEXT and "context" in settings:
        yield "context", "has no effect without `reads: text`; the net's own shape says how much it reads"
    if reads == TENSOR and GOLDEN_PROMPT in settings and not _is_array(str(settings[GOLDEN_PROMPT])):
        yield GOLDEN_PROMPT, "has to be an input as a JSON array with `reads: tensor`, such as [5.1, 3.5, 1.4, 0.2]"


def _is_array(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), list)
    except msgspec.DecodeError:
        return False


def _gguf_problems(settings: Mapping[str, SettingValue]) -> Iterator[tuple[str, str]]:
    if settings.get("task", GENERATION) == GENERATION:
        if "pooling" in settings:
            yield "pooling", "has no effect without `task: embeddings`"
        return
    if "slots" in settings:
        yield "slots", "has no effect with `task: embeddings`, whose inputs are computed one after the other"
    if "output_tokens" in settings:
        yield "output_tokens", "has no effect with `task: embeddings`, which puts out no tokens"
    if settings.get("golden_expect"):
        yield "golden_expect", "vectors contain no text; leave it out"


def artifact_problem(engine: Engine, artifact: str) -> str | None:
    """Why a file of this name is not served; None if its name is right. Its content is judged by the runtime."""
    suffix = artifact[artifact.rfind(".") :].lower() if "." in artifact else ""
    wanted = ARTIFACT_SUFFIX[engine]
    if suffix == wanted:
        return None
    if suffix in UNSAFE_SUFFIXES:
        return (
            f"{suffix} files are never loaded: reading one may run code that it carries (pickle and its kin); "
            f"convert the model to {wanted}"
        )
    return f"engine {engine.value!r} serves {wanted} files, and this one ends in {suffix or 'nothing'}"


def read_runtime_settings(engine: Engine, settings: Mapping[str, SettingValue]) -> RuntimeSettings:
    """The settings of a runtime with defaults filled in.

    Raises:
        ValueError: a name is unknown to the engine, a value is outside its bounds, or two do not fit together.
    """
    for name, value in settings.items():
        problem = setting_problem(engine, name, value)
        if problem is not None:
            raise ValueError(problem)
    for name, problem in settings_problems(engine, settings):
        raise ValueError(f"{name!r}: {problem}")
    values = {name: setting.default for name, setting in ENGINE_SETTINGS[engine].items()}
    if settings.get("reads") == TENSOR:
        values[GOLDEN_PROMPT] = ""
    return msgspec.convert({**values, **settings}, RuntimeSettings)


def identity_settings(engine: Engine, settings: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    """The IDENTITY_SETTINGS of an engine with defaults filled in."""
    known = ENGINE_SETTINGS[engine]
    return {name: settings.get(name, known[name].default) for name in IDENTITY_SETTINGS if name in known}


def side_files(settings: Mapping[str, SettingValue]) -> Iterator[tuple[str, str]]:
    """(path, sha256) of every file beside the model file that settings name."""
    for file in ("tokenizer", "labels"):
        if settings.get(file):
            yield str(settings[file]), str(settings.get(f"{file}_sha256", ""))


def socket_name(runtime: str, replica: int = 0) -> str:
    """File name of a replica's socket in the run directory. `~` stands in no runtime's name."""
    return f"rt-{runtime}~{replica}.sock" if replica else f"rt-{runtime}.sock"
