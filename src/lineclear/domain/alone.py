"""What scores of one release show where none serves yet that it could be compared with. Pure.

In: an Eval's spec with what each check has to reach; for each case a score of the candidate. Out: a verdict for each
check and of all together. Counted and not inferred: the dataset itself is what the mean is of. What is not known counts
for the candidate where it could be failed and against it where it could pass.
"""

from collections.abc import Mapping, Sequence

from lineclear.domain.evals import WORST_CASES_MAX, CheckVerdict, EvalReport, EvalSpec, Scores
from lineclear.domain.pairs import PairVerdict


def alone_report(spec: EvalSpec, scores: Mapping[str, Sequence[Scores]], unfinished: str) -> EvalReport:
    """What the scores of a release by itself show.

    Args:
        spec: what they are held to.
        scores: by id of the check, one for each case of the dataset.
        unfinished: why not every case was asked; empty if every one was. It can fail then and not pass.

    Failed if one check cannot reach what is asked any more, whatever is still unknown. Passed if every one reaches it.
    An Eval that asks for nothing shows nothing.
    """
    wanted = spec.at_least
    if wanted is None:
        return EvalReport(PairVerdict.INCONCLUSIVE, f"{spec.title} says no `at_least`", ())
    judged = tuple(_judged(check.id, wanted, scores.get(check.id, ())) for check in spec.checks)
    failed = [one for one in judged if one.verdict is PairVerdict.FAIL]
    if failed:
        return EvalReport(PairVerdict.FAIL, "; ".join(_words(one, wanted) for one in failed), judged)
    left = [one for one in judged if one.verdict is not PairVerdict.PASS]
    if unfinished or left:
        words = [*([unfinished] if unfinished else []), *(_words(one, wanted) for one in left)]
        return EvalReport(PairVerdict.INCONCLUSIVE, "; ".join(words), judged)
    count = judged[0].cases
    return EvalReport(PairVerdict.PASS, f"{len(judged)} checks over {count} cases reach {wanted:g}", judged)


def _judged(id_: str, wanted: float, scores: Sequence[Scores]) -> CheckVerdict:
    known = [(one.candidate, one.case) for one in scores if one.candidate is not None]
    unknown = len(scores) - len(known)
    total = sum(score for score, _ in known)
    verdict = PairVerdict.INCONCLUSIVE
    # A sum of floats may miss a bound that it meets exactly.
    needed = wanted * len(scores) - 1e-9
    if scores and total + unknown < needed:
        verdict = PairVerdict.FAIL
    elif scores and total >= needed:
        verdict = PairVerdict.PASS
    lost = sorted(((score, case) for score, case in known if score < 1), key=lambda one: one[0])
    return CheckVerdict(
        id_,
        verdict,
        len(scores),
        unknown,
        len(lost),
        0,
        total / len(known) if known else None,
        None,
        0.0,
        0.0,
        tuple(case for _, case in lost[:WORST_CASES_MAX]),
    )


def _words(one: CheckVerdict, wanted: float) -> str:
    unknown = f", {one.unknown} unknown" if one.unknown else ""
    if one.candidate_score is None:
        return f"{one.id}: no score of {one.cases} cases is known"
    return f"{one.id}: {one.candidate_score:.3f} over {one.cases} cases{unknown}, {wanted:g} is asked"
