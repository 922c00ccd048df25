"""Bills of materials of models: CycloneDX 1.6 with a model card for each version.

In: models and providers, or a bill's JSON. Out: the bill, or what it says as foreign cards. Pure.
What has no place in the format stands in properties whose names begin with `lineclear:`, one for each value.
Source: cyclonedx.org/docs/1.6/json.
"""

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from lineclear.config.card_words import TASKS, spdx_licence
from lineclear.config.foreign_card import CardUnreadable, ForeignCard
from lineclear.domain.manifest import Model, ModelVersion, Provider, model_version_id

# Any, in this file: JSON of the format.

FORMAT: Final = "CycloneDX"
SPEC: Final = "1.6"
READABLE: Final = ("1.5", "1.6", "1.7")
"""Versions of the format that have model cards."""
MEDIA_TYPE: Final = f"application/vnd.cyclonedx+json; version={SPEC}"
KIND: Final = "machine-learning-model"
OURS: Final = "lineclear:"
COMPONENTS_MAX: Final = 10_000
_LISTS: Final = ("approved_uses", "prohibited_uses", "data_classes")
_WORDS: Final = ("cost_tier", "risk_tier")
_OF_VERSION: Final = ("provider", "upstream_id", "engine", "sunset", "end_of_life", "deprecated_at", "successor")
_NUMBERS: Final = ("context", "max_tokens")
_VERSION_LISTS: Final = ("operations", "capabilities")


def model_bom(models: Iterable[Model], providers: Mapping[str, Provider], at: str, maker: str) -> dict[str, Any]:
    """The bill of these models.

    Args:
        models: every version of each is one component.
        providers: by name; those that serve here.
        at: when, ISO 8601.
        maker: the version of the program that writes it.
    """
    components = [_component(model, version, providers) for model in models for version in model.versions]
    tools = {"components": [{"type": "application", "name": "lineclear", "version": maker}]}
    digest = hashlib.sha256(msgspec.json.encode([at, components], order="deterministic")).digest()
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": FORMAT,
        "specVersion": SPEC,
        # Named by its content: the same bill of the same moment has the same number.
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}",
        "version": 1,
        "metadata": {"timestamp": at, "tools": tools},
        "components": components,
    }


def read_model_bom(bill: object) -> list[ForeignCard]:
    """Every model that a bill names.

    Raises:
        CardUnreadable: it is no CycloneDX of a version with model cards, or names no model.
    """
    if not isinstance(bill, dict) or bill.get("bomFormat") != FORMAT:
        raise CardUnreadable(f"it is no {FORMAT} bill: `bomFormat` says otherwise")
    if bill.get("specVersion") not in READABLE:
        raise CardUnreadable(f"its `specVersion` is {bill.get('specVersion')!r}; read are {', '.join(READABLE)}")
    listed = bill.get("components")
    main = bill.get("metadata", {}).get("component") if isinstance(bill.get("metadata"), dict) else None
    candidates = [*(listed if isinstance(listed, list) else ()), main][: COMPONENTS_MAX + 1]
    found = [item for item in candidates if isinstance(item, dict) and item.get("type") == KIND]
    if not found:
        raise CardUnreadable(f"none of its components is a {KIND}")
    return [_foreign(item) for item in found]


def _component(model: Model, version: ModelVersion, providers: Mapping[str, Provider]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": KIND,
        "bom-ref": model_version_id(model.name, version.version),
        "name": model.name,
        "version": version.version,
    }
    provider = providers.get(version.provider or "")
    if provider is not None:
        made["supplier"] = {"name": provider.name, "url": [provider.base_url]}
    if model.purpose:
        made["description"] = model.purpose
    if model.licence:
        spdx = spdx_licence(model.licence)
        made["licenses"] = [{"license": {"id": spdx} if spdx else {"name": model.licence}}]
    if version.sha256:
        made["hashes"] = [{"alg": "SHA-256", "content": version.sha256}]
    if model.links:
        made["externalReferences"] = [_reference(link.name, link.url) for link in model.links]
    card = _card(model, version)
    if card:
        made["modelCard"] = card
    made["properties"] = list(_properties(model, version, provider))
    return made


_REFERENCES: Final = {"licence": "license", "license": "license", "documentation": "documentation",
                      "model card": "model-card", "website": "website"}  # fmt: skip


def _reference(name: str, url: str) -> dict[str, str]:
    return {"type": _REFERENCES.get(name.lower(), "other"), "url": url, "comment": name}


def _card(model: Model, version: ModelVersion) -> dict[str, Any]:
    task = next((TASKS[one] for one in version.operations if one in TASKS), None)
    considerations: dict[str, Any] = {}
    if model.approved_uses:
        considerations["useCases"] = list(model.approved_uses)
    if model.limitations:
        considerations["technicalLimitations"] = [model.limitations]
    if model.risks:
        considerations["ethicalConsiderations"] = [{"name": model.risks}]
    made: dict[str, Any] = {"modelParameters": {"task": task}} if task else {}
    return {**made, "considerations": considerations} if considerations else made


def _properties(model: Model, version: ModelVersion, provider: Provider | None) -> Iterator[dict[str, str]]:
    said: list[tuple[str, str]] = [("owner", model.owner), ("status", version.status.value)]
    said += [(name, str(value)) for name in _LISTS for value in getattr(model, name)]
    said += [(name, getattr(model, name).value) for name in _WORDS]
    said += [(name, str(getattr(version, name))) for name in (*_OF_VERSION, *_NUMBERS) if getattr(version, name)]
    said += [(name, str(value)) for name in _VERSION_LISTS for value in getattr(version, name)]
    if provider is not None and provider.region:
        said.append(("provider_region", provider.region))
    for name, value in said:
        yield {"name": f"{OURS}{name}", "value": value}


def _foreign(component: Mapping[str, Any]) -> ForeignCard:
    said: dict[str, list[str]] = {}
    for item in _dicts(component.get("properties")):
        name, value = item.get("name"), item.get("value")
        if isinstance(name, str) and isinstance(value, str) and name.startswith(OURS):
            said.setdefault(name.removeprefix(OURS), []).append(value)
    card = component.get("modelCard")
    considered = card.get("considerations") if isinstance(card, dict) else None
    considered = considered if isinstance(considered, dict) else {}
    use_cases = _texts(considered.get("useCases"))
    risks = [str(item["name"]) for item in _dicts(considered.get("ethicalConsiderations")) if item.get("name")]
    facts: dict[str, Any] = {
        # What our own card says in one text comes back as it was; of others the use cases say what it is for.
        "purpose": str(component.get("description") or "") or ("" if said else "; ".join(use_cases)),
        "limitations": "\n".join(_texts(considered.get("technicalLimitations"))),
        "risks": "\n".join(risks),
        "licence": _licence(component),
        "links": list(_links(component)),
        **{name: said[name] for name in _LISTS if name in said},
        **{name: said[name][0] for name in _WORDS if name in said},
    }
    of_version: dict[str, Any] = {
        **{name: said[name][0] for name in _OF_VERSION if name in said},
        **{name: int(said[name][0]) for name in _NUMBERS if name in said and said[name][0].isascii()
           and said[name][0].isdigit()},
        **{name: said[name] for name in _VERSION_LISTS if name in said},
    }  # fmt: skip
    for item in _dicts(component.get("hashes")):
        content = item.get("content")
        if item.get("alg") == "SHA-256" and isinstance(content, str) and content:
            of_version["sha256"] = content.lower()
    return ForeignCard(str(component.get("name") or "model"), str(component.get("version") or ""), facts, of_version)


def _licence(component: Mapping[str, Any]) -> str:
    for item in _dicts(component.get("licenses")):
        named = item.get("license")
        if isinstance(named, dict):
            return str(named.get("id") or named.get("name") or "")
        if item.get("expression"):
            return str(item["expression"])
    return ""


def _links(component: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for item in _dicts(component.get("externalReferences")):
        url = item.get("url")
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            yield {"name": str(item.get("comment") or item.get("type") or "other"), "url": url}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
