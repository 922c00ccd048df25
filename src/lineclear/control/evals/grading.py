"""From the answers of a replay to the scores of every check, case by case.

In: a spec, cases with answers, the door for those who judge, a purse. Out: scores. An answer that was cut is not
judged, and what nobody could say stays unknown. Must not decide what the scores show.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from lineclear.control.evals.asking import Asked, Asker, judgement, similarity
from lineclear.control.evals.python_check import PythonCheck
from lineclear.control.evals.scoring import TextScorer
from lineclear.domain.evals import (
    Answered,
    Check,
    EvalSpec,
    Exact,
    Judge,
    Numeric,
    Pattern,
    Python,
    Scores,
    Shape,
    Similarity,
    Unchanged,
)
from lineclear.domain.evidence import Arm
from lineclear.domain.output_diff import PairKind, pair_kind
from lineclear.domain.replay import Case, CaseResult
from lineclear.store.eval_rows import ScoreRow

AT_ONCE: Final = 4
"""Calls of judges at a time; live traffic goes first."""
CASES_AT_ONCE: Final = 32
"""Whose scores are kept together."""

Answers = tuple[Case, Mapping[Arm, CaseResult]]
Key = tuple[int, str, Arm]
"""Case, check, arm."""


class Over(Exception):
    """The run is over, or this process is: there is no sense in going on."""


class Purse:
    """What judges may still cost; a call begins only where the dearest one so far would fit too."""

    def __init__(self, room_nano_usd: int) -> None:
        self._room = room_nano_usd
        self.dearest_nano_usd = 0
        """Of all calls so far."""
        self._in_flight = 0
        self._paid = 0
        self._gate = threading.Condition()

    def take(self) -> bool:
        """Whether a call may be made; give back what it cost with `pay`."""
        with self._gate:
            # Until a first answer tells what a call costs, there is one at a time.
            while self._in_flight and not self._paid:
                self._gate.wait()
            if (self._in_flight + 1) * self.dearest_nano_usd > self._room or self._room <= 0:
                return False
            self._in_flight += 1
            return True

    def shut(self) -> None:
        """No further call is made."""
        with self._gate:
            self._room = 0

    def pay(self, cost_nano_usd: int) -> None:
        """A call is over."""
        with self._gate:
            self._in_flight -= 1
            self._paid += 1
            self._room -= cost_nano_usd
            self.dearest_nano_usd = max(self.dearest_nano_usd, cost_nano_usd)
            self._gate.notify_all()


@dataclass
class Grader:
    """Scores the answers of one run."""

    spec: EvalSpec
    asker: Asker
    purse: Purse
    known: Mapping[Key, float | None]
    """What models said before a restart."""
    keep: Callable[[Sequence[ScoreRow]], None]
    """Takes what models said, before anything more is asked."""
    over: threading.Event
    """Set by who ends the run, or this process."""
    variables: Mapping[str, str]
    """The environment of checks in Python; only a few of them are passed on."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Why scores are unknown, by check; one reason is enough."""
    graded: int = 0
    """Cases so far."""

    def scores(self, answers: Iterable[Answers]) -> dict[str, list[Scores]]:
        """Of every case that was asked, by the id of the check.

        Raises:
            Over: somebody ended the run.
        """
        found: dict[str, list[Scores]] = {check.id: [] for check in self.spec.checks}
        with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
            checks = [(check, self._scorer(check, stack)) for check in self.spec.checks]
            waiting = iter(answers)
            while block := list(islice(waiting, CASES_AT_ONCE)):
                if self.over.is_set():
                    raise Over
                said = self._ask(pool, block)
                for case, results in block:
                    for check, scorer in checks:
                        found[check.id].append(self._scored(check, scorer, case, results, said))
                self.graded += len(block)
        return found

    def _scorer(self, check: Check, stack: ExitStack) -> TextScorer | PythonCheck | None:
        match check.way:
            case Exact() | Numeric() | Pattern() | Shape():
                return TextScorer(check.way)
            case Python():
                return stack.enter_context(PythonCheck(check.way.entry_point, self.variables))
            case _:
                return None

    def _scored(
        self,
        check: Check,
        scorer: TextScorer | PythonCheck | None,
        case: Case,
        results: Mapping[Arm, CaseResult],
        said: Mapping[Key, float | None],
    ) -> Scores:
        if isinstance(check.way, Unchanged):
            return Scores(case.id, _same(results), None)
        scores: dict[Arm, float | None] = {}
        for arm in Arm:
            result = results.get(arm)
            if result is None:
                scores[arm] = None
            elif not result.is_answered:
                scores[arm] = 0.0
            elif isinstance(check.way, Answered):
                scores[arm] = 1.0
            elif scorer is None:
                scores[arm] = said.get((result.case, check.id, arm))
            else:
                scores[arm] = self._looked(check, scorer, case, result)
        return Scores(case.id, scores[Arm.CANDIDATE], scores[Arm.STABLE])

    def _looked(self, check: Check, scorer: TextScorer | PythonCheck, case: Case, result: CaseResult) -> float | None:
        if result.is_cut:
            self.troubles.setdefault(check.id, f"the answer to case {case.id!r} is too long to be kept whole")
            return None
        score = scorer.score(case, result.text)
        if score is None:
            words = (
                scorer.trouble if isinstance(scorer, PythonCheck) else f"case {case.id!r} does not say what it expects"
            )
            self.troubles.setdefault(check.id, words)
        return score

    def _ask(self, pool: ThreadPoolExecutor, block: Sequence[Answers]) -> dict[Key, float | None]:
        """What models say of the answers of some cases, and what they said before."""
        said = {
            (result.case, check.id, arm): self.known.get((result.case, check.id, arm))
            for _, results in block
            for arm, result in results.items()
            for check in self.spec.checks
            if (result.case, check.id, arm) in self.known
        }
        asked = list(
            pool.map(lambda one: self._asked(*one), [one for one in self._questions(block) if one[0] not in said])
        )
        rows = [
            ScoreRow(key[0], key[1], key[2].value, one.score, one.cost_nano_usd)
            for key, one in asked
            if one is not None
        ]
        self.keep(rows)
        return said | {key: None if one is None else one.score for key, one in asked}

    def _questions(self, block: Sequence[Answers]) -> Iterator[tuple[Key, Check, Case, CaseResult]]:
        for case, results in block:
            for check in self.spec.checks:
                if not isinstance(check.way, Similarity | Judge):
                    continue
                for arm, result in sorted(results.items()):
                    if result.is_answered:
                        yield (result.case, check.id, arm), check, case, result

    def _asked(self, key: Key, check: Check, case: Case, result: CaseResult) -> tuple[Key, Asked | None]:
        """None if nobody was asked; it may be asked after a restart then."""
        if result.is_cut:
            self.troubles.setdefault(check.id, f"the answer to case {case.id!r} is too long to be kept whole")
            return key, None
        if self.over.is_set() or not self.purse.take():
            self.troubles.setdefault(check.id, "the spend cap has no room for judges any more")
            return key, None
        cost = 0
        try:
            match check.way:
                case Similarity():
                    one = similarity(self.asker, check.way, case, result.text)
                case Judge():
                    one = judgement(self.asker, check.way, case, result.text)
                case _:
                    return key, None
            cost = max(one.cost_nano_usd, self.purse.dearest_nano_usd if one.is_lost else 0)
            if one.is_unpriced:
                self.purse.shut()
        finally:
            self.purse.pay(cost)
        if one.score is None and self.over.is_set():
            # It was cut short, and may be asked again by the next control.
            return key, None
        if one.trouble:
            self.troubles.setdefault(check.id, one.trouble)
        return key, replace(one, cost_nano_usd=cost)


def _same(results: Mapping[Arm, CaseResult]) -> float | None:
    """1 if the candidate answers what stable answers, 0 if something else; None if either was not asked."""
    if len(results) < len(Arm):
        return None
    kind = pair_kind(results[Arm.STABLE], results[Arm.CANDIDATE])
    return float(kind not in (PairKind.CHANGED, PairKind.CANDIDATE_FAILED))
