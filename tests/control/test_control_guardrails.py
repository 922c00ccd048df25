"""Guardrails from the file to what a gateway holds: pinned in releases, in force for environments, refused in place."""

import msgspec
import pytest

from lineclear.control.endpoint import Refused
from lineclear.domain.guardrails import GuardrailRule
from lineclear.domain.snapshot import EnvironmentsSection, RouteSection
from lineclear.gateway.live import Live
from lineclear.gateway.snapshot import compile_snapshot
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane

ROUTE = """
kind: Model
name: tiny
owner: default
versions: [{version: "1", engine: simulated, status: approved}]
---
kind: Route
name: chat
team: default
environments:
  live:
    targets: [{model: tiny@1}]
"""
HOUSE = """
kind: Guardrail
name: house
rules:
  - {id: secrets, on: [input, output], detect: [secrets]}
  - {id: words, on: [output], deny: [project falcon], action: redact, whole_words: false}
  - {id: form, on: [output], json_schema: {type: object, properties: {share: {maximum: 0.5}}}}
"""
NAMED = ROUTE.rstrip() + "\n    guardrails: [house]\n"
LIVE = "\n---\nkind: Environment\nname: live\nclass: live\nguardrails: [house]\n"


def route_of(plane: ControlPlane) -> RouteSection:
    return msgspec.json.decode(plane.load().sections["routes/live/chat"], type=RouteSection)


def mandatory(plane: ControlPlane) -> tuple[GuardrailRule, ...]:
    section = msgspec.json.decode(plane.load().sections["environments"], type=EnvironmentsSection)
    return section.environments["live"].guardrails


def finding_of(plane: ControlPlane, text: str) -> tuple[str, str, int | None]:
    with pytest.raises(Refused) as caught:
        plane.apply(text)
    (found,) = caught.value.findings
    return found.code, found.message, found.line


def test_a_release_pins_the_rules_and_a_gateway_holds_them(plane: ControlPlane) -> None:
    plane.apply(HOUSE + "---" + NAMED)
    rules = route_of(plane).stable.guardrails
    assert [rule.id for rule in rules] == [
        "guardrail.detect:house/secrets",
        "guardrail.deny:house/words",
        "guardrail.schema:house/form",
    ]
    loaded = plane.load()
    view = compile_snapshot(loaded.manifest, loaded.sections, "/run/x", Live(plane.clock)).routes["live", "chat"]
    assert view.guardrails is not None
    assert view.guardrails.input is not None
    assert view.guardrails.output is not None
    assert (len(view.guardrails.output.schemas), view.guardrails.input.schemas) == (1, ())
    assert mandatory(plane) == ()


def test_a_release_without_guardrails_has_the_digest_that_it_always_had(plane: ControlPlane) -> None:
    plane.apply(ROUTE)
    with plane.database.read() as tx:
        manifests = rows.read_releases(tx)
    assert all("guardrails" not in msgspec.json.decode(release.manifest) for release in manifests.values())


def test_a_changed_rule_is_a_new_release_and_the_old_one_keeps_its_rules(plane: ControlPlane) -> None:
    plane.apply(HOUSE + "---" + NAMED)
    before = route_of(plane).stable
    plane.apply(HOUSE.replace("project falcon", "project eagle"))
    after = route_of(plane).stable
    assert after.digest != before.digest
    assert (before.guardrails[1].deny, after.guardrails[1].deny) == (("project falcon",), ("project eagle",))


def test_an_environments_guardrails_are_no_part_of_a_release(plane: ControlPlane) -> None:
    plane.apply(ROUTE)
    before = route_of(plane).stable
    plane.apply(HOUSE + LIVE)
    assert route_of(plane).stable == before
    assert [rule.whose for rule in mandatory(plane)] == ["house/secrets", "house/words", "house/form"]
    loaded = plane.load()
    view = compile_snapshot(loaded.manifest, loaded.sections, "/run/x", Live(plane.clock)).routes["live", "chat"]
    assert view.guardrails is not None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{type: strin}", "the schema"),
        ("{$ref: 'https://example.com/x'}", "is not supported"),
        ("{properties: {child: {$ref: '#'}}}", "refers to itself"),
        ("{pattern: '(a)\\1'}", "the schema"),
    ],
)
def test_a_schema_that_cannot_be_used_is_told_at_its_place(plane: ControlPlane, schema: str, words: str) -> None:
    text = f"kind: Guardrail\nname: g\nrules:\n  - id: a\n    on: [output]\n    json_schema: {schema}\n"
    code, message, line = finding_of(plane, text)
    assert (code, line) == ("invalid_value", 6)
    assert words in message


def test_a_guardrail_that_is_not_there_is_told(plane: ControlPlane) -> None:
    code, message, _ = finding_of(plane, NAMED)
    assert (code, "there is no guardrail 'house'" in message) == ("unknown_reference", True)
