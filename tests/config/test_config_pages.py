"""docs/manifests.md lists exactly the fields that manifests have, and its example is accepted."""

import inspect
import re
from pathlib import Path

from lineclear.config.manifest import ManifestFile, parse_manifests
from lineclear.domain import findings, manifest
from lineclear.domain.manifest import Kind, Noun

PAGE = (Path(__file__).parents[2] / "docs" / "manifests.md").read_text(encoding="utf-8")


def test_the_page_lists_every_field_of_every_noun() -> None:
    listed: dict[str, dict[str, bool]] = {}
    for part in PAGE.split("\n## ")[1:]:
        rows = re.findall(r"^\| (\**)`([a-z0-9_]+)`\** \|", part, re.MULTILINE)
        if rows:
            listed[part.split("\n", 1)[0]] = {name: bool(bold) for bold, name in rows}
    nouns = {
        name: {
            parameter.rstrip("_"): facts.default is inspect.Parameter.empty
            for parameter, facts in inspect.signature(noun).parameters.items()
        }
        for name, noun in vars(manifest).items()
        if isinstance(noun, type) and issubclass(noun, Noun) and noun is not Noun
    }
    assert listed == nouns


def test_the_page_lists_every_code_of_a_mistake() -> None:
    listed = re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^- ((?:`[a-z_]+`(?:, )?)+):", PAGE, re.MULTILINE)))
    (words,) = re.findall(r'"""Kind of the mistake: (.*?)"""', inspect.getsource(findings), re.DOTALL)
    assert sorted(listed) == sorted(re.findall(r"`([a-z_]+)`", words))


def test_the_examples_of_the_page_are_accepted() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    read = [parse_manifests([ManifestFile("example", example)]) for example in examples]
    kinds = {document.kind for reading in read for document in reading.checked()}
    assert kinds == {Kind.TEAM, Kind.PROVIDER, Kind.MODEL, Kind.PROMPT, Kind.ROUTE, Kind.APP}
