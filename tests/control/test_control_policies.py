"""Policies from the file to what a gateway holds: names that exist, sections, and revisions of before."""

from datetime import UTC, datetime

import msgspec
import pytest

from lineclear.control.endpoint import Refused
from lineclear.domain.catalogue import VendorState
from lineclear.domain.exchange import Operation
from lineclear.domain.policy import Caller
from lineclear.domain.snapshot import CatalogueSection, PoliciesSection
from lineclear.gateway.live import Live
from lineclear.gateway.snapshot import SnapshotError, compile_snapshot
from lineclear.testing.control_plane import ControlPlane

ROUTE = """
kind: Model
name: tiny
owner: default
cost_tier: high
versions: [{version: "1", engine: simulated, status: approved}]
---
kind: Route
name: chat
team: default
tasks: [drafting]
environments:
  live:
    targets: [{model: tiny@1}]
"""
POLICY = """
kind: Policy
name: careful
rules:
  - {id: dear, when: {task: [drafting], cost_tier: [high]}, then: deny, description: too dear}
  - {id: night, when: {app: [default], time: {zone: Europe/Berlin, days: [fri], hours: "22:00-06:00"}}, then: allow}
"""


def test_a_policy_is_compiled_for_gateways(plane: ControlPlane) -> None:
    plane.apply(ROUTE + "---" + POLICY)
    loaded = plane.load()
    (policy,) = msgspec.json.decode(loaded.sections["policies"], type=PoliciesSection).policies
    assert [rule.id for rule in policy.rules] == ["policy.deny:careful/dear", "policy.allow:careful/night"]
    time = policy.rules[1].time
    assert time is not None
    assert (time.zone, time.days, time.from_minute, time.to_minute) == ("Europe/Berlin", (4,), 1320, 360)
    view = compile_snapshot(loaded.manifest, loaded.sections, "/run/x", Live(plane.clock)).routes["live", "chat"]
    admission = view.admissions[Operation.CHAT, "drafting", view.data_class]
    assert admission.refusal is not None
    assert (admission.refusal.rule, admission.varying) == ("policy.deny:careful/dear", None)


def test_a_revision_of_before_policies_is_read_and_an_unknown_condition_is_not(plane: ControlPlane) -> None:
    plane.apply(ROUTE + "---" + POLICY)
    loaded = plane.load()
    before = {name: content for name, content in loaded.sections.items() if name != "policies"}
    snapshot = compile_snapshot(loaded.manifest, before, "/run/x", Live(plane.clock))
    assert (
        snapshot.routes["live", "chat"]
        .admissions[Operation.CHAT, "drafting", snapshot.routes["live", "chat"].data_class]
        .refusal
        is None
    )
    later = {**loaded.sections, "policies": loaded.sections["policies"].replace(b'"task"', b'"mood"')}
    with pytest.raises(SnapshotError, match="unknown field `mood`"):
        compile_snapshot(loaded.manifest, later, "/run/x", Live(plane.clock))
    elsewhere = {
        **loaded.sections,
        "policies": loaded.sections["policies"].replace(b"Europe/Berlin", b"Europe/Atlantis"),
    }
    with pytest.raises(SnapshotError, match="time zone of policy rule careful/night"):
        compile_snapshot(loaded.manifest, elsewhere, "/run/x", Live(plane.clock))


@pytest.mark.parametrize(
    ("was", "written", "words"),
    [
        ("task: [drafting]", "task: [draftin]", "there is no task 'draftin'; did you mean `drafting`?"),
        ("app: [default]", "app: [defaul]", "there is no app 'defaul'; did you mean `default`?"),
        ("app: [default]", "team: [defaul]", "there is no team 'defaul'"),
        ("app: [default]", "environment: [liv]", "there is no environment 'liv'; did you mean `live`?"),
        ("app: [default]", "model: [tinny]", "there is no model 'tinny'; did you mean `tiny`?"),
        ("app: [default]", 'model: ["tiny@2"]', "there is no model version 'tiny@2'"),
        ("then: deny", "then: require_route, route: cha", "there is no route 'cha'; did you mean `chat`?"),
        ("app: [default]", "provider_region: [locl]", "there is no region of a provider 'locl'; did you mean `local`?"),
    ],
)
def test_a_name_that_is_not_there_is_told_at_its_place(plane: ControlPlane, was: str, written: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        plane.apply(ROUTE + "---" + POLICY.replace(was, written, 1))
    (found,) = caught.value.findings
    assert (found.code, words in found.message) == ("unknown_reference", True), found
    assert found.line in (19, 20)
    assert (found.column or 0) > 10


VENDOR = """
kind: Provider
name: far
dialects: [openai]
base_url: https://far.example
region: eu
vendor_record: {agreements: [DPA], retention_days: 0, training_use: none, exit_plan: move, review_by: 2030-01-01,
  evidence: [{name: SOC 2, expires: 2029-07-01}]}
---
kind: Model
name: own
owner: default
versions: [{version: "1", engine: simulated, status: approved}]
---
kind: Model
name: far
owner: default
versions: [{version: "1", provider: far, upstream_id: x, status: approved}]
---
kind: Route
name: far
team: default
environments: {live: {targets: [{model: far@1}]}}
---
kind: Policy
name: vendors
rules: [{id: old, when: {provider_region: [eu], vendor_record: [expired]}, then: deny}]
"""


def test_a_vendors_record_closes_its_models_on_the_day_it_runs_out(plane: ControlPlane) -> None:
    plane.apply(VENDOR)
    loaded = plane.load()
    view = compile_snapshot(loaded.manifest, loaded.sections, "/run/x", Live(plane.clock)).routes["live", "far"]
    varying = view.admissions[Operation.CHAT, "", view.data_class].varying
    assert varying is not None
    ends_us = int(datetime(2029, 7, 1, tzinfo=UTC).timestamp()) * 1_000_000
    assert varying.admission(Caller("default", "default", (), ends_us - 1)).refusal is None
    refusal = varying.admission(Caller("default", "default", (), ends_us)).refusal
    assert refusal is not None
    assert refusal.rule == "policy.deny:vendors/old"


@pytest.mark.parametrize(
    ("was", "written", "state"),
    [
        ("", "", VendorState.VALID),
        ("agreements: [DPA], ", "", VendorState.INCOMPLETE),
        ("exit_plan: move, ", "", VendorState.INCOMPLETE),
        ("review_by: 2030-01-01,", "", VendorState.INCOMPLETE),
        ("training_use: none", "training_use: yes", VendorState.VALID),
        (VENDOR[VENDOR.index("vendor_record: {") : VENDOR.index("---\nkind: Model")], "", VendorState.MISSING),
    ],
)
def test_a_record_is_complete_missing_or_neither(
    plane: ControlPlane, was: str, written: str, state: VendorState
) -> None:
    plane.apply(VENDOR.replace(was, written, 1) if was else VENDOR)
    versions = msgspec.json.decode(plane.load().sections["catalogue"], type=CatalogueSection).versions
    assert (versions["far@1"].region, versions["far@1"].vendor) == ("eu", state)
    assert (versions["own@1"].region, versions["own@1"].vendor) == ("local", VendorState.VALID)
