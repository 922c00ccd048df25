"""Whatever stands in a manifest, the answer is a plan or findings with places, never a failure of the program."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from lineclear.base.secret import Secret
from lineclear.config.manifest import FINDINGS_MAX, InvalidManifest, ManifestFile, parse_manifests
from lineclear.control.changes.plan import Before, ChangeTerms, prepare
from lineclear.control.desired import Desired
from lineclear.control.prices.book import committed_prices
from lineclear.domain.findings import Finding
from lineclear.testing.every_field import OTHERS, every_field

NOTHING = Before(Desired(), {}, {}, {}, {}, {}, {}, 0)
VALUES: tuple[Any, ...] = (
    None, [], {}, "", "x", 0, -1, 1.5, True, [None], {"a": 1}, "${A}", "a@b", [[1]], {"": ""}, "*", 10**17,
)  # fmt: skip
VARIABLES = {name: Secret("v") for name in ("KEY_A", "KEY_B", "A")}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from places(item, (*path, name))


def spoilt(chance: random.Random) -> list[dict[str, Any]]:
    """Right documents with up to six values replaced, fields renamed or left out."""
    made = copy.deepcopy([*every_field().values(), *OTHERS])
    for _ in range(chance.randint(1, 6)):
        document = chance.choice(made)
        found = list(places(document))
        if not found:
            continue
        *way, last = chance.choice(found)
        holder: Any = document
        for part in way:
            holder = holder[part]
        kind = chance.random()
        if kind < 0.6 or isinstance(holder, list):
            holder[last] = copy.deepcopy(chance.choice(VALUES))
        else:
            value = holder.pop(last)
            if kind < 0.8:
                holder[f"{last}s"] = value
    return made


@pytest.mark.parametrize("seed", range(20))
def test_spoilt_documents_are_answered(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(10):
        text = "---\n".join(json.dumps(document) + "\n" for document in spoilt(chance))
        reading = parse_manifests([ManifestFile("spoilt.yaml", text, "/srv")])
        findings: tuple[Finding, ...] = ()
        try:
            prepare(NOTHING, reading, VARIABLES, committed_prices(), ChangeTerms())
        except InvalidManifest as error:
            findings = error.findings
        assert len(findings) >= min(len(reading.findings), FINDINGS_MAX)
        assert all(item.line and item.column for item in findings if item.file)
