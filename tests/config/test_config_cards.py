"""Cards that go out and come in: by the formats' own schema and readers, and back again without loss."""

import contextlib
import json
import time
import warnings
from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml
from huggingface_hub import ModelCard

from lineclear.config.card_words import SPDX, hub_licence, licence_of_hub
from lineclear.config.foreign_card import CardUnreadable, Importer, document_of
from lineclear.config.manifest import InvalidManifest, read_values
from lineclear.config.model_bom import model_bom, read_model_bom
from lineclear.config.model_card import model_card, read_model_card
from lineclear.domain.manifest import Model, Provider, ProviderDialect

AT = "2026-11-22T10:00:00Z"
CARD: dict[str, Any] = {  # Any: a document
    "kind": "Model", "name": "small", "owner": "shop", "purpose": "Answers customers.\nIn short sentences: yes.",
    "approved_uses": ["support", "drafting"], "prohibited_uses": ["scoring"], "limitations": "Bad at sums.",
    "risks": "Makes things up.", "licence": "Apache-2.0", "data_classes": ["public", "internal"],
    "cost_tier": "low", "risk_tier": "high",
    "links": [{"name": "licence", "url": "https://a.example/l"}, {"name": "paper", "url": "https://a.example/p"}],
    "versions": [
        {"version": "1", "provider": "far", "upstream_id": "small-v1", "status": "deprecated", "successor": "small@2",
         "deprecated_at": "2026-01-01", "sunset": "2027-01-01", "end_of_life": "2027-02-01", "operations": ["chat"]},
        {"version": "2", "provider": "far", "upstream_id": "small-v2", "status": "approved", "context": 128000,
         "max_tokens": 4096, "capabilities": ["tools", "vision"], "price": {"input_per_mtok": "3"}},
        {"version": "3", "engine": "gguf", "artifact": "/secret/place.gguf", "sha256": "ab" * 32,
         "settings": {"threads": 2}},
    ],
}  # fmt: skip
PROVIDERS = {
    "far": Provider(name="far", dialects=(ProviderDialect.OPENAI,), base_url="https://far.example", region="eu")
}


def model_of(document: Any) -> Model:
    (read,) = read_values([document], "test")
    assert isinstance(read.manifest, Model)
    return read.manifest


MODEL = model_of(CARD)


def schema_check(bill: object) -> None:
    """By the format's own schema, as its own package carries it."""
    place = resources.files("cyclonedx.schema._res")
    schemas = {
        name: json.loads((place / f"{name}.SNAPSHOT.schema.json").read_text(encoding="utf-8"))
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its way to find other schemas has a successor
        store = {f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json": found for name, found in schemas.items()}
        store |= {found["$id"]: found for found in schemas.values()}
        resolver = jsonschema.RefResolver.from_schema(schemas["bom-1.6"], store=store)
        jsonschema.Draft7Validator(schemas["bom-1.6"], resolver=resolver).validate(bill)


def expected(version: str, **also: object) -> dict[str, object]:
    """What comes back of a version: all that others may know, and a status of its own."""
    kept = next(one for one in CARD["versions"] if one["version"] == version)
    lost = ("price", "settings", "artifact", "status", "successor", "deprecated_at", "sunset")
    return {**{name: value for name, value in kept.items() if name not in lost}, "status": "test", **also}


def test_a_bill_holds_to_the_formats_schema_and_says_every_version() -> None:
    bill = model_bom([MODEL], PROVIDERS, AT, "1.2.3")
    schema_check(bill)
    assert [one["bom-ref"] for one in bill["components"]] == ["small@1", "small@2", "small@3"]
    assert bill["components"][0]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert bill["components"][0]["supplier"] == {"name": "far", "url": ["https://far.example"]}
    assert "/secret/place.gguf" not in json.dumps(bill)
    assert model_bom([MODEL], PROVIDERS, AT, "1.2.3") == bill
    bare = model_of({"kind": "Model", "name": "x", "owner": "t", "licence": "the vendor's terms",
                     "versions": [{"version": "1", "engine": "simulated"}]})  # fmt: skip
    schema_check(model_bom([bare], {}, AT, "0"))
    schema_check(model_bom([], {}, AT, "0"))
    with pytest.raises(jsonschema.ValidationError):
        schema_check({**bill, "components": [{"type": "model"}]})


def test_a_bill_comes_back_without_loss() -> None:
    cards = read_model_bom(json.loads(json.dumps(model_bom([MODEL], PROVIDERS, AT, "1"))))
    made = [document_of(card, Importer("lab")) for card in cards]
    kept = {name: value for name, value in CARD.items() if name not in ("versions", "owner", "kind")}
    for document, version in zip(made, ("1", "2", "3"), strict=True):
        assert {name: document[name] for name in kept} == kept
        assert document["owner"] == "lab"
        assert document["versions"] == [expected(version)]
    model_of(made[0])
    with pytest.raises(CardUnreadable, match="SHA-256 differs"):
        document_of(cards[2], Importer("lab", artifact="/here.gguf", sha256="cd" * 32))
    hosted = document_of(cards[2], Importer("lab", artifact="/here.gguf", sha256="ab" * 32))
    assert model_of(hosted).versions[0].artifact == "/here.gguf"


def test_a_readme_is_read_by_the_hubs_own_library_and_comes_back_without_loss() -> None:
    text = model_card(MODEL)
    theirs = ModelCard(text)
    said = theirs.data.to_dict()  # type: ignore[no-untyped-call]  # the hub's library
    assert (said["license"], said["model_name"]) == ("apache-2.0", "small")
    assert said["pipeline_tag"] == "text-generation"
    assert "Answers customers." in theirs.text
    assert "/secret/place.gguf" not in text
    cards = read_model_card(text)
    made = [document_of(card, Importer("lab")) for card in cards]
    for document, version in zip(made, ("1", "2", "3"), strict=True):
        assert {name: document[name] for name in CARD if name not in ("versions", "owner")} == {
            name: value for name, value in CARD.items() if name not in ("versions", "owner")
        }
        assert document["versions"] == [expected(version)]
    odd = model_of({**CARD, "licence": "acme-terms"})
    named = ModelCard(model_card(odd)).data.to_dict()  # type: ignore[no-untyped-call]  # the hub's library
    assert (named["license"], named["license_name"]) == ("other", "acme-terms")
    assert named["license_link"] == "https://a.example/l"


FOREIGN = """---
license: mit
pipeline_tag: sentence-similarity
tags: [embeddings]
---
<!-- a note
# not a title -->

# Model Card for acme/Tiny Embedder

It makes vectors.

## Model Details

### Model Description

Vectors of short texts.

## Uses

### Out-of-Scope Use

Long texts.

## Bias, Risks, and Limitations

English only.

### Recommendations

[More Information Needed]
"""


def test_a_card_of_somebody_else_says_what_it_can() -> None:
    (card,) = read_model_card(FOREIGN.replace("\n", "\r\n"))
    document = document_of(card, Importer("lab", provider="far"))
    assert document == {
        "kind": "Model", "name": "tiny-embedder", "owner": "lab", "licence": "MIT",
        "purpose": "Vectors of short texts.",
        "limitations": "Long texts.", "risks": "English only.",
        "versions": [{
            "version": "1", "status": "test", "provider": "far", "upstream_id": "acme/Tiny Embedder",
            "operations": ["embeddings"],
        }],
    }  # fmt: skip
    model_of(document)
    (short,) = read_model_card("---\nlicense: other\nlicense_name: llama-x\n---\nJust a line.\n")
    assert (short.facts["purpose"], short.facts["licence"]) == ("Just a line.", "llama-x")


def test_only_headings_divide_a_card() -> None:
    text = "---\na: b\n---\n# C#\n## Risks ##\n```sh\n# not one\n```\n####### nor this\n## Uses\nmuch\n<!-- open"
    (card,) = read_model_card(text)
    assert card.name == "C#"
    assert card.facts["risks"] == "```sh\n# not one\n```\n####### nor this"
    assert card.facts["purpose"] == "much\n<!-- open"


@pytest.mark.parametrize("body", ["<!--" * 240_000, "# " + " " * 900_000 + "x", "# x" + " #" * 450_000 + "y"])
def test_a_card_is_read_in_one_pass(body: str) -> None:
    began_s = time.process_time()
    read_model_card(f"---\na: b\n---\n{body}")
    assert time.process_time() - began_s < 5


@pytest.mark.parametrize(
    "metadata",
    [
        "model_name: [a]\nlicense: [b]\nlicense_name: {c: d}\nlicense_link: 3\npipeline_tag: [e]",
        'model_name: !!int ""\nlicense: !!timestamp x',
        "1: 2\n[3]: 4\nlineclear: {kind: Route, name: 7, 5: 6, versions: [{version: [8], 9: 10}, 11, {}]}",
        "lineclear: {name: x, versions: [{version: 2026-01-01, sunset: 2026-13-45}]}",
    ],
)
def test_values_of_any_type_are_read_or_refused_in_words(metadata: str) -> None:
    for card in read_model_card(f"---\n{metadata}\n---\nText.\n"):
        document = document_of(card, Importer("lab", provider="far"))
        assert document["kind"] == "Model"
        with contextlib.suppress(InvalidManifest):
            read_values([document], "test")


@pytest.mark.parametrize("written", ["ab" * 32, "AB" * 32])
def test_a_file_is_held_to_the_hash_of_anybodys_bill(written: str) -> None:
    component = {"type": "machine-learning-model", "name": "x", "hashes": [{"alg": "SHA-256", "content": written}]}
    (card,) = read_model_bom({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [component]})
    with pytest.raises(CardUnreadable, match="SHA-256 differs"):
        document_of(card, Importer("lab", artifact="/here.gguf", sha256="cd" * 32))
    hosted = model_of(document_of(card, Importer("lab", artifact="/here.gguf", sha256="ab" * 32)))
    assert hosted.versions[0].sha256 == "ab" * 32
    model_of(document_of(card, Importer("lab", provider="far")))


def test_a_bill_of_somebody_else_says_what_it_can() -> None:
    bill = {
        "bomFormat": "CycloneDX", "specVersion": "1.5",
        "components": [
            {"type": "library", "name": "numpy"},
            {"type": "machine-learning-model", "name": "Acme/Big", "version": "v 1",
             "licenses": [{"expression": "MIT"}],
             "modelCard": {"considerations": {"useCases": ["chat"], "ethicalConsiderations": [{"name": "bias"}]}}},
        ],
        "metadata": {"component": {"type": "machine-learning-model", "name": "main"}},
    }  # fmt: skip
    big, main = (document_of(card, Importer("lab", provider="far")) for card in read_model_bom(bill))
    assert (big["name"], big["purpose"], big["risks"], big["licence"]) == ("big", "chat", "bias", "MIT")
    assert big["versions"][0]["version"] == "v-1"
    assert main["name"] == "main"
    model_of(big)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# no metadata", "does not begin with metadata"),
        ("---\n{a\n---\n", "no YAML"),
        ("---\n- a\n---\n", "no mapping"),
        ("---\na: b\n---\n" + "x" * 1_000_001, "longer than"),
        ("---\na: &a [b]\nc: [*a, *a]\n---\n", r"refer to another place of their own, \*a"),
        ("---\n" + "[" * 900_000 + "\n---\n", "levels"),
        ("---\nlineclear: {versions: [" + "{}," * 1_001 + "]}\n---\n", "more than 1000 versions"),
    ],
)
def test_a_text_that_is_no_card(text: str, words: str) -> None:
    with pytest.raises(CardUnreadable, match=words):
        read_model_card(text)


@pytest.mark.parametrize(
    ("bill", "words"),
    [
        ([], "no CycloneDX"),
        ({"bomFormat": "SPDX"}, "no CycloneDX"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.4"}, "1.4"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "library"}]}, "none of its"),
        ({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": 3, "metadata": 4}, "none of its"),
    ],
)
def test_a_bill_that_names_no_model(bill: object, words: str) -> None:
    with pytest.raises(CardUnreadable, match=words):
        read_model_bom(bill)


def test_licences_have_words_there_and_back() -> None:
    place = resources.files("cyclonedx.schema._res")
    known = set(json.loads((place / "spdx.SNAPSHOT.schema.json").read_text(encoding="utf-8"))["enum"])
    assert [name for name in SPDX if name not in known] == []
    assert [name for name in SPDX if licence_of_hub(hub_licence(name) or "") != name] == []
    assert (hub_licence("gemma"), hub_licence("ours"), licence_of_hub("GEMMA")) == ("gemma", None, "GEMMA")
    assert yaml.safe_load(yaml.safe_dump(list(SPDX))) == list(SPDX)
