"""Changes: planned, applied whole or not at all, released, and written into the audit trail."""

import dataclasses
from collections.abc import Callable

import msgspec
import pytest

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile
from lineclear.control.audit_http import endpoints as audit_endpoints
from lineclear.control.changes.plan import Action
from lineclear.control.desired import decode, encode, noun_digest
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.domain.access import Principal
from lineclear.domain.catalogue import EnvironmentClass
from lineclear.domain.change_request import ChangeState
from lineclear.domain.manifest import Environment, Route, RouteEnvironment, Target
from lineclear.domain.snapshot import CatalogueSection, CredentialsSection, LimitsSection, RouteSection, RuntimesSection
from lineclear.gateway.live import Live
from lineclear.gateway.snapshot import compile_snapshot
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import AUTHOR, ControlPlane
from lineclear.testing.manifests import ACME

SHOP = (
    """
kind: Team
name: support
time_zone: Europe/Berlin
budget: {usd_per_month: "500"}
---"""
    + ACME
    + """---
kind: Model
name: small
owner: support
data_classes: [public, internal]
versions:
  - {version: "1", provider: acme, upstream_id: acme-small, status: approved,
     price: {input_per_mtok: "0.15", output_per_mtok: "0.60"}}
  - {version: "own", engine: gguf, artifact: ./x.gguf, sha256: "SHA", status: test}
---
kind: Prompt
name: voice
text: "You are the assistant of {{ shop }}."
---
kind: App
name: shop
team: support
routes: [chat]
limits: {requests_per_minute: 300}
---
kind: Route
name: chat
team: support
tasks: [answer]
environments:
  test: &same
    targets: [{model: small@1, weight: 9}]
    fallback: [{model: small@own}]
    prompt: voice
    timeouts: {first_event_s: 2.5}
  live: *same
""".replace("SHA", "a" * 64)
)
KEY = "sk-acme-very-secret"


def applied(plane: ControlPlane) -> None:
    plane.apply(SHOP, ACME_KEY=KEY)


def refused(plane: ControlPlane, text: str, **variables: str) -> Refused:
    with pytest.raises(Refused) as caught:
        plane.apply(text, **variables)
    return caught.value


def state_of(plane: ControlPlane) -> tuple[object, ...]:
    with plane.database.read() as tx:
        return (
            rows.read_manifests(tx),
            rows.read_deployments(tx),
            rows.last_revision(tx),
            rows.last_audit(tx),
            rows.read_changes(tx, 100),
        )


def test_the_snapshot_says_what_the_file_says(plane: ControlPlane) -> None:
    applied(plane)
    loaded = plane.load()
    route = msgspec.json.decode(loaded.sections["routes/live/chat"], type=RouteSection)
    assert (route.team, route.tasks, route.data_class, route.generation) == ("support", ("answer",), "internal", 1)
    assert [(target.model, target.weight) for target in route.stable.targets] == [("small@1", 9)]
    assert route.stable.fallback == ("small@own",)
    assert route.stable.prompt is not None
    assert route.stable.prompt.segments == ("You are the assistant of ", "shop", ".")
    assert (route.stable.timeouts.first_event_s, route.stable.timeouts.total_s) == (2.5, 600.0)
    catalogue = msgspec.json.decode(loaded.sections["catalogue"], type=CatalogueSection).versions
    price = catalogue["small@1"].price
    assert price is not None
    assert (price.input_per_mtok, price.output_per_mtok) == (150_000_000, 600_000_000)
    assert catalogue["small@own"].runtime == "small-own"
    limits = msgspec.json.decode(loaded.sections["limits"], type=LimitsSection).accounts
    assert limits["team:support"].budget is not None
    assert limits["team:support"].budget.nano_usd_per_month == 500 * 10**9
    assert limits["team:support"].budget.time_zone == "Europe/Berlin"
    assert limits["app:shop"].requests_per_minute == 300
    assert "route:live/chat" not in limits
    (runtime,) = msgspec.json.decode(loaded.sections["runtimes"], type=RuntimesSection).runtimes
    assert (runtime.name, runtime.artifact) == ("small-own", str(plane.directory / "x.gguf"))


def test_a_gateway_takes_the_snapshot(plane: ControlPlane) -> None:
    applied(plane)
    loaded = plane.load()
    snapshot = compile_snapshot(loaded.manifest, loaded.sections, "/run/x", Live(plane.clock))
    assert snapshot.route_names["live"] == ("chat",)


def test_the_same_content_is_the_same_release_in_every_environment(plane: ControlPlane) -> None:
    applied(plane)
    with plane.database.read() as tx:
        deployments = rows.read_deployments(tx)
    assert deployments["live", "chat"].stable == deployments["test", "chat"].stable


def test_applying_again_changes_nothing(plane: ControlPlane) -> None:
    applied(plane)
    before = state_of(plane)
    again = plane.apply(SHOP, ACME_KEY=KEY)
    assert (again.state, again.change, again.plan.has_changes) == (ChangeState.UNCHANGED, None, False)
    assert state_of(plane) == before


def test_an_update_says_field_by_field_what_it_changes(plane: ControlPlane) -> None:
    applied(plane)
    plan = plane.plan(SHOP.replace("weight: 9", "weight: 8").replace("300", "200"), ACME_KEY=KEY)
    changed = {item.name: item for item in plan.objects if item.action is Action.UPDATE}
    assert set(changed) == {"shop", "chat"}
    (field,) = changed["shop"].fields
    assert (field.path, field.before, field.after) == ("limits.requests_per_minute", 300, 200)
    assert {field.path for field in changed["chat"].fields} == {
        "environments.test.targets[small@1].weight",
        "environments.live.targets[small@1].weight",
    }
    assert {(item.environment, item.route) for item in plan.releases} == {("live", "chat"), ("test", "chat")}


def test_a_plan_changes_nothing(plane: ControlPlane) -> None:
    before = state_of(plane)
    assert plane.plan(SHOP, ACME_KEY=KEY).has_changes
    assert state_of(plane) == before


def test_a_deployment_moves_and_remembers_ten_releases(plane: ControlPlane) -> None:
    applied(plane)
    digests = []
    for weight in range(1, 14):
        with plane.database.read() as tx:
            digests.append(rows.read_deployments(tx)["live", "chat"].stable)
        plane.apply(SHOP.replace("weight: 9", f"weight: {weight + 10}"), ACME_KEY=KEY)
    with plane.database.read() as tx:
        deployment = rows.read_deployments(tx)["live", "chat"]
    assert deployment.generation == 14
    assert list(deployment.previous) == digests[::-1][:10]


def test_going_back_by_file_reuses_the_release(plane: ControlPlane) -> None:
    applied(plane)
    with plane.database.read() as tx:
        first = rows.read_deployments(tx)["live", "chat"].stable
    plane.apply(SHOP.replace("weight: 9", "weight: 8"), ACME_KEY=KEY)
    applied(plane)
    with plane.database.read() as tx:
        deployment = rows.read_deployments(tx)["live", "chat"]
        assert len(rows.read_releases(tx)) == 2
    assert deployment.stable == first
    assert first not in deployment.previous[:1]


def test_a_changed_prompt_is_a_new_release_of_every_route_that_uses_it(plane: ControlPlane) -> None:
    applied(plane)
    plan = plane.plan("kind: Prompt\nname: voice\ntext: Be brief.\n")
    assert {(item.environment, item.route) for item in plan.releases} == {("live", "chat"), ("test", "chat")}


DANGLING = [
    ("kind: App\nname: a\nteam: §suport\n", "no team 'suport'"),
    ("kind: App\nname: a\nteam: support\nroutes: [§chatt]\n", "did you mean `chat`?"),
    ("kind: Model\nname: n\nowner: §nobody\nversions: [{version: a, provider: acme, upstream_id: x}]\n", "no team"),
    (
        "kind: Model\nname: n\nowner: support\nversions: [{version: a, provider: §acne, upstream_id: x}]\n",
        "did you mean `acme`?",
    ),
    (
        "kind: Model\nname: n\nowner: support\n"
        "versions: [{version: a, provider: acme, upstream_id: x, successor: §n@b}]\n",
        "no model version 'n@b'",
    ),
    ("kind: Route\nname: r\nteam: §x\nenvironments: {live: {targets: [{model: small@1}]}}\n", "no team 'x'"),
    ("kind: Route\nname: r\nteam: support\nenvironments: {§liv: {targets: [{model: small@1}]}}\n", "`live`"),
    ("kind: Route\nname: r\nteam: support\nenvironments: {live: {targets: [{model: §small@2}]}}\n", "'small@2'"),
    (
        "kind: Route\nname: r\nteam: support\n"
        "environments: {live: {targets: [{model: small@1}], fallback: [{model: §tiny@1}]}}\n",
        "'tiny@1'",
    ),
    (
        "kind: Route\nname: r\nteam: support\nenvironments: {live: {targets: [{model: small@1}], prompt: §voise}}\n",
        "did you mean `voice`?",
    ),
    (
        "kind: Provider\nname: q\ndialects: [openai]\nbase_url: https://q.example\n"
        "credential: {§prod: '${ACME_KEY}'}\n",
        "no environment 'prod'",
    ),
    (
        "kind: Provider\nname: q\ndialects: [openai]\nbase_url: https://q.example\ncredential: §${UNSET_KEY}\n",
        "UNSET_KEY is set neither",
    ),
    (
        "kind: Model\nname: small\nowner: support\n"
        "versions: [{version: '1', provider: acme, upstream_id: §other, status: approved}]\n",
        "small@1 is immutable",
    ),
    (
        "kind: Model\nname: small\nowner: support\n"
        "versions: [{version: own, engine: gguf, artifact: /x.gguf, sha256: §'" + "b" * 64 + "'}]\n",
        "small@own is immutable",
    ),
]


@pytest.mark.parametrize(("marked", "words"), DANGLING)
def test_a_name_that_leads_nowhere_is_refused_at_its_place(plane: ControlPlane, marked: str, words: str) -> None:
    applied(plane)
    before = state_of(plane)
    place, _, rest = marked.partition("§")
    error = refused(plane, place + rest)
    (finding,) = error.findings
    assert error.code is AdminCode.INVALID_MANIFEST
    assert (finding.line, finding.column) == (place.count("\n") + 1, len(place) - place.rfind("\n"))
    assert words in finding.message
    assert state_of(plane) == before
    assert plane.load().manifest.revision == plane.publisher.revision()


NET = """
kind: Model
name: net
owner: support
versions:
  - version: "1"
    engine: onnx
    artifact: ./net.onnx
    sha256: "SHA"
    settings: {SETTINGS}
""".replace("SHA", "a" * 64)
SETTINGS = "task: classification, tokenizer: t, tokenizer_sha256: A, labels: l, labels_sha256: A"


def net(settings: str) -> str:
    """A model whose one version has these settings; `A` and `B` stand for digests."""
    return NET.replace("SETTINGS", settings.replace("A", "a" * 64).replace("B", "b" * 64))


@pytest.mark.parametrize(
    "settings",
    [
        "task: classification, tokenizer: t, tokenizer_sha256: §B, labels: l, labels_sha256: A",
        "task: classification, tokenizer: t, tokenizer_sha256: A, labels: l, labels_sha256: §B",
        "task: §embeddings, tokenizer: t, tokenizer_sha256: A",
        "task: classification, reads: §bytes, padding: §0, labels: l, labels_sha256: A",
    ],
)
def test_what_decides_what_a_model_computes_never_changes_under_one_version(plane: ControlPlane, settings: str) -> None:
    applied(plane)
    plane.apply(net(SETTINGS))
    before = state_of(plane)
    marked = net(settings)
    error = refused(plane, marked.replace("§", ""))
    head, *rest = marked.split("§")
    line = head.count("\n") + 1
    columns = {len("".join([head, *rest[:at]]).rpartition("\n")[2]) + 1 for at in range(len(rest))}
    told = {(finding.line, finding.column) for finding in error.findings}
    assert told >= {(line, column) for column in columns}
    assert {finding.code for finding in error.findings} == {"immutable"}
    assert all("net@1 is immutable: its setting" in finding.message for finding in error.findings)
    assert state_of(plane) == before


def test_settings_that_decide_nothing_of_a_models_answers_may_change(plane: ControlPlane) -> None:
    applied(plane)
    plane.apply(net(SETTINGS))
    done = plane.apply(net(f"threads: 1, reads: text, inputs_max: 9, {SETTINGS}"))
    assert {item.name: item.action for item in done.plan.objects} == {"net": Action.UPDATE}


def test_one_mistake_refuses_the_whole_set(plane: ControlPlane) -> None:
    before = state_of(plane)
    error = refused(plane, SHOP + "---\nkind: App\nname: late\nteam: nobody\n", ACME_KEY=KEY)
    assert len(error.findings) == 1
    assert state_of(plane) == before


def test_what_a_file_leaves_out_is_kept(plane: ControlPlane) -> None:
    applied(plane)
    text = (
        "kind: Model\nname: small\nowner: support\nversions: [{version: new, provider: acme, upstream_id: n}]\n---\n"
        "kind: Route\nname: chat\nteam: support\nenvironments: {live: {targets: [{model: small@new}]}}\n"
    )
    done = plane.apply(text)
    kept = {item.name: item.kept for item in done.plan.objects}
    assert kept == {"small": ("version 1", "version own"), "chat": ("environment test",)}
    loaded = plane.load()
    assert "routes/test/chat" in loaded.sections
    assert set(msgspec.json.decode(loaded.sections["catalogue"], type=CatalogueSection).versions) == {
        "small@1",
        "small@own",
        "small@new",
    }


def test_a_plan_that_no_longer_holds_is_refused(plane: ControlPlane) -> None:
    plan = plane.plan(SHOP, ACME_KEY=KEY)
    plane.apply("kind: Team\nname: other\n")
    documents = plane.changes.read([ManifestFile("m.yaml", SHOP, str(plane.directory))])
    with pytest.raises(Refused) as caught:
        plane.changes.apply(documents, {"ACME_KEY": Secret(KEY)}, AUTHOR, plan_digest=plan.digest)
    assert caught.value.code is AdminCode.STALE_PLAN


def test_a_plan_that_holds_is_applied(plane: ControlPlane) -> None:
    text = "kind: Team\nname: other\n"
    plan = plane.plan(text)
    documents = plane.changes.read([ManifestFile("m.yaml", text)])
    assert plane.changes.apply(documents, {}, AUTHOR, plan_digest=plan.digest).plan == plan


def test_every_step_of_a_change_is_in_the_audit_trail(plane: ControlPlane) -> None:
    with plane.database.read() as tx:
        last = rows.last_audit(tx)
    applied(plane)
    with plane.database.read() as tx:
        events = rows.read_audit(tx, last.number if last else 0, 100)
        (change, *_) = rows.read_changes(tx, 1)
    assert [(event.action, event.object) for event in events] == [
        ("manifest.created", "Team/support"),
        ("manifest.created", "Provider/acme"),
        ("manifest.created", "Model/small"),
        ("manifest.created", "Prompt/voice"),
        ("manifest.created", "App/shop"),
        ("manifest.created", "Route/chat"),
        ("credential.set", "variable/ACME_KEY"),
        ("deployment.moved", "deployment/live/chat"),
        ("deployment.moved", "deployment/test/chat"),
        ("change.applied", f"change/{change.id}"),
    ]
    assert {event.change_id for event in events} == {change.id}
    assert {event.actor for event in events} == {"tester"}
    assert (change.author, change.approver, change.state) == ("tester", "tester", "applied")
    assert change.note.startswith("m.yaml ")
    assert change.revision == plane.publisher.revision()
    audited = audit_endpoints(plane.database, plane.clock, plane.checkpoints)
    verdict = next(item for item in audited if item.path.endswith("verdict"))
    assert verdict.handler(Call(Principal("x"))).ok  # type: ignore[attr-defined]  # an AuditVerdict


def test_a_credential_is_sealed_wherever_it_lies(plane: ControlPlane) -> None:
    applied(plane)
    plane.close()
    for path in plane.directory.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_a_credential_reaches_each_environment_sealed(plane: ControlPlane) -> None:
    applied(plane)
    section = msgspec.json.decode(plane.load().sections["sealed/credentials"], type=CredentialsSection)
    assert {name: entry[0].secret for name, entry in section.credentials.items()} == {
        "acme/live": KEY,
        "acme/test": KEY,
    }


def test_a_new_value_of_a_credential_is_a_change(plane: ControlPlane) -> None:
    applied(plane)
    done = plane.apply(SHOP, ACME_KEY="sk-rotated")
    assert done.plan.credentials == ("ACME_KEY",)
    assert "sk-rotated" not in repr(done)
    section = msgspec.json.decode(plane.load().sections["sealed/credentials"], type=CredentialsSection)
    assert section.credentials["acme/live"][0].secret == "sk-rotated"


def test_a_credential_that_is_not_set_any_more_keeps_its_last_value(plane: ControlPlane) -> None:
    applied(plane)
    done = plane.apply(SHOP.replace("300", "301"))
    assert done.state is ChangeState.APPLIED


UNSENDABLE = {
    "abcüdef": "not ASCII",
    "abc\ndef": "line break",
    "abcdef\r\n": "line break",
    "abc def": "space",
    "abc\tdef": "space",
    "abc\x00def": "control character",
    "abc\x7fdef": "control character",
    "": "is empty",
}


@pytest.mark.parametrize(("value", "words"), UNSENDABLE.items())
def test_a_credential_that_no_header_can_carry_is_refused_at_its_position(
    plane: ControlPlane, value: str, words: str
) -> None:
    before = state_of(plane)
    error = refused(plane, SHOP, ACME_KEY=value)
    (finding,) = error.findings
    assert (finding.code, finding.line, finding.column) == ("invalid_credential", 11, 13)
    assert "ACME_KEY" in finding.message
    assert words in finding.message
    assert "abc" not in f"{finding}{error}{error.hint}"
    assert state_of(plane) == before
    with pytest.raises(Refused):
        plane.plan(SHOP, ACME_KEY=value)


def test_a_credential_of_one_environment_is_refused_at_its_own_line(plane: ControlPlane) -> None:
    text = SHOP.replace("credential: ${ACME_KEY}", "credential:\n  live: ${ACME_KEY}\n  test: ${TRY_KEY}")
    (finding,) = refused(plane, text, ACME_KEY=KEY, TRY_KEY="two words").findings
    assert (finding.line, finding.path) == (13, "Provider/acme.credential.test")


def test_a_bad_value_at_the_server_does_not_displace_a_good_one(open_plane: Callable[..., ControlPlane]) -> None:
    plane = open_plane(environment={"ACME_KEY": "two words"}).start()
    (finding,) = refused(plane, SHOP).findings
    assert finding.code == "invalid_credential"
    plane.apply(SHOP, ACME_KEY=KEY)
    assert plane.apply(SHOP.replace("300", "301")).state is ChangeState.APPLIED
    assert KEY.encode() in plane.load().sections["sealed/credentials"]


def test_warnings_say_what_will_not_work(plane: ControlPlane) -> None:
    plan = plane.plan(SHOP, ACME_KEY=KEY)
    assert plan.warnings == (
        "small@own has no price and the price file does not know it: its calls are unpriced",
        "route 'chat' in live: small@own has status test and will not be called",
    )


def test_retired_and_blocked_hosted_models_are_not_run(plane: ControlPlane) -> None:
    plane.apply(SHOP.replace("status: test", "status: blocked"), ACME_KEY=KEY)
    assert msgspec.json.decode(plane.load().sections["runtimes"], type=RuntimesSection).runtimes == ()


def test_a_hosted_model_that_no_release_names_is_not_run(plane: ControlPlane) -> None:
    plane.apply(SHOP.replace("    fallback: [{model: small@own}]\n", ""), ACME_KEY=KEY)
    assert msgspec.json.decode(plane.load().sections["runtimes"], type=RuntimesSection).runtimes == ()


def test_findings_name_the_noun_that_breaks_even_if_no_file_holds_it(plane: ControlPlane) -> None:
    applied(plane)
    with plane.database.write() as tx:
        row = next(row for row in rows.read_manifests(tx) if row.kind == "Team" and row.name == "support")
        rows.put_manifest(tx, dataclasses.replace(row, name="gone", document=row.document.replace("support", "gone")))
        tx.exec_driver_sql("DELETE FROM manifests WHERE kind = 'Team' AND name = 'support'")
    error = refused(plane, "kind: Team\nname: other\n")
    assert {finding.path for finding in error.findings} == {"App/shop.team", "Model/small.owner", "Route/chat.team"}


def test_a_noun_from_before_a_field_came_is_the_same_as_today() -> None:
    before = decode("Environment", '{"name":"live","class_":"live"}')
    assert encode(before) == encode(Environment(name="live", class_=EnvironmentClass.LIVE))
    assert noun_digest(before) == noun_digest(Environment(name="live", class_=EnvironmentClass.LIVE))
    route = decode("Route", '{"name":"r","team":"t","environments":{"live":{"targets":[{"model":"m@1"}]}}}')
    written = Route(name="r", team="t", environments={"live": RouteEnvironment(targets=(Target(model="m@1"),))})
    assert (encode(route), noun_digest(route)) == (encode(written), noun_digest(written))
