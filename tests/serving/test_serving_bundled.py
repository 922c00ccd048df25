"""Which models come with the product, what their manifests say, and that fetching one keeps only what was pinned."""

import base64
import hashlib
import zipfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from lineclear.cli.models_pull import pull
from lineclear.config.manifest import read_values
from lineclear.config.settings import read_settings
from lineclear.domain.manifest import Model, Route
from lineclear.serving.artifact import file_sha256
from lineclear.serving.bundled import (
    BUNDLED_MODELS,
    SMOLLM2,
    VENDOR_DIR,
    BundledModel,
    bundled_documents,
    find_artifact,
    stored_path,
)
from lineclear.serving.pull import PullFailed, pull_model

CONTENT = b"GGUF" + b"weights" * 100


def make_index(folder: Path, content: bytes = CONTENT) -> BundledModel:
    """A folder that pip can fetch a small package from, and the pins of that package."""
    member = "tiny_model/tiny.gguf"
    files = {
        member: content,
        "tiny_model-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: t\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in files.items()
    )
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**files, "tiny_model-1.0.dist-info/RECORD": record.encode()}.items():
            archive.writestr(name, data)
    return msgspec.structs.replace(
        SMOLLM2,
        name="tiny",
        package="tiny-model",
        package_version="1.0",
        wheel_sha256=file_sha256(wheel),
        member=member,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        file_bytes=len(CONTENT),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip's own settings point at this folder and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_bundled_documents_are_manifests(tmp_path: Path) -> None:
    manifests = [document.manifest for document in read_values(bundled_documents(tmp_path), "bundled")]

    models = {manifest.name: manifest for manifest in manifests if isinstance(manifest, Model)}
    routes = {manifest.name: manifest for manifest in manifests if isinstance(manifest, Route)}
    assert set(models) == set(routes) >= {"simulated"}
    for name, route in routes.items():
        assert set(route.environments) == {"test", "live"}
        version = models[name].versions[0]
        assert [target.model for target in route.environments["live"].targets] == [f"{name}@{version.version}"]
        assert version.price is not None
        assert version.status == "approved"


def test_the_real_model_is_found_and_named_by_its_digest() -> None:
    store = read_settings().model_store
    artifact = find_artifact(SMOLLM2, store)
    assert artifact is not None, "smollm2 is not on this machine: run `lineclear models pull smollm2`"

    document = next(document for document in bundled_documents(store) if document["name"] == "smollm2")
    assert document["versions"][0]["artifact"] == str(artifact)
    assert document["versions"][0]["sha256"] == file_sha256(artifact)
    assert document["versions"][0]["price"] == {"input_per_mtok": "0", "output_per_mtok": "0"}


def test_pull_fetches_checks_and_keeps(index: Path, tmp_path: Path) -> None:
    model, store = make_index(index), tmp_path / "store"
    told: list[str] = []

    path = pull_model(model, store, told.append)
    assert path == stored_path(model, store) == find_artifact(model, store)
    assert path.read_bytes() == CONTENT
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["tiny.gguf"]
    assert told[0] == "fetching tiny-model 1.0 (Apache-2.0)"

    next(index.iterdir()).unlink()  # the second time nothing is fetched
    assert pull_model(model, store, told.append) == path
    assert "is there already" in told[-1]


def test_a_damaged_file_is_fetched_again(index: Path, tmp_path: Path) -> None:
    model, store = make_index(index), tmp_path / "store"
    path = stored_path(model, store)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * len(CONTENT))

    assert pull_model(model, store, lambda _: None).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"wheel_sha256": "0" * 64}, "pip could not fetch"),
        ({"package_version": "9.9"}, "pip could not fetch"),
        ({"member": "tiny_model/other.gguf"}, "does not hold"),
        ({"file_bytes": 5}, "not the file of 5 bytes"),
        ({"sha256": "0" * 64}, "nothing was kept"),
        ({"file_bytes": 1 << 60}, "free some space"),
    ],
)
def test_pull_keeps_nothing_that_is_not_as_pinned(
    index: Path, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    model = msgspec.structs.replace(make_index(index), **change)

    with pytest.raises(PullFailed, match=reason):
        pull_model(model, tmp_path / "store", lambda _: None)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def test_a_store_that_cannot_be_written_is_said(index: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")

    with pytest.raises(PullFailed, match="cannot be used"):
        pull_model(make_index(index), tmp_path / "store", lambda _: None)


def test_a_module_in_the_current_directory_is_not_taken_for_pip(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('foreign code')\n")
    monkeypatch.chdir(tmp_path)
    assert pull_model(make_index(index), tmp_path / "store", lambda _: None).read_bytes() == CONTENT


def test_the_command_names_what_can_be_pulled() -> None:
    result = CliRunner().invoke(pull, ["gpt-9"])

    assert result.exit_code == 5
    assert "bundled models: smollm2, minilm, magika" in result.output


def test_every_vendored_file_has_its_source_licence_and_digest() -> None:
    entries = {entry["file"]: entry for entry in msgspec.json.decode((VENDOR_DIR / "sources.json").read_bytes())}
    licences = {entry["licence_file"] for entry in entries.values()}

    assert {path.name for path in VENDOR_DIR.iterdir()} == {*entries, *licences, "sources.json"}
    for name, entry in entries.items():
        assert file_sha256(VENDOR_DIR / name) == entry["sha256"]
        assert entry["source"]
        assert "Apache License" in (VENDOR_DIR / entry["licence_file"]).read_text()
    side_files = {file.member: file.sha256 for model in BUNDLED_MODELS for file in model.side_files}
    assert side_files == {name: entry["sha256"] for name, entry in entries.items()}
    assert sum(path.stat().st_size for path in VENDOR_DIR.iterdir()) < 5_000_000
