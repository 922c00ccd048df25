"""Every mistake in a manifest is told at its own line and column. `§` in a text marks where."""

from pathlib import Path

import pytest

from lineclear.config.manifest import InvalidManifest, ManifestFile, parse_manifests, read_file, read_values
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import App, Model, Provider, Route, Team

TEAM = "kind: Team\nname: t\n"
APP = "kind: App\nname: a\nteam: t\n"
PROVIDER = "kind: Provider\nname: p\ndialects: [openai]\nbase_url: https://x.example/v1\n"
VERSION = "kind: Model\nname: m\nowner: t\nversions:\n  - "
VENDOR = VERSION + '{version: "1", provider: p, upstream_id: x, '
HOSTED = VERSION + '{version: "1", engine: gguf, artifact: ./x.gguf, '
SHA = "a" * 64
PROMPT = "kind: Prompt\nname: p\n"
ENVIRONMENT = "kind: Environment\nname: live\n"
ROUTE = "kind: Route\nname: r\nteam: t\nenvironments:\n  live:\n    "
POLICY = "kind: Policy\nname: p\nrules: [{id: a, when: {"
ROLLOUT = "kind: Rollout\nname: r\nsteps: "
ONE_STEP = "[{weight: {percent: 5}}]\n"
GUARDRAIL = "kind: Guardrail\nname: g\nrules: [{id: a, on: [input], "
TARGETS = "targets: [{model: m@1}]\n    "

CASES = [
    # the document itself
    ("§- 1\n", "syntax", "a document is a mapping"),
    ("kind: §Taem\nname: t\n", "unknown_kind", "did you mean `Team`?"),
    ("§name: t\n", "missing_field", "`kind` is missing"),
    ("kind: §Polici\nname: x\nrules: [{id: a, when: {}, then: deny}]\n", "unknown_kind", "did you mean `Policy`?"),
    ("kind: Team\nname: [§\n", "syntax", "not YAML"),
    ("kind: Team\nname: t\n§name: u\n", "duplicate", "'name' stands twice"),
    ("kind: Team\nname: §!!python/name:os.system x\n", "syntax", "is not read"),
    ("kind: Team\nname: t\n§<<: {a: b}\n", "syntax", "merge keys"),
    # Team
    ("§kind: Team\n", "missing_field", "`name` is missing"),
    ("kind: Team\nname: §Big Team\n", "invalid_value", "not a name"),
    ("kind: Team\nname: §7\n", "invalid_value", "must be text"),
    (TEAM + "§limit: {}\n", "unknown_field", "did you mean `limits`?"),
    (TEAM + "time_zone: §Mars/Olympus\n", "invalid_value", "not an IANA time zone"),
    (TEAM + "time_zone: §../../etc/passwd\n", "invalid_value", "not an IANA time zone"),
    (TEAM + "limits: {requests_per_minute: §0}\n", "invalid_value", "at least 1"),
    (TEAM + "limits: {requests_per_minute: §1.5}\n", "invalid_value", "integer"),
    (TEAM + "limits: {§rpm: 1}\n", "unknown_field", "fields: requests_per_minute"),
    (TEAM + "limits: {concurrency: §yes}\n", "invalid_value", "integer"),
    (TEAM + "budget: §{}\n", "missing_field", "`usd_per_month` is missing"),
    (TEAM + "budget: {usd_per_month: §5}\n", "invalid_value", "put it in quotes"),
    (TEAM + 'budget: {usd_per_month: §"-5"}\n', "invalid_value", "between 0"),
    (TEAM + 'budget: {usd_per_month: §"five"}\n', "invalid_value", "not a decimal number"),
    (TEAM + 'budget: {usd_per_month: §"0.0000000001"}\n', "invalid_value", "more than nine digits"),
    (TEAM + 'budget: {usd_per_month: "5", mode: §soft}\n', "not_yet_supported", "other than strict"),
    # App
    ("§kind: App\nname: a\n", "missing_field", "`team` is missing"),
    (APP + "routes: §chat\n", "invalid_value", "must be a list"),
    (APP + "routes: [chat, §chat]\n", "duplicate", "stands twice"),
    (APP + 'routes: [§"openai/*"]\n', "not_yet_supported", "pattern"),
    (APP + 'routes: [§"a b"]\n', "invalid_value", "not a route name"),
    # Guardrail
    ("kind: Guardrail\nname: g\nrules: §[]\n", "invalid_value", "at least one rule"),
    (GUARDRAIL + "detect: [jwt, §jwts]}]\n", "invalid_value", "did you mean `jwt`?"),
    (GUARDRAIL + "detect: [jwt], §regex: x}]\n", "unknown_field", "`regex` is not a field"),
    (
        GUARDRAIL.replace("id: ", "id: §") + "detect: [jwt], max_bytes: 5}]\n",
        "invalid_value",
        "has detect and max_bytes",
    ),
    (GUARDRAIL.replace("id: ", "id: §") + "action: flag}]\n", "invalid_value", "this one has none"),
    (GUARDRAIL.replace("id: a", "id: §A b") + "detect: [jwt]}]\n", "invalid_value", "is not a name"),
    (GUARDRAIL + "detect: [jwt]}, {id: §a, on: [input], max_bytes: 1}]\n", "duplicate", "'a' stands twice"),
    (GUARDRAIL.replace("[input]", "§[]") + "detect: [jwt]}]\n", "invalid_value", "at least one of input, output"),
    (GUARDRAIL.replace("[input]", "[§both]") + "detect: [jwt]}]\n", "invalid_value", "'input' or 'output'"),
    (GUARDRAIL + "detect: [jwt], action: §redact}]\n", "not_yet_supported", "redacting what is sent"),
    (GUARDRAIL + "max_bytes: 5, action: §redact}]\n", "invalid_value", "nothing to take out"),
    (GUARDRAIL + "max_bytes: §0}]\n", "invalid_value", "at least 1"),
    (GUARDRAIL + 'deny: [ok, §" "]}]\n', "invalid_value", "can be seen"),
    (GUARDRAIL + "detect: [jwt], whole_words: §false}]\n", "invalid_value", "belongs to `deny`"),
    (GUARDRAIL.replace("[input]", "§[input]") + "json_schema: {}}]\n", "invalid_value", "is for answers"),
    (ROUTE + TARGETS + "guardrails: [a, §a]\n", "duplicate", "stands twice"),
    # Policy
    ("kind: Policy\nname: p\nrules: §[]\n", "invalid_value", "at least one rule"),
    (POLICY + "§tasks: [x]}, then: deny}]\n", "unknown_field", "did you mean `task`?"),
    (POLICY + "vendor_record: [§expird]}, then: deny}]\n", "invalid_value", "did you mean `expired`?"),
    (POLICY + "task: [x]}, then: §denny}]\n", "invalid_value", "did you mean `deny`?"),
    (POLICY + "task: [x]}, then: §require_review}]\n", "not_yet_supported", "`require_review` is not yet supported"),
    (POLICY + "task: [x]}, then: §require_route}]\n", "missing_field", "`require_route` needs `route`"),
    (POLICY + "task: [x]}, then: deny, route: §r}]\n", "invalid_value", "belongs to `then: require_route`"),
    (POLICY + "task: [x, §x]}, then: deny}]\n", "duplicate", "'x' stands twice"),
    (POLICY + "task: §x}, then: deny}]\n", "invalid_value", "must be a list"),
    (POLICY + "cost_tier: [§hihg]}, then: deny}]\n", "invalid_value", "did you mean `high`?"),
    (POLICY + "data_class: [§secret]}, then: deny}]\n", "invalid_value", "must be 'public'"),
    (POLICY + 'tag: [§"a,b"]}, then: deny}]\n', "invalid_value", "can be no tag"),
    (
        POLICY + "time: {zone: §Europe/Berlim, days: [mon]}}, then: deny}]\n",
        "invalid_value",
        "did you mean `Europe/Berlin`?",
    ),
    (POLICY + "time: {zone: UTC, days: [§monday]}}, then: deny}]\n", "invalid_value", "is not a day"),
    (POLICY + "time: {zone: UTC, hours: §8-18}}, then: deny}]\n", "invalid_value", "is no stretch of a day"),
    (POLICY + 'time: {zone: UTC, hours: §"08:00-08:00"}}, then: deny}]\n', "invalid_value", "is no stretch of a day"),
    (POLICY + "time: {zone: §UTC}}, then: deny}]\n", "invalid_value", "`days` or `hours` is needed"),
    (POLICY + "}, then: deny}, {id: §a, when: {}, then: allow}]\n", "duplicate", "'a' stands twice"),
    ("kind: Policy\nname: p\nrules: [{id: §A b, when: {}, then: deny}]\n", "invalid_value", "is not a name"),
    # Provider
    (PROVIDER.replace("[openai]", "[openai, §gemini]"), "not_yet_supported", "'gemini' is not yet supported"),
    (PROVIDER.replace("[openai]", "[§klingon]"), "invalid_value", "must be 'openai'"),
    (PROVIDER.replace("[openai]", "§[]"), "invalid_value", "at least one dialect"),
    (PROVIDER.replace("name: p", "name: §local"), "invalid_value", "provider of hosted models"),
    (PROVIDER.replace("https://x.example/v1", "§http://x.example/v1"), "invalid_value", "in clear"),
    (PROVIDER.replace("https://x.example/v1", "§ftp://x.example/v1"), "invalid_value", "http:// or https://"),
    (PROVIDER.replace("https://x.example/v1", '§"runtime:"'), "invalid_value", "http:// or https://"),
    (PROVIDER.replace("https://x.example/v1", "§https://u:pw@x.example"), "invalid_value", "must not hold a user"),
    (PROVIDER.replace("https://x.example/v1", "§https://x.example:port"), "invalid_value", "not a URL"),
    (PROVIDER + "credential: §sk-live-123\n", "invalid_value", "never stands in a file"),
    (PROVIDER + "credential: {live: §sk-live-123}\n", "invalid_value", "never stands in a file"),
    (PROVIDER + "credential: §secret:NAME\n", "invalid_value", "after secret: stands a name"),
    (PROVIDER + "credential: {live: §'secret:'}\n", "invalid_value", "after secret: stands a name"),
    (PROVIDER + "credential: §secrets:sk-1\n", "invalid_value", "never stands in a file"),
    (PROVIDER + "credential: §['${A}']\n", "not_yet_supported", "list of credentials"),
    (PROVIDER + "credential: §5\n", "invalid_value", "must be text or must be a mapping"),
    (
        VENDOR.replace("owner: t\n", "owner: t\nlinks: [{name: a, url: §ftp://a.example}]\n") + "}\n",
        "invalid_value",
        "is no address",
    ),
    (PROVIDER + "egress_proxy: §http://x\n", "invalid_value", "http://host:port"),
    (PROVIDER + "egress_proxy: §https://proxy:3128\n", "invalid_value", "http://host:port"),
    (PROVIDER + "egress_proxy: §http://ann:secret@proxy:3128\n", "invalid_value", "egress_proxy_credential"),
    (PROVIDER + "egress_proxy: §http://proxy:3128/path\n", "invalid_value", "without a user, a path"),
    (PROVIDER + "egress_proxy: §http://proxy:99999\n", "invalid_value", "http://host:port"),
    (PROVIDER + "egress_proxy_credential: §${A}\n", "invalid_value", "there is no egress_proxy"),
    (
        PROVIDER + "egress_proxy: http://proxy:3128\negress_proxy_credential: §ann:secret\n",
        "invalid_value",
        "must be ${VARIABLE} or secret:NAME",
    ),
    (PROVIDER + "private_network: §1\n", "invalid_value", "boolean"),
    # Model
    ("kind: Model\nname: m\nowner: t\nversions: §[]\n", "invalid_value", "at least one version"),
    (VERSION + '§{version: "1"}\n', "invalid_value", "either `provider`"),
    (VERSION + "{version: §1.0, provider: p, upstream_id: x}\n", "invalid_value", "put it in quotes"),
    (VERSION + '{version: §"a b", provider: p, upstream_id: x}\n', "invalid_value", "not a version"),
    (VERSION + '§{version: "1", provider: p}\n', "missing_field", "`upstream_id` is missing"),
    (VENDOR + 'sha256: §"' + SHA + '"}\n', "invalid_value", "belongs to hosted versions"),
    (VENDOR + "replicas: §2}\n", "invalid_value", "belongs to hosted versions"),
    (VENDOR + "status: §great}\n", "invalid_value", "must be 'test', 'approved'"),
    (VENDOR + 'price: {input_per_mtok: §"1e400"}}\n', "invalid_value", ""),
    (VENDOR + "price: {§input: 1}}\n", "unknown_field", "did you mean `input_per_mtok`?"),
    (VENDOR + "max_tokens: §0}\n", "invalid_value", "at least 1"),
    (VENDOR + "successor: §other}\n", "invalid_value", "name@version"),
    (VENDOR + "capabilities: [§tool]}\n", "invalid_value", "did you mean `tools`?"),
    (VERSION + '§{version: "1", engine: gguf, sha256: "' + SHA + '"}\n', "missing_field", "`artifact` is missing"),
    (VERSION + '§{version: "1", engine: gguf, artifact: x.gguf}\n', "missing_field", "`sha256` of the model file"),
    (HOSTED + 'sha256: §"ABC"}\n', "invalid_value", "64 lower-case hex"),
    (HOSTED + f'sha256: "{SHA}", replicas: §17}}\n', "invalid_value", "from 1 to 16"),
    (HOSTED + f'sha256: "{SHA}", settings: {{thraeds: §2}}}}\n', "invalid_value", "has no setting 'thraeds'"),
    (HOSTED + f'sha256: "{SHA}", settings: {{context: §1}}}}\n', "invalid_value", "whole number from"),
    (HOSTED + f'sha256: "{SHA}", settings: {{pooling: §mean}}}}\n', "invalid_value", "without `task: embeddings`"),
    (HOSTED + f'sha256: "{SHA}", settings: {{task: §speech}}}}\n', "invalid_value", "must be generation or embeddings"),
    (HOSTED + f'sha256: "{SHA}", settings: {{task: embeddings, slots: §2}}}}\n', "invalid_value", "has no effect"),
    (HOSTED + f'sha256: "{SHA}", settings: {{task: embeddings, output_tokens: §2}}}}\n', "invalid_value", "no tokens"),
    (HOSTED + f'sha256: "{SHA}", settings: {{task: embeddings, golden_expect: §a}}}}\n', "invalid_value", "no text"),
    (HOSTED + f'sha256: "{SHA}", operations: §[chat]}}\n', "invalid_value", "its engine's to say"),
    (VERSION + '{version: "1", engine: §sklearn}\n', "not_yet_supported", "'sklearn' is not yet supported"),
    (VERSION + '{version: "1", engine: simulated, artifact: §x}\n', "invalid_value", "has no `artifact`"),
    (VENDOR[:-2] + "}\n" + "data_classes: [§secret]\n", "invalid_value", "must be 'public'"),
    (VENDOR[:-2] + "}\n" + "cost_tier: §free\n", "invalid_value", "must be 'low'"),
    (VENDOR[:-2] + "}\n" + "approved_uses: [§Drafting It]\n", "invalid_value", "not a name"),
    (VENDOR[:-2] + "}\n" + '  - {version: §"1", provider: p, upstream_id: y}\n', "duplicate", "'1' stands twice"),
    # Prompt
    (PROMPT + "text: §''\n", "invalid_value", "must not be empty"),
    (PROMPT + 'text: §"Hi {{ name"\n', "invalid_value", "has no partner"),
    (PROMPT + 'text: §"Hi {{ Na me }}"\n', "invalid_value", "not a variable name"),
    (PROMPT + "text: x\nmode: §append\n", "invalid_value", "must be 'prepend' or 'replace'"),
    # Environment
    ("§kind: Environment\nname: live\n", "missing_field", "`class` is missing"),
    (ENVIRONMENT + "class: §prod\n", "invalid_value", "must be 'test' or 'live'"),
    (ENVIRONMENT + "class: §test\n", "invalid_value", "has class live"),
    (ENVIRONMENT + "class: live\napprovals: §11\n", "invalid_value", "from 0 to 10"),
    (ENVIRONMENT + "class: live\napprovals: §-1\n", "invalid_value", "from 0 to 10"),
    (ENVIRONMENT + "class: live\nfreeze: [{from: §soon, to: '2026-12-20T00Z'}]\n", "invalid_value", "no time such"),
    (ENVIRONMENT + "class: live\nfreeze: [{from: '2026-12-20T00Z', to: §'2026-12-21'}]\n", "invalid_value", "offset"),
    (ENVIRONMENT + "class: live\nfreeze: [{from: '2026-12-20T00Z', to: §2026-12-19T00Z}]\n", "invalid_value", "later"),
    (ENVIRONMENT + "class: live\nallowed_statuses: [approved, §approved]\n", "duplicate", "stands twice"),
    (ENVIRONMENT + "class: live\napprover_teams: §[risk]\n", "invalid_value", "set `approvals` to 1 or more"),
    (ENVIRONMENT + "class: live\napprovals: 1\napprover_roles: [§boss]\n", "invalid_value", "approver"),
    (ENVIRONMENT + "class: live\nallowed_data_classes: [public, §public]\n", "duplicate", "stands twice"),
    (ENVIRONMENT + "class: live\nallowed_data_classes: [§secret]\n", "invalid_value", "restricted"),
    ("kind: Environment\nname: §Production\nclass: live\n", "invalid_value", "at most 12"),
    # Route
    ("kind: Route\nname: r\nteam: t\nenvironments: §{}\n", "invalid_value", "at least one environment"),
    ((ROUTE + TARGETS).replace("name: r", "name: §openai/*"), "not_yet_supported", "pattern"),
    ((ROUTE + TARGETS).replace("name: r", 'name: §"../x"'), "invalid_value", "not a route name"),
    (ROUTE + "targets: §[]\n", "invalid_value", "at least one target"),
    (ROUTE + "targets: [{model: §m}]\n", "invalid_value", "as name@version"),
    (ROUTE + "targets: [{model: m@1}, {model: §m@1}]\n", "duplicate", "stands twice"),
    (ROUTE + "targets: [{model: m@1, weight: §-1}]\n", "invalid_value", "from 0 to"),
    (ROUTE + "targets: §[{model: m@1, weight: 0}]\n", "invalid_value", "above 0"),
    (ROUTE + "targets: [{model: m@1, §wieght: 3}]\n", "unknown_field", "did you mean `weight`?"),
    (ROUTE + TARGETS + "strategy: §latency\n", "not_yet_supported", "'latency' is not yet supported"),
    (ROUTE + TARGETS + "strategy: §random\n", "invalid_value", "must be 'weighted'"),
    (ROUTE + "strategy: priority\n    targets: [{model: m@1, weight: §2}]\n", "invalid_value", "has no effect"),
    (ROUTE + TARGETS + "fallback: [{model: §m}]\n", "invalid_value", "as name@version"),
    (ROUTE + TARGETS + "capture: §full\n", "not_yet_supported", "capture other than none"),
    (ROUTE + TARGETS + "rollout: §Careful One\n", "invalid_value", "is not a name"),
    # Rollout
    (ROLLOUT.replace("name: r", "name: §immediate") + "[{weight: {percent: 5}}]\n", "invalid_value", "another name"),
    (ROLLOUT + "§[]\n", "invalid_value", "from 1 to 20"),
    (ROLLOUT + "§[{approval: true}]\n", "invalid_value", "give the candidate traffic"),
    (ROLLOUT + "[§{approval: true, weight: {percent: 5}}, {weight: {percent: 9}}]\n", "invalid_value", "one of"),
    (ROLLOUT + "[{weight: {percent: §0}}]\n", "invalid_value", "must be from 0.01 to 99"),
    (ROLLOUT + "[{weight: {percent: §5.005}}]\n", "invalid_value", "at most two digits"),
    (ROLLOUT + '[{weight: {percent: §"5"}}]\n', "invalid_value", "must be a number"),
    (ROLLOUT + "[{weight: {percent: 5}}, {weight: {percent: §5}}]\n", "invalid_value", "only rise"),
    (ROLLOUT + "[{weight: {percent: 98}}, {holdback: {percent: §5}}]\n", "invalid_value", "only rise"),
    (ROLLOUT + "[{holdback: §{}}, {weight: {percent: 99}}]\n", "invalid_value", "last step"),
    (ROLLOUT + "[{weight: {percent: 5, bake_s: §-1}}]\n", "invalid_value", "must be from 0"),
    (ROLLOUT + "[{weight: {percent: 5, §bake: 1}}]\n", "unknown_field", "did you mean `bake_s`?"),
    (ROLLOUT + ONE_STEP + "guards: §{}\n", "invalid_value", "at least one guard"),
    (ROLLOUT + ONE_STEP + "guards: {error: {ratio: §0.9}}\n", "invalid_value", "must be from 1 to 100"),
    (ROLLOUT + ONE_STEP + "guards: {error: {floor: §0}}\n", "invalid_value", "above 0"),
    (ROLLOUT + ONE_STEP + "guards: {cost: {§floor: 0.1}}\n", "unknown_field", "is not a field here"),
    (ROLLOUT + ONE_STEP + "alpha: §0.5\n", "invalid_value", "must be from 0.0001 to 0.2"),
    (ROLLOUT + ONE_STEP + "hold_at: §1\n", "invalid_value", "must be from 2"),
    (ROLLOUT + ONE_STEP + "lease_s: §1\n", "invalid_value", "must be from 5"),
    (ROUTE + TARGETS + "max_tokens: §0\n", "invalid_value", "at least 1"),
    (ROUTE + TARGETS + "timeouts: {total_s: §0}\n", "invalid_value", "seconds"),
    (ROUTE + TARGETS + "timeouts: {total_s: §99999}\n", "invalid_value", "seconds"),
    (ROUTE + TARGETS + "timeouts: {total_s: §.inf}\n", "invalid_value", "must be a number"),
    (ROUTE + TARGETS + "§hedge: []\n", "not_yet_supported", "`hedge` is not yet supported"),
    (ROUTE + TARGETS + "limits: {tokens_per_minute: §0}\n", "invalid_value", "at least 1"),
    (ROUTE + TARGETS + "budget: {usd_per_month: §1}\n", "invalid_value", "put it in quotes"),
    (ROUTE + TARGETS + "\ndata_class: §secret\n", "invalid_value", "must be 'public'"),
    (ROUTE + TARGETS + "\ntasks: [a, §a]\n", "duplicate", "stands twice"),
]


def findings_of(text: str, file: str = "shop.yaml") -> tuple[Finding, ...]:
    with pytest.raises(InvalidManifest) as caught:
        parse_manifests([ManifestFile(file, text, "/srv")]).checked()
    return caught.value.findings


@pytest.mark.parametrize(("marked", "code", "words"), CASES, ids=[f"{at}-{case[1]}" for at, case in enumerate(CASES)])
def test_each_mistake_is_told_at_its_place(marked: str, code: str, words: str) -> None:
    before, mark, after = marked.partition("§")
    assert mark
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    found = findings_of(before + after)
    if code == "syntax" and "not YAML" in words:
        assert found[0].line >= line
    else:
        assert [(item.file, item.line, item.column, item.code) for item in found] == [
            ("shop.yaml", line, column, code)
        ], found
    assert words in found[0].message


def test_all_mistakes_of_all_files_come_at_once() -> None:
    files = [
        ManifestFile("a.yaml", "kind: Team\nnam: x\n---\nkind: Tem\nname: y\n"),
        ManifestFile("b.yaml", "kind: [\n"),
    ]
    with pytest.raises(InvalidManifest) as caught:
        parse_manifests(files).checked()
    assert [(item.file, item.code) for item in caught.value.findings] == [
        ("a.yaml", "missing_field"),
        ("a.yaml", "unknown_field"),
        ("a.yaml", "unknown_kind"),
        ("b.yaml", "syntax"),
    ]


def test_findings_are_bounded_and_the_rest_is_counted() -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse_manifests([ManifestFile("m.yaml", "---\n".join(["kind: Elephant\n"] * 130))]).checked()
    assert (len(caught.value.findings), caught.value.left_out) == (100, 30)


def test_a_credential_in_a_file_is_never_repeated() -> None:
    (found,) = findings_of(PROVIDER + "credential: sk-live-very-secret\n")
    assert "very-secret" not in repr(found)


def test_one_name_may_stand_once_over_all_files() -> None:
    with pytest.raises(InvalidManifest) as caught:
        parse_manifests([ManifestFile("a.yaml", TEAM), ManifestFile("b.yaml", TEAM)]).checked()
    (found,) = caught.value.findings
    assert (found.file, found.line, found.column) == ("b.yaml", 2, 7)
    assert "first at a.yaml:1" in found.message


def test_aliases_cannot_grow_without_end() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8)
    )
    (found,) = findings_of(laughs)
    assert found.code == "too_large"


def test_text_that_yaml_1_1_would_turn_into_something_else_stays_text() -> None:
    (document,) = parse_manifests([ManifestFile("m", "kind: Team\nname: on\ndescription: 2026-08-07\n")]).checked()
    assert document.manifest == Team(name="on", description="2026-08-07")


def test_a_whole_set_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(
        PROVIDER + "credential: {test: '${A}', live: '${B}'}\n---\n" + APP + "routes: ['*']\n---\n"
        + HOSTED + f'sha256: "{SHA}", settings: {{threads: 2}}}}\n---\n' + ROUTE + TARGETS + "prompt: x\n"
    )  # fmt: skip
    provider, app, model, route = (document.manifest for document in parse_manifests([read_file(path)]).checked())
    assert isinstance(provider, Provider)
    assert provider.credential == {"test": "${A}", "live": "${B}"}
    assert isinstance(app, App)
    assert app.routes == ("*",)
    assert isinstance(model, Model)
    assert model.versions[0].artifact == str(tmp_path / "x.gguf")
    assert isinstance(route, Route)
    assert route.environments["live"].targets[0].weight is None


def test_plain_values_take_the_same_way() -> None:
    (document,) = read_values([{"kind": "Environment", "name": "live", "class": "live"}], "bundled")
    assert document.name == "live"
    with pytest.raises(InvalidManifest) as caught:
        read_values([{"kind": "Environment", "name": "live", "class_": "live"}], "bundled")
    assert {item.code for item in caught.value.findings} == {"missing_field", "unknown_field"}


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"kind: \xff\n")
    for wrong in (path, tmp_path / "none.yaml"):
        with pytest.raises(InvalidManifest) as caught:
            read_file(wrong)
        assert caught.value.findings[0].file == str(wrong)
