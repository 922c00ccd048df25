"""How comparisons of two releases are told: verdicts, states, what a check asks, in what answers differ.

In: values as the API gives them. Out: words and marks. Pure.
"""

from collections.abc import Mapping
from typing import Any

VERDICTS: Mapping[str, tuple[str, str]] = {
    "pass": ("passed", "good"),
    "fail": ("failed", "bad"),
    "inconclusive": ("inconclusive", "warn"),
}
STATES: Mapping[str, tuple[str, str]] = {
    "waiting": ("waits its turn", "calm"),
    "running": ("under way", "calm"),
    "completed": ("completed", "good"),
    "stopped": ("stopped", "warn"),
    "failed": ("could not go on", "bad"),
}
OPEN = ("waiting", "running")
KINDS: Mapping[str, tuple[str, str]] = {
    "same": ("the same", "good"),
    "same_json": ("the same JSON, written otherwise", "good"),
    "changed": ("differ", "warn"),
    "candidate_failed": ("only stable answered", "bad"),
    "stable_failed": ("only the candidate answered", "calm"),
    "both_failed": ("neither answered", "calm"),
}
DIFFERENT = ("candidate_failed", "changed", "stable_failed")
"""Kinds in which both releases did not do the same, the worst first."""
PURPOSES: Mapping[str, str] = {"replay": "by hand", "eval": "for an eval or a gate"}


def verdict_chip(run: Mapping[str, Any]) -> tuple[str, str]:
    """A run of an eval in one word: its verdict, or its state where that says more."""
    if run["verdict"] is None or (run["verdict"] == "inconclusive" and run["state"] != "completed"):
        return STATES.get(run["state"], (run["state"], "calm"))
    return VERDICTS.get(run["verdict"], (run["verdict"], "calm"))


def state_chip(state: str) -> tuple[str, str]:
    """A replay's state as a word and a mark."""
    return STATES.get(state, (state, "calm"))


def kind_chip(kind: str | None) -> tuple[str, str]:
    """In what both answers to one case differ."""
    return ("asked of one release", "calm") if kind is None else KINDS.get(kind, (kind, "calm"))


def check_words(check: Mapping[str, Any]) -> str:
    """What a check of a manifest asks of an answer."""
    if check["exact"] is not None:
        return "is what is expected" + (", whatever the case" if check["exact"]["ignore_case"] else "")
    if check["numeric"] is not None:
        near = check["numeric"]
        told = [f"{near['tolerance']:g}"] if near["tolerance"] else []
        told += [f"{near['relative'] * 100:g} %"] if near["relative"] else []
        return "is the number that is expected" + (f", give or take {' or '.join(told)}" if told else "")
    if check["similarity"] is not None:
        near = check["similarity"]
        return f"is {near['at_least']:g} or more like what is expected, by the vectors of {near['route']}"
    if check["judge"] is not None:
        return f"the model behind {check['judge']['route']} judges: {check['judge']['question']}"
    if check["json_schema"] is not None:
        return "is JSON that meets the schema"
    return f"by the function {check['python']}" if check["python"] else f"matches {check['regex']}"


def decision(run: Mapping[str, Any]) -> tuple[str, str]:
    """What a run means, in a sentence, and what that follows from."""
    if run["verdict"] is None:
        return "It is under way.", run["words"]
    if not run["stable"] and run["verdict"] in ("pass", "fail"):
        words = "passed: every check reached" if run["verdict"] == "pass" else "failed: a check did not reach"
        return f"The release {words} what a first release has to.", run["words"]
    if run["verdict"] == "pass":
        return "The candidate passed: at no check is it worse than stable by the margin.", run["words"]
    if run["verdict"] == "fail":
        return "The candidate failed: it is shown to be worse than it may be.", run["words"]
    if run["state"] == "completed":
        return "Nothing is shown: the candidate is neither proven worse nor proven as good.", run["words"]
    return "It ended without a verdict.", run["words"]


def follows(run: Mapping[str, Any]) -> str:
    """What a verdict is followed by."""
    if not run["stable"]:
        return "A route that names a rollout with this eval gets its first release there only after it passed."
    if run["rollout"] is None:
        return "It was run by hand; nobody's calls depend on it."
    if run["verdict"] is None:
        return "Its rollout waits for it; until then nobody gets more of the candidate."
    if run["verdict"] == "pass":
        return "Its rollout goes on by itself."
    if run["verdict"] == "fail":
        return "Its rollout is held: the gate is run again, or the candidate is rolled back. Nobody advances past it."
    return "Its rollout is held: the gate is run again, or somebody goes on without proof and answers for it."
