"""Wrong manifests: every mistake of each is told in one go at its very place, and nothing is applied.

In a text, «code» stands right before the place where that mistake must be told; the marks are taken out first.
"""

# ruff: noqa: E501 - marks make lines longer than they are in a file

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineclear.control.endpoint import AdminCode, Refused
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.manifests import ACME, SUPPORT

STANDING = (
    SUPPORT
    + "---"
    + ACME
    + """---
kind: Model
name: small
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: acme-small, status: approved}
  - {version: own, engine: simulated, status: test}
---
kind: Prompt
name: voice
text: Be brief.
---
kind: Environment
name: stage
class: test
---
kind: Route
name: chat
team: support
environments: {live: {targets: [{model: small@1}], prompt: voice}}
---
kind: App
name: shop
team: support
routes: [chat]
"""
)

WRONG = {
    # the text
    "two-documents-of-which-one-is-cut": """
kind: Team
name: a
budget: {usd_per_month: «invalid_value»5}
---
kind: App
name: [b
«syntax»---
«missing_field»kind: Team
«unknown_field»nam: c
""",
    "a-tab-indents": """
kind: Team
name: a
limits:
«syntax»\tconcurrency: 5
---
kind: Team
name: «invalid_value»B
""",
    "a-quote-is-not-closed": """
kind: Team
name: "a
«syntax»---
kind: App
name: b
team: «unknown_reference»suport
""",
    "every-key-twice": """
kind: Team
«duplicate»kind: App
name: a
«duplicate»name: b
limits: {concurrency: 1, «duplicate»concurrency: 2}
""",
    "a-merge-key": """
kind: Team
name: a
limits: {«syntax»<<: {concurrency: 1}, requests_per_minute: «invalid_value»0}
""",
    "own-tags": """
kind: «syntax»!!python/name:os.system Team
name: «syntax»!secret a
time_zone: «invalid_value»Mars/Base
""",
    "a-key-that-is-a-list": """
kind: Team
name: a
? «syntax»[x]
: 1
description: «invalid_value»5
""",
    "an-anchor-of-another-document": """
kind: Team
name: &name a
---
kind: Team
name: «syntax»*name
""",
    "a-control-character": "kind: Team\nname: a«syntax»\x07\n",
    "documents-that-are-no-mapping": """
«syntax»- kind: Team
---
«syntax»just words
---
«syntax»5
---
kind: Team
name: «invalid_value»A
""",
    "byte-order-mark-and-empty-documents": "\ufeffkind: Team\nname: «invalid_value»A\n---\n---\n# nothing\n---\n"
    "kind: «unknown_kind»Taem\nname: b\n",
    # kinds
    "no-kind": """
«missing_field»name: a
---
«missing_field»kinds: Team
---
kind:«missing_field»
name: x
""",
    "kinds-that-are-nearly-one": """
kind: «unknown_kind»team
name: a
«unknown_field»limit: {}
---
kind: «unknown_kind»Modell
name: m
owner: «unknown_reference»nobody
versions: «invalid_value»[]
""",
    "a-kind-like-no-other": """
kind: «unknown_kind»Elephant
trunk: long
---
kind: «unknown_kind»7
---
kind: «unknown_kind»[Team]
""",
    "a-kind-that-is-none": """
kind: Policy
name: p
rules: [{id: a, when: {cost_tier: [high]}, then: deny, description: too dear}]
---
kind: «unknown_kind»Polices
name: q
rules: [{id: a, when: {cost_tier: [high]}, then: deny, description: too dear}]
""",
    # types and traps
    "words-for-truth": """
kind: Provider
name: a
dialects: [openai]
base_url: https://a.example
private_network: «invalid_value»no
---
kind: Model
name: m
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: x, slow: «invalid_value»on}
  - {version: "2", provider: acme, upstream_id: x, slow: «invalid_value»1}
""",
    "numbers-that-are-not-decimal": """
kind: Team
name: a
limits: {requests_per_minute: «invalid_value»010, tokens_per_minute: «invalid_value»0x10, concurrency: «invalid_value»1_000}
""",
    "numbers-without-end": """
kind: Team
name: a
limits:
  requests_per_minute: «invalid_value»99999999999999999999
  tokens_per_minute: «invalid_value»9999999999999
  concurrency: «invalid_value»1e3
---
kind: Route
name: r
team: support
environments:
  live:
    targets: [{model: small@1}]
    timeouts: {total_s: «invalid_value»1e999, connect_s: «invalid_value».nan, first_event_s: «invalid_value»-.inf}
""",
    "money-that-is-no-text": """
kind: Team
name: a
budget: {usd_per_month: «invalid_value»500}
---
kind: Model
name: m
owner: support
versions:
  - version: «invalid_value»1.0
    provider: acme
    upstream_id: x
    price: {input_per_mtok: «invalid_value»0.15, output_per_mtok: «invalid_value»"0,60", per_request: «invalid_value»"-1"}
""",
    "texts-that-are-something-else": """
kind: Team
name: «invalid_value»5
description: «invalid_value»true
---
kind: App
name: «invalid_value»[a]
team: «invalid_value»{name: support}
purpose: «invalid_value»null
""",
    "lists-that-are-something-else": """
kind: App
name: a
team: support
routes: «invalid_value»chat
limits: «invalid_value»[]
budget: «invalid_value»"5"
""",
    "nothing-where-a-mapping-is-needed": """
kind: App
name: a
team: support
limits:«invalid_value»
routes:«invalid_value»
""",
    "dates-stay-text": """
kind: Model
name: m
owner: support
versions:
  - {version: 2026-08-07, provider: acme, upstream_id: 2026-08-07, status: «invalid_value»2026-08-07}
""",
    # Team
    "a-team-with-everything-wrong": """
kind: Team
name: «invalid_value»-a
description: «invalid_value»1
time_zone: «invalid_value»Europe/Berln
limits: {requests_per_minute: «invalid_value»-1, tokens_per_minute: «invalid_value»many, «unknown_field»concurency: 1}
budget: {mode: «not_yet_supported»soft, usd_per_month: «invalid_value»"1.0000000001"}
«unknown_field»timezone: UTC
""",
    "a-team-without-a-name": """
«missing_field»kind: Team
time_zone: «invalid_value»UTZ
budget: «missing_field»{mode: «invalid_value»strikt}
""",
    "one-name-twice": """
kind: Team
name: a
---
kind: Team
name: «duplicate»a
---
kind: Team
name: «duplicate»a
time_zone: «invalid_value»none
""",
    # App
    "an-app-with-everything-wrong": """
kind: App
name: «invalid_value»My App
team: «unknown_reference»suport
routes: [«unknown_reference»chatt, «not_yet_supported,unknown_reference»"openai/*", «invalid_value,unknown_reference»"a b",
  chat, «duplicate»chat]
limits: {concurrency: «invalid_value»0}
budget: {usd_per_month: «invalid_value»"lots"}
«unknown_field»owner: support
""",
    "an-app-with-nothing": """
«missing_field,missing_field»kind: App
""",
    "apps-of-a-team-that-is-wrong-itself": """
kind: Team
name: fresh
time_zone: «invalid_value»x
---
kind: App
name: one
team: fresh
---
kind: App
name: two
team: «unknown_reference»frehs
""",
    # Provider
    "a-provider-with-everything-wrong": """
kind: Provider
name: «invalid_value»local
dialects: [«invalid_value»opnai, «not_yet_supported»gemini, openai]
base_url: «invalid_value»http://api.example.com/v1
credential: «invalid_value»sk-very-secret
region: «invalid_value»1
«unknown_field»base_uri: x
""",
    "a-provider-with-nothing": """
«missing_field,missing_field,missing_field»kind: Provider
""",
    "urls-that-lead-nowhere": """
kind: Provider
name: a
dialects: «invalid_value»[]
base_url: «invalid_value»ftp://a.example
---
kind: Provider
name: b
dialects: «invalid_value»openai
base_url: «invalid_value»https://user:pw@b.example
---
kind: Provider
name: c
dialects: [openai]
base_url: «invalid_value»"https://c.example/ v1"
---
kind: Provider
name: d
dialects: [openai]
base_url: «invalid_value»https://d.example:port
""",
    "variables-that-are-not-set": """
kind: Provider
name: a
dialects: [openai]
base_url: https://a.example
credential: «unset_variable»${NOT_SET_A}
---
kind: Provider
name: b
dialects: [openai]
base_url: https://b.example
credential:
  test: «unset_variable»${NOT_SET_B}
  live: «invalid_value»$NOT_SET_C
  «unknown_reference»prod: «unset_variable»${NOT_SET_D}
---
kind: Provider
name: c
dialects: [openai]
base_url: https://c.example
credential: {test: $«syntax»{ACME_KEY}}
""",
    "a-variable-whose-value-cannot-be-sent": """
kind: Provider
name: a
dialects: [openai]
base_url: https://a.example
credential: «invalid_credential»${BAD_KEY}
«unknown_field»credentials: x
""",
    "credentials-in-lists-and-numbers": """
kind: Provider
name: a
dialects: [openai]
base_url: https://a.example
credential: «not_yet_supported»[{value: x, weight: 1}]
---
kind: Provider
name: b
dialects: [openai]
base_url: https://b.example
credential: «invalid_value»42
""",
    # Model
    "a-model-with-everything-wrong": """
kind: Model
name: «invalid_value»Small
owner: «unknown_reference»suport
purpose: «invalid_value»5
approved_uses: [«invalid_value»Customer Support]
data_classes: [«invalid_value»secret, public]
cost_tier: «invalid_value»cheap
risk_tier: «invalid_value»none
versions:
  - {version: «invalid_value»"a b", provider: «unknown_reference»acne, upstream_id: x, status: «invalid_value»aproved}
""",
    "a-model-with-nothing": """
«missing_field,missing_field,missing_field»kind: Model
""",
    "versions-of-no-kind": """
kind: Model
name: m
owner: support
versions:
  - «invalid_value»{version: "1"}
  - «missing_field»{version: "2", provider: acme}
  - {version: "3", provider: acme, engine: «invalid_value»simulated, upstream_id: x}
  - «missing_field»{provider: acme, upstream_id: x}
  - «invalid_value»none
""",
    "vendor-versions-with-what-hosted-ones-have": """
kind: Model
name: m
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: x, artifact: «invalid_value»a.gguf, sha256: «invalid_value»"0", replicas: «invalid_value»2,
     settings: «invalid_value»{threads: 1}}
""",
    "hosted-versions-that-lack-everything": """
kind: Model
name: m
owner: support
versions:
  - «missing_field,missing_field»{version: "1", engine: gguf}
  - {version: "2", engine: gguf, artifact: a.gguf, sha256: «invalid_value»"abc", settings: {thraeds: «invalid_value»1, context: «invalid_value»"2"}}
  - {version: "3", engine: «invalid_value»ggfu, artifact: a.gguf, sha256: "abc"}
  - {version: "4", engine: «not_yet_supported»sklearn}
  - {version: "5", engine: simulated, artifact: «invalid_value»a.gguf, sha256: «invalid_value»"abc"}
""",
    "a-version-twice-and-bad-successors": """
kind: Model
name: m
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: x, successor: «invalid_value,unknown_reference»small}
  - {version: «duplicate»"1", provider: acme, upstream_id: x, successor: «unknown_reference»small@2,
     max_tokens: «invalid_value»0}
""",
    "versions-that-never-change": """
kind: Model
name: small
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: «immutable»acme-large, status: approved}
  - «immutable»{version: own, provider: «immutable»acme, upstream_id: «immutable»x, slow: «invalid_value»maybe}
""",
    "prices-with-unknown-buckets": """
kind: Model
name: m
owner: support
versions:
  - version: "1"
    provider: acme
    upstream_id: x
    price: {«unknown_field»input: "1", cache_read_per_mtok: «invalid_value»one, output_per_mtok: «invalid_value»"1e400"}
    capabilities: [tools, «invalid_value»flying]
    «unknown_field»pricee: {}
""",
    # Prompt
    "prompts-that-cannot-be-filled": """
kind: Prompt
name: a
text: «invalid_value»"Hello {{ name"
mode: «invalid_value»append
---
kind: Prompt
name: b
text: «invalid_value»"{{ Shop Name }}"
---
kind: Prompt
name: c
text: «invalid_value»"  "
«unknown_field»texts: x
---
«missing_field»kind: Prompt
name: «invalid_value»D
""",
    # Environment
    "environments-with-everything-wrong": """
kind: Environment
name: «invalid_value»Production
class: «invalid_value»prod
approvals: «invalid_value»11
---
kind: Environment
name: live
class: «invalid_value»test
approvals: «invalid_value»-1
---
«missing_field»kind: Environment
name: «invalid_value»a-b
«unknown_field»class_: live
approvals: 1
approver_roles: [«invalid_value»boss]
""",
    "the-class-of-an-environment-never-changes": """
kind: Environment
name: stage
class: «immutable»live
description: «invalid_value»1
""",
    "an-environment-takes-no-data-of-what-it-serves": """
kind: Environment
name: live
class: live
allowed_data_classes: «data_class_not_allowed»[public]
""",
    "a-route-has-data-that-its-environment-does-not-take": """
kind: Environment
name: stage
class: test
allowed_data_classes: [public, internal]
---
kind: Route
name: a
team: support
data_class: «data_class_not_allowed»confidential
environments: {live: {targets: [{model: small@1}]}, stage: {targets: [{model: small@1}]}}
---
kind: Route
name: chat
team: support
environments: {live: {targets: [{model: small@1}]}, stage: {targets: [{model: small@1}]}}
""",
    # Route
    "a-route-with-everything-wrong": """
kind: Route
name: «invalid_value»a//b
team: «unknown_reference»suport
tasks: [«invalid_value»Chat Now, x, «duplicate»x]
data_class: «invalid_value»internl
description: «invalid_value»[]
environments:
  «unknown_reference»prod:
    targets: [{model: «unknown_reference»small@2, weight: «invalid_value»-1}, {model: «invalid_value,unknown_reference»small}]
    strategy: «invalid_value»random
    fallback: [{model: «unknown_reference»smal@1, «unknown_field»weight: 1}]
    prompt: «unknown_reference»voise
    max_tokens: «invalid_value»0
    limits: {tokens_per_minute: «invalid_value»0}
    budget: {usd_per_month: «invalid_value»1}
    timeouts: {total_s: «invalid_value»0, «unknown_field»total: 1}
    capture: «not_yet_supported»full
    rollout: «unknown_reference»careful
    «not_yet_supported»hedge: []
""",
    "a-route-with-nothing": """
«missing_field,missing_field,missing_field»kind: Route
""",
    "routes-without-targets": """
kind: Route
name: a
team: support
environments: «invalid_value»{}
---
kind: Route
name: b
team: support
environments: {live: {targets: «invalid_value»[]}, test: «missing_field»{prompt: «unknown_reference»voices}}
---
kind: Route
name: c
team: support
environments: {live: «invalid_value»[{model: small@1}]}
""",
    "weights-that-say-nothing": """
kind: Route
name: a
team: support
environments:
  live: {targets: «invalid_value»[{model: small@1, weight: 0}]}
  test: {strategy: priority, targets: [{model: small@1, weight: «invalid_value»5}, {model: «duplicate»small@1}]}
  stage: {targets: [{model: small@1, weight: «invalid_value»1000001}, {model: small@own, weight: «invalid_value»"1"}]}
""",
    "strategies-that-are-not-built": """
kind: Route
name: a
team: support
environments:
  live: {strategy: «not_yet_supported»latency, targets: [{model: small@1}]}
  test: {strategy: «invalid_value»wieghted, targets: [{model: small@1, weight: 5}]}
  stage: {strategy: weighted, targets: [{model: small@1}], fallback: [{model: small@own}, {model: «duplicate»small@own}]}
""",
    "a-pattern": """
kind: Route
name: «not_yet_supported»"openai/*"
team: support
environments: {live: {targets: [{model: small@1}], timeouts: {connect_s: «invalid_value»3601}}}
""",
    "targets-of-the-wrong-shape": """
kind: Route
name: a
team: support
environments:
  live:
    targets: [«invalid_value»small@1, «missing_field»{weight: 5}, {«unknown_field»modle: x, model: small@1}]
    fallback: «invalid_value»{model: small@1}
""",
    "names-of-prompts-and-models-from-files-are-known": """
kind: Prompt
name: greeting
text: Hello.
mode: «invalid_value»none
---
kind: Model
name: fresh
owner: support
versions: [{version: "1", provider: acme, upstream_id: x, status: «invalid_value»good}]
---
kind: Route
name: a
team: support
environments: {live: {targets: [{model: fresh@1}, {model: «unknown_reference»fresh@2}], prompt: greeting}}
""",
    "an-environment-of-a-file-is-known": """
kind: Environment
name: night
class: test
approvals: 0
---
kind: Route
name: a
team: support
environments: {night: {targets: [{model: small@1}]}, «unknown_reference»nights: {targets: [{model: small@1}]}}
""",
    "a-provider-of-a-file-is-known": """
kind: Provider
name: fresh
dialects: [openai]
base_url: «invalid_value»nowhere
---
kind: Model
name: m
owner: support
versions:
  - {version: "1", provider: fresh, upstream_id: x}
  - {version: "2", provider: «unknown_reference»frehs, upstream_id: x}
""",
    "fields-of-another-kind": """
kind: Team
name: a
«unknown_field»team: support
«unknown_field»routes: [chat]
---
kind: Prompt
name: b
text: x
«unknown_field»environments: {}
""",
    "fields-that-are-to-come": """
kind: Provider
name: a
dialects: [openai]
base_url: https://a.example
vendor_record: {retention_days: «invalid_value»-1, review_by: «invalid_value»soon, «unknown_field»agreement: x}
---
kind: Route
name: r
team: support
environments: {live: {targets: [{model: small@1}], «not_yet_supported»cache: {}, «not_yet_supported»hedge: true}}
«not_yet_supported»contract: {}
---
kind: Model
name: m
owner: support
versions: [{version: "1", provider: acme, upstream_id: x, sunset: «invalid_value»2027-01-01}]
""",
    "json-is-yaml": """
{"kind": "Team", "name": «invalid_value»"A", "limits": {"concurrency": «invalid_value»0, «unknown_field»"rpm": 1}}
""",
    "windows-line-ends": "kind: Team\r\nname: «invalid_value»A\r\nlimits:\r\n  concurrency: «invalid_value»0\r\n",
    "other-scripts-before-the-mistake": """
kind: Team
name: a
description: "日本 🚀"
limits: {concurrency: 1, «unknown_field»ограничение: 2}
""",
    "deep-inside": """
kind: Team
name: a
«unknown_field»x: {a: {b: {c: [1, {d: «syntax»!t 2, «duplicate»d: 3}]}}}
""",
    "one-mistake-in-every-document": """
kind: Team
name: «invalid_value»A
---
kind: App
name: b
team: «unknown_reference»nobody
---
kind: Provider
name: c
dialects: [openai]
base_url: «invalid_value»x
---
kind: Model
name: d
owner: support
versions: «invalid_value»[]
---
kind: Prompt
name: e
text: «invalid_value»""
---
kind: Environment
name: f
class: «invalid_value»none
---
kind: Route
name: g
team: support
environments: «invalid_value»{}
""",
    "a-right-document-among-wrong-ones": """
kind: Team
name: right
---
kind: Team
name: «invalid_value»wrong!
""",
}

_MARK = re.compile(r"«([a-z_,]+)»")


def unmarked(marked: str) -> tuple[str, list[tuple[str, int, int]]]:
    """The text, and (code, line, column) of each mark in the order of places."""
    text, places = "", []
    for at, part in enumerate(_MARK.split(marked)):
        if at % 2 == 0:
            text += part
        else:
            line_start = text.rfind("\n") + 1
            column = len(text) - line_start + 1 - (1 if text[line_start:].startswith("\ufeff") else 0)
            places += [(code, text.count("\n") + 1, column) for code in part.split(",")]
    return text, places


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with one noun of each kind; no test of this file changes it."""
    directory: Path = tmp_path_factory.mktemp("standing")
    plane = ControlPlane(directory, environment={"ACME_KEY": "sk-1", "BAD_KEY": "two words"}).start()
    plane.apply(STANDING)
    yield plane
    plane.close()


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 60


@pytest.mark.parametrize("name", WRONG)
def test_every_mistake_is_told_in_one_go_and_nothing_is_applied(standing: ControlPlane, name: str) -> None:
    text, places = unmarked(WRONG[name])
    with standing.database.read() as tx:
        before = (rows.read_manifests(tx), rows.read_deployments(tx), rows.last_revision(tx), rows.last_audit(tx))
    with pytest.raises(Refused) as caught:
        standing.apply(text, file=f"{name}.yaml")
    told = [(item.code, item.line, item.column) for item in caught.value.findings]
    shown = "\n".join(f"{item.line}:{item.column} {item.code} {item.message}" for item in caught.value.findings)
    assert sorted(told, key=lambda item: item[1:]) == told
    assert sorted(told) == sorted(places), shown
    assert caught.value.code is AdminCode.INVALID_MANIFEST
    assert {item.file for item in caught.value.findings} == {f"{name}.yaml"}
    assert "very-secret" not in shown
    assert "two words" not in shown
    with standing.database.read() as tx:
        after = (rows.read_manifests(tx), rows.read_deployments(tx), rows.last_revision(tx), rows.last_audit(tx))
    assert after == before
