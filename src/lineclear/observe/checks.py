"""What a request was held to, check by check in the order of the walk, and what each said.

In: an entry with its detail. Out: rows of plain text. An entry records where it ended and why each candidate was left
out; as the walk has one order, that tells of every check whether it passed, refused or was never reached.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lineclear.domain.entry import EntryDetail, EntryKind
from lineclear.domain.explained import CHECKS, RULES, Check, Verdict, advice_on, rule_account, rule_kind
from lineclear.observe.entry import Entry

ORDER: Sequence[Check] = tuple(Check)
_BY_RULE = {"task": Check.TASK, "limit": Check.LIMIT, "guardrail": Check.GUARDRAIL, "environment": Check.DATA_CLASS}
"""Checks by the first part of a rule's id; the other rules are about candidates."""
POLICY = "policy."


ROLLOUT_RULES = "rollout."


@dataclass(frozen=True)
class CheckRow:
    """One check of one request."""

    check: str
    about: str | None
    """What it was asked of: a route, a task, a model version, an account."""
    verdict: str
    detail: str
    """What it held the request to, or why it said no."""
    rule: str | None
    """The id of the rule that said no, where there is one."""


def checks_of(entry: Entry, detail: EntryDetail) -> list[CheckRow]:
    """Every check in its order."""
    stage = _stage(entry, detail)
    is_known = entry.kind is not EntryKind.REFUSAL or stage is not None
    rows: list[CheckRow] = []
    for check in ORDER:
        verdict = _verdict(check, stage, is_known=is_known)
        rows += _rows(check, verdict, entry, detail)
    return rows


def _stage(entry: Entry, detail: EntryDetail) -> Check | None:
    """The check that ended the request; None if none did, or it is not known which."""
    code = entry.facts["error_code"]
    if not code:
        return None
    rules = _refusing(entry, detail)
    if rules:
        ruled = _BY_RULE.get(rules[0].partition(".")[0], Check.CANDIDATE)
        # With an intent the request had passed its guardrails and had a candidate: what said no ended the answer.
        is_end = ruled in (Check.GUARDRAIL, Check.CANDIDATE) and entry.kind is not EntryKind.REFUSAL
        return Check.ANSWER if is_end else ruled
    advice = advice_on(code)
    stage = advice.stage if advice is not None else None
    if entry.kind is EntryKind.REFUSAL:
        return stage
    # With an intent only the reservation is left to say no; what comes after is attempts.
    return stage if stage in (Check.LIMIT, Check.RECORD) else None


def _refusing(entry: Entry, detail: EntryDetail) -> tuple[str, ...]:
    """The rules that can have said no: neither which arm it was dealt, nor policies that it had passed."""
    no_end = ROLLOUT_RULES if entry.kind is EntryKind.REFUSAL else (ROLLOUT_RULES, POLICY)
    return tuple(rule for rule in detail.rules if not rule.startswith(no_end))


def _verdict(check: Check, stage: Check | None, *, is_known: bool) -> Verdict:
    if stage is None:
        return Verdict.PASSED if is_known or check is Check.KEY else Verdict.NOT_KNOWN
    if check is stage:
        return Verdict.REFUSED
    if {check, stage} == {Check.LIMIT, Check.RECORD}:
        return Verdict.PASSED  # both are asked for at once, and the record is written whatever the limits say
    return Verdict.PASSED if ORDER.index(check) < ORDER.index(stage) else Verdict.NOT_REACHED


def _rows(check: Check, verdict: Verdict, entry: Entry, detail: EntryDetail) -> Iterator[CheckRow]:
    rule = next(iter(_refusing(entry, detail)), None) if verdict is Verdict.REFUSED else None
    says = RULES.get(rule_kind(rule or "")) or (_meaning(entry) if verdict is Verdict.REFUSED else CHECKS[check])
    if check is Check.CANDIDATE:
        yield from _candidate_rows(verdict, says, rule, entry, detail)
    elif check is Check.LIMIT and verdict is Verdict.PASSED:
        yield from _limit_rows(says, detail)
    elif check is Check.TASK and verdict is Verdict.PASSED and not entry.facts["task"]:
        yield CheckRow(check, None, Verdict.NOT_APPLICABLE, "the route lists no task, and none was asked for", None)
    else:
        # Of several accounts that were asked, the rule names the one that said no.
        about = rule_account(rule or "") or _about(check, entry, detail)
        yield CheckRow(check, about or None, verdict, says, rule)


def _about(check: Check, entry: Entry, detail: EntryDetail) -> str:
    facts = entry.facts
    match check:
        case Check.KEY:
            return str(facts["key_id"])
        case Check.GRANT:
            return str(facts["route"]) or detail.asked
        case Check.TASK:
            return str(facts["task"]) or (detail.asked if facts["route"] else "")
        case Check.DATA_CLASS:
            return str(facts["data_class"])
        case Check.LIMIT:
            return ", ".join(detail.accounts)
        case _:
            return ""


def _limit_rows(says: str, detail: EntryDetail) -> Iterator[CheckRow]:
    if not detail.accounts:
        yield CheckRow(Check.LIMIT, None, Verdict.NOT_APPLICABLE, "no limit or budget applies", None)
    for account in detail.accounts:
        yield CheckRow(Check.LIMIT, account, Verdict.PASSED, says, None)


def _candidate_rows(
    verdict: Verdict, says: str, rule: str | None, entry: Entry, detail: EntryDetail
) -> Iterator[CheckRow]:
    for one in detail.candidates:
        if one.exclusion:
            yield CheckRow(Check.CANDIDATE, one.model, Verdict.LEFT_OUT, one.exclusion, None)
        else:
            yield CheckRow(Check.CANDIDATE, one.model, Verdict.PASSED, CHECKS[Check.CANDIDATE], None)
    if verdict is Verdict.REFUSED or not detail.candidates:
        # An orphan's candidates went with its worker; that one of them passed is certain, for it was called.
        yield CheckRow(Check.CANDIDATE, entry.facts["model"] or entry.facts["route"] or None, verdict, says, rule)


def _meaning(entry: Entry) -> str:
    code = str(entry.facts["error_code"])
    advice = advice_on(code)
    return advice.meaning if advice is not None else code
