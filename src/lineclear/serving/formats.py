"""What a model file is, by its first bytes: which engine serves it, or why none does.

In: a path. Out: an engine, or the reason against the file. Nothing is loaded: a format that may run code is known by
its beginning and refused before any library sees it.
"""

from pathlib import Path

from lineclear.domain.catalogue import Engine
from lineclear.domain.runtimes import artifact_problem
from lineclear.serving.artifact import ArtifactRefused

HEAD_BYTES = 16
MAGICS: dict[Engine, bytes] = {Engine.GGUF: b"GGUF", Engine.ONNX: b"\x08"}
"""First bytes. Source: ggml's docs/gguf.md; onnx.proto, ModelProto, whose first field is the format's version."""
CODE_MAGICS = (
    (b"PK\x03\x04", "a zip archive, as PyTorch and Keras write them, with pickles in it"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x93NUMPY", "a NumPy array, which may hold pickles"),
    (b"\x89HDF", "an HDF5 file, whose layers may hold code"),
)


def engine_of(path: Path) -> Engine:
    """The engine that serves this file, by name and content.

    Raises:
        ArtifactRefused: none does, or the file cannot be read.
    """
    for engine in MAGICS:
        if artifact_problem(engine, path.name) is None:
            demand_format(path, engine)
            return engine
    head = _head(path)
    if head.startswith(MAGICS[Engine.GGUF]):
        raise ArtifactRefused(f"{path} holds a GGUF model; give it a name that ends in .gguf")
    raise ArtifactRefused(artifact_problem(Engine.GGUF, path.name) or f"{path} is of no format that is served")


def demand_format(path: Path, engine: Engine) -> None:
    """Returns if the file begins as the engine's format does.

    Raises:
        ArtifactRefused: it does not; the message says what it is instead, where that is known.
    """
    head = _head(path)
    if head.startswith(MAGICS[engine]):
        return
    for beginning, what in CODE_MAGICS:
        if head.startswith(beginning):
            raise ArtifactRefused(f"{path} is no {engine.name} file but {what}; it is not loaded")
    raise ArtifactRefused(f"{path} is no {engine.name} file: its first bytes are {head[:4].hex(' ')}")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise ArtifactRefused(f"the model file {path} cannot be read: {error.strerror}") from error
