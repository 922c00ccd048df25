"""docs/manifests.md lists exactly the fields that manifests have, and its example is accepted."""

import inspect
import re
from pathlib import Path

from lineclear.config.manifest import ManifestFile, read_manifests
from lineclear.domain import manifest
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


def test_the_example_of_the_page_is_accepted() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    kinds = {document.kind for document in read_manifests([ManifestFile("example", example)])}
    assert kinds == {Kind.TEAM, Kind.PROVIDER, Kind.MODEL, Kind.PROMPT, Kind.ROUTE, Kind.APP}
