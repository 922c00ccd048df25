"""Cards as the Hugging Face Hub has them: a README with YAML metadata in front.

In: a Model, or a README's text. Out: the README, or what it says as a foreign card. Pure.
What has no place in the hub's words stands in the metadata under `lineclear`, so that a card that goes out and comes
back says the same. Source: huggingface.co/docs/hub/model-cards; the template of `huggingface_hub`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from lineclear.config.card_words import TASKS, hub_licence, licence_of_hub, operations_of_task
from lineclear.config.foreign_card import CardUnreadable, ForeignCard
from lineclear.config.manifest_text import manifest_values, values_text
from lineclear.config.yaml_tree import DEPTH_MAX, read_trees
from lineclear.domain.manifest import Model, ModelVersion

CARD_CHARS_MAX: Final = 1_000_000
VERSIONS_MAX: Final = 1_000
"""Versions of one card."""
OURS: Final = "lineclear"
_METADATA: Final = re.compile(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_PLACEHOLDER: Final = "[More Information Needed]"
_PRIVATE: Final = ("artifact", "settings", "replicas", "price")
"""Fields of a version that are about the machine and the contract that serve it here."""


def model_card(model: Model) -> str:
    """A README of the hub's form. Files' places, engine settings and prices do not stand in it."""
    licence = hub_licence(model.licence)
    metadata: dict[str, Any] = {}  # Any: YAML of the hub
    if model.licence:
        metadata["license"] = licence or "other"
        if licence is None:
            metadata["license_name"] = model.licence
        link = next((one.url for one in model.links if one.name.lower() in ("licence", "license")), None)
        if link and licence is None:
            metadata["license_link"] = link
    task = next((TASKS[one] for version in model.versions for one in version.operations if one in TASKS), None)
    if task:
        metadata["pipeline_tag"] = task
    metadata |= {"model_name": model.name, "tags": [OURS], OURS: _ours(model)}
    return f"---\n{values_text(metadata)}---\n\n" + "\n".join(_body(model)).strip() + "\n"


def read_model_card(text: str) -> list[ForeignCard]:
    """What a README says: every version that our own metadata names, else one.

    Raises:
        CardUnreadable: it has no metadata in front, they are no YAML mapping or refer to themselves, or it names
            more than VERSIONS_MAX versions.
    """
    if len(text) > CARD_CHARS_MAX:
        raise CardUnreadable(f"it is longer than {CARD_CHARS_MAX} characters")
    found = _METADATA.match(text)
    if found is None:
        raise CardUnreadable("it does not begin with metadata between two lines of ---")
    metadata = _metadata(found[1])
    ours = metadata.get(OURS)
    if isinstance(ours, dict) and isinstance(ours.get("versions"), list):
        if len(ours["versions"]) > VERSIONS_MAX:
            raise CardUnreadable(f"it names more than {VERSIONS_MAX} versions")
        return list(_own(ours))
    return [_foreign(metadata, _without_comments(text[found.end() :]))]


def _metadata(text: str) -> dict[str, Any]:
    """What JSON can say of it, with texts for names; an alias could make a short text endless, so none is read."""
    _demand_plain(text)
    read = read_trees("", text)
    if not read.trees:
        why = read.findings[0].message.removeprefix("not YAML: ") if read.findings else "they are empty"
        raise CardUnreadable(f"its metadata are no YAML: {why}")
    if not isinstance(read.trees[0].value, dict):
        raise CardUnreadable("its metadata are no mapping of names to values")
    return read.trees[0].value


def _demand_plain(text: str) -> None:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise CardUnreadable(f"its metadata refer to another place of their own, *{event.anchor}; write it out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise CardUnreadable(f"its metadata have more than {DEPTH_MAX} levels")
    except (yaml.YAMLError, ValueError) as error:
        raise CardUnreadable(f"its metadata are no YAML: {error}") from error


def _without_comments(text: str) -> str:
    kept: list[str] = []
    at = 0
    while (begins := text.find("<!--", at)) >= 0:
        ends = text.find("-->", begins + 4)
        if ends < 0:
            break
        kept.append(text[at:begins])
        at = ends + 3
    return "".join([*kept, text[at:]])


def _ours(model: Model) -> dict[str, Any]:
    values = manifest_values(model)
    del values["kind"]
    values["versions"] = [
        {name: value for name, value in version.items() if name not in _PRIVATE} for version in values["versions"]
    ]
    return values


def _own(values: Mapping[str, Any]) -> Iterator[ForeignCard]:
    facts = {name: value for name, value in values.items() if name not in ("kind", "name", "owner", "versions")}
    for version in values["versions"]:
        if isinstance(version, dict):
            named = {name: value for name, value in version.items() if name != "version"}
            yield ForeignCard(_word(values.get("name")), _word(version.get("version")), facts, named)


def _foreign(metadata: Mapping[str, Any], body: str) -> ForeignCard:
    sections = dict(_sections(body))
    title = next((name for name in sections if name), "")
    named = _word(metadata.get("model_name")) or title.removeprefix("Model Card for").strip() or "model"
    licence = _word(metadata.get("license"))
    if licence in ("", "other"):
        licence = _word(metadata.get("license_name")) or licence
    link = metadata.get("license_link")
    task = metadata.get("pipeline_tag")
    facts = {
        "purpose": _first(sections, "model description", "direct use", "uses", "intended use") or _lead(body),
        "limitations": _first(sections, "limitations", "out-of-scope use"),
        "risks": _first(sections, "bias, risks, and limitations", "bias, risks and limitations", "risks", "bias"),
        "licence": licence_of_hub(licence) if licence else "",
        "links": [{"name": "licence", "url": link}] if isinstance(link, str) and link.startswith("http") else [],
    }
    operations = operations_of_task(task) if isinstance(task, str) else ()
    of_version = {"operations": [one.value for one in operations]} if operations else {}
    return ForeignCard(named, "", facts, of_version)


def _word(value: object) -> str:
    """A text, or a number as one; empty for everything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value)


def _sections(body: str) -> Iterator[tuple[str, str]]:
    """The text below each heading, up to the next one; what stands in a block of code is no heading."""
    title: str | None = None
    fence = ""
    below: list[str] = []
    for line in body.split("\n"):
        head = None if fence else _title(line)
        if head is None:
            fence = _fence(line, fence)
            below.append(line)
            continue
        if title is not None:
            yield title, _said("\n".join(below))
        title, below = head, []
    if title is not None:
        yield title, _said("\n".join(below))


def _title(line: str) -> str | None:
    """Of a heading; None if the line is none."""
    rest = line.lstrip("#")
    if not 1 <= len(line) - len(rest) <= 6 or not rest.startswith((" ", "\t")):
        return None
    rest = rest.strip()
    closed = rest.rstrip("#")
    title = closed if closed.endswith((" ", "\t")) else rest
    return title.strip().removesuffix("[optional]").strip() or None


def _fence(line: str, fence: str) -> str:
    """The marks of the block of code in which the next line stands; empty outside of one."""
    found = _FENCE.match(line)
    if not fence:
        return found[1] if found is not None else ""
    closes = found is not None and found[1].startswith(fence) and not line[found.end() :].strip()
    return "" if closes else fence


def _first(sections: Mapping[str, str], *names: str) -> str:
    said = {name.lower(): text for name, text in sections.items()}
    return next((said[name] for name in names if said.get(name)), "")


def _lead(body: str) -> str:
    """The first paragraph below the title."""
    plain = [part.strip() for part in re.split(r"\n\s*\n", body) if part.strip() and not part.lstrip().startswith("#")]
    return _said(plain[0]) if plain else ""


def _said(text: str) -> str:
    lines = [line.rstrip() for line in text.strip().splitlines() if _PLACEHOLDER not in line]
    return "\n".join(lines).strip()


def _body(model: Model) -> Iterator[str]:
    yield f"# Model Card for {model.name}\n"
    yield "## Model Details\n"
    yield f"### Model Description\n\n{model.purpose or _PLACEHOLDER}\n"
    yield f"- **Owner:** {model.owner}"
    yield f"- **License:** {model.licence or _PLACEHOLDER}"
    yield f"- **Cost tier:** {model.cost_tier.value}"
    yield f"- **Risk tier:** {model.risk_tier.value}"
    yield f"- **Data classes:** {', '.join(model.data_classes) or 'any'}\n"
    yield from _versions(model.versions)
    if model.links:
        yield "### Model Sources\n"
        yield from (f"- **{link.name}:** {link.url}" for link in model.links)
        yield ""
    yield "## Uses\n"
    yield f"### Direct Use\n\n{_listed(model.approved_uses) or 'Any task.'}\n"
    yield f"### Out-of-Scope Use\n\n{_listed(model.prohibited_uses) or _PLACEHOLDER}\n"
    yield f"## Bias, Risks, and Limitations\n\n{model.risks or _PLACEHOLDER}\n"
    yield f"### Limitations\n\n{model.limitations or _PLACEHOLDER}\n"


def _versions(versions: tuple[ModelVersion, ...]) -> Iterator[str]:
    yield "### Versions\n"
    yield "| version | served by | status | context | capabilities |\n|---|---|---|---|---|"
    for one in versions:
        by = one.provider or (one.engine.value if one.engine else "")
        context = f"{one.context:,}" if one.context else ""
        yield f"| {one.version} | {by} | {one.status.value} | {context} | {', '.join(one.capabilities)} |"
    yield ""


def _listed(words: tuple[str, ...]) -> str:
    return "\n".join(f"- {word}" for word in words)
