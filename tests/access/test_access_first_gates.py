"""Gates of first releases where an environment is protected: an approval does not stand in for what was not shown."""

import hashlib
from typing import Any

import pytest

from lineclear.client.admin import AdminClient, path_of
from lineclear.testing.access_house import AccessHouse, refusal

BASE = """
kind: Environment
name: live
class: live
approvals: 1
---
kind: App
name: checker
team: support
---
kind: Eval
name: words
team: support
app: checker
dataset: DATASET
checks: [{id: word, regex: yes}]
AT_LEAST
---
kind: Rollout
name: gated
steps: [STEP, {weight: {percent: 5, bake_s: 60}}]
---
kind: Route
name: fresh
team: support
environments:
  test: {targets: [{model: simulated@1}]}
"""
LIVE = """
kind: Route
name: fresh
team: support
environments:
  live: {targets: [{model: simulated@1}], rollout: gated}
"""
EVAL = "{eval: words}"
SHADOW = "{shadow: {percent: 5, min_copies: 100}}"


CASE = '{"text": "say yes"}'
PINNED = "words@" + hashlib.sha256(CASE.encode()).hexdigest()[:16]


def begun(
    house: AccessHouse, step: str = EVAL, at_least: str = "at_least: 0.9", dataset: str = PINNED
) -> tuple[AdminClient, AdminClient]:
    house.admin.post(path_of("datasets"), {"name": "words", "team": "support", "content": CASE})
    house.plane.apply(BASE.replace("AT_LEAST", at_least).replace("STEP", step).replace("DATASET", dataset))
    return house.person("ann", "author team:support"), house.person("bob", "approver environment:live")


def opened(client: AdminClient) -> dict[str, Any]:
    return dict(client.post(path_of("changes"), {"files": [{"name": "m.yaml", "text": LIVE}], "note": "at last"}))


def test_an_approved_first_release_waits_for_its_gate(house: AccessHouse) -> None:
    ann, bob = begun(house)
    answer = opened(ann)
    assert any("asks for eval 'words'" in words for words in answer["plan"]["warnings"])
    change = answer["change"]
    bob.post(path_of("changes", change, "approvals"), {"reason": "fine"})
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "gate_not_passed")
    assert bob.get(path_of("changes", change))["change"]["state"] == "approved"
    run = house.admin.post(
        path_of("eval-runs"), {"eval": "words", "route": "fresh", "environment": "live", "candidate_from": "test"}
    )["run"]
    assert (run["stable"], run["at_least"], run["candidate_from"]) == ("", 0.9, "test")
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "gate_not_passed")
    # No gateway answers here, so the run is stopped: that is no pass.
    house.admin.post(path_of("eval-runs", run["id"], "stops"), {"reason": "enough"})
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "gate_not_passed")


def test_a_rollout_that_can_judge_no_first_release_lets_none_into_a_protected_environment(house: AccessHouse) -> None:
    ann, bob = begun(house, SHADOW)
    change = opened(ann)["change"]
    bob.post(path_of("changes", change, "approvals"), {"reason": "fine"})
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "gate_not_passed")


def test_an_eval_without_a_bar_is_none_either(house: AccessHouse) -> None:
    ann, bob = begun(house, EVAL, "")
    change = opened(ann)["change"]
    bob.post(path_of("changes", change, "approvals"), {"reason": "fine"})
    assert refusal(ann, "POST", path_of("changes", change, "applications"))[:2] == (409, "gate_not_passed")


def test_an_approval_covers_the_cases_or_nothing_goes_live(house: AccessHouse) -> None:
    """Under a name alone the author could judge by other cases than those that were approved."""
    ann, bob = begun(house, dataset="words")
    answer = opened(ann)
    (words,) = (words for words in answer["plan"]["warnings"] if "asks for eval" in words)
    assert f"and live is protected: write `dataset: {PINNED}` (1 case of {PINNED})" in words
    bob.post(path_of("changes", answer["change"], "approvals"), {"reason": "fine"})
    status, code, *_ = refused = refusal(ann, "POST", path_of("changes", answer["change"], "applications"))
    assert (status, code) == (409, "gate_not_passed")
    assert PINNED in str(refused)


def test_the_cases_that_were_approved_have_to_be_there(house: AccessHouse) -> None:
    ann, _ = begun(house)
    house.admin.delete(path_of("datasets", PINNED))
    assert any(f"there is no dataset '{PINNED}'" in words for words in opened(ann)["plan"]["warnings"])


@pytest.mark.parametrize("step", [EVAL, "{replay: {app: checker, dataset: DATASET}}"])
@pytest.mark.parametrize("dataset", ["words", PINNED])
def test_the_plan_of_a_later_release_says_which_cases_no_approval_covers(
    house: AccessHouse, step: str, dataset: str
) -> None:
    serving = BASE.replace("approvals: 1", "approvals: 0") + "  live: {targets: [{model: simulated@1}]}\n"
    for text in (serving, BASE.split("---", maxsplit=1)[0]):
        house.plane.apply(text.replace("AT_LEAST", "").replace("STEP", step).replace("DATASET", dataset))
    ann = house.person("ann", "author team:support")
    text = LIVE.replace("rollout: gated", "rollout: gated, max_tokens: 9")
    plan = ann.post(path_of("changes"), {"files": [{"name": "m.yaml", "text": text}], "note": "more"})["plan"]
    told = [words for words in plan["warnings"] if "with `words@DIGEST` the approval covers them" in words]
    assert len(told) == (dataset == "words")
