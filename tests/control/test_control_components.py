"""Parameters and retrieval settings from the file to the release: pinned by content, absent where not set."""

import json
from typing import Any

import msgspec
import pytest

from lineclear.control.endpoint import Refused
from lineclear.control.release_diff import diff_releases
from lineclear.domain.snapshot import RouteSection
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane

ROUTE = """
kind: Model
name: tiny
owner: default
versions: [{version: "1", engine: simulated, status: approved}]
---
kind: Prompt
name: voice
text: "You serve {{ shop }}."
---
kind: Route
name: chat
team: default
environments:
  live:
    targets: [{model: tiny@1}]
    prompt: voice
    max_tokens: 100
"""
GOLDEN = "71e4059b668e416c"


def with_parts(parts: str) -> str:
    return ROUTE.rstrip() + f"\n{parts}"


def manifest(plane: ControlPlane) -> dict[str, Any]:
    with plane.database.read() as tx:
        stable = rows.read_deployments(tx)["live", "chat"].stable
        found: dict[str, Any] = json.loads(rows.read_releases(tx)[stable].manifest)
    return found


def entry(plane: ControlPlane) -> RouteSection:
    return msgspec.json.decode(plane.load().sections["routes/live/chat"], type=RouteSection)


def test_a_release_without_the_new_parts_has_the_digest_that_it_always_had(plane: ControlPlane) -> None:
    plane.apply(ROUTE)
    assert entry(plane).stable.id == f"rel_{GOLDEN}"
    plane.apply(with_parts("    parameters: {}\n    retrieval: {}\n"))
    assert entry(plane).stable.id == f"rel_{GOLDEN}"


TOOLS = """    tools:
      mode: replace
      definitions:
        - {name: find_order, description: Finds an order., parameters: {type: object, properties: {n: {type: string}}}}
        - {name: now}
"""


def test_tools_are_pinned_compared_and_handed_to_gateways(plane: ControlPlane) -> None:
    plane.apply(with_parts(TOOLS))
    before = manifest(plane)
    assert (before["tools"]["mode"], len(before["tools"]["digest"])) == ("replace", 64)
    tools = entry(plane).stable.tools
    assert tools is not None
    assert [(tool.name, tool.description) for tool in tools.definitions] == [
        ("find_order", "Finds an order."), ("now", ""),
    ]  # fmt: skip
    assert tools.definitions[0].parameters == {"type": "object", "properties": {"n": {"type": "string"}}}
    changed = TOOLS.replace("mode: replace", "mode: config").replace("n: {type: string}", "n: {type: integer}")
    plane.apply(with_parts(changed))
    (differs,) = diff_releases(before, manifest(plane))
    assert [(item.field, item.before, item.after) for item in differs.fields] == [
        ("mode", "replace", "config"), ("find_order.parameters.properties.n.type", "string", "integer"),
    ]  # fmt: skip
    assert differs.component == "tools"


def test_both_parts_are_pinned_with_digests_of_their_own(plane: ControlPlane) -> None:
    plane.apply(
        with_parts(
            "    parameters: {temperature: 0.5, stop: [END], seed: 7}\n"
            "    retrieval: {index: manuals, top_k: 8, rerank: {enabled: true, floor: 0.25}}\n"
        )
    )
    found = manifest(plane)
    assert found["parameters"]["values"] == {"temperature": 0.5, "stop": ["END"], "seed": 7}
    assert found["retrieval"]["values"] == {"index": "manuals", "top_k": 8, "rerank": {"enabled": True, "floor": 0.25}}
    assert len(found["parameters"]["digest"]) == len(found["retrieval"]["digest"]) == 64
    stable = entry(plane).stable
    assert stable.parameters == {"temperature": 0.5, "stop": ("END",), "seed": 7}
    assert stable.retrieval["rerank"] == {"enabled": True, "floor": 0.25}


def test_equal_content_is_the_same_release_however_it_is_written(plane: ControlPlane) -> None:
    plane.apply(with_parts("    parameters: {temperature: 1, top_p: 0.50}\n    retrieval: {a: 1, b: x}\n"))
    first = entry(plane).stable.id
    applied = plane.apply(with_parts("    retrieval: {b: x, a: 1}\n    parameters: {top_p: 0.5, temperature: 1.0}\n"))
    assert entry(plane).stable.id == first
    assert not applied.plan.releases


@pytest.mark.parametrize(
    ("parts", "path", "words"),
    [
        ("parameters: {temperature: 3}", "temperature", "from 0 to 2"),
        ("parameters: {max_tokens: 0}", "max_tokens", "from 1"),
        ("parameters: {stop: [a, b, c, d, e]}", "stop", "at most 4"),
        ("parameters: {stop: ['']}", "stop", "1 to 256"),
        ("parameters: {reasoning_effort: Very High}", "reasoning_effort", "one lower-case word"),
        ("parameters: {seed: 9007199254740992}", "seed", "9007199254740991"),
        ("parameters: {tone: calm}", "tone", ""),
        ("retrieval: {a: [1]}", "a", "must be a text, a number, true or false or a group"),
        ("retrieval: {a: {b: {c: 1}}}", "b", "must be a text, a number, true or false"),
        ("retrieval: {a: null}", "a", "must be a text"),
        ("retrieval: {'no good': 1}", "no good", "name of a setting"),
        ("tools: {definitions: []}", "definitions", "at least one"),
        ("tools: {definitions: [{name: 'a b'}]}", "name", "no tool's name"),
        ("tools: {definitions: [{name: a}, {name: a}]}", "name", "stands twice"),
        ("tools: {definitions: [{name: a, parameters: {type: string}}]}", "parameters", "`type: object`"),
        (
            "tools: {definitions: [{name: a, parameters: {type: object, x: 9007199254740992}}]}",
            "parameters",
            "is not JSON",
        ),
        ("tools: {mode: always, definitions: [{name: a}]}", "mode", "must be 'default'"),
    ],
)
def test_a_wrong_value_is_refused_in_its_place(plane: ControlPlane, parts: str, path: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        plane.apply(with_parts(f"    {parts}\n"))
    (finding,) = caught.value.findings
    assert path in finding.path
    assert words in finding.message
    assert finding.line == 19
