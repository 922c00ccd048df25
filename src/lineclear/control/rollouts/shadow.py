"""The gate `shadow`: gateways ask the candidate what stable has answered already; this says what that has shown.

In: the runs that rollouts stand at, the ledger. Out: verdicts. What is copied stands in the snapshot for as long as the
rollout runs, so nothing has to be begun or ended at gateways here.
"""

from collections.abc import Collection

import msgspec

from lineclear.base.clock import Clock
from lineclear.control.rollouts.gates import GateRun
from lineclear.domain.entry import day_of
from lineclear.domain.rollout import GateResult
from lineclear.domain.shadow import ShadowSpec, shadow_result
from lineclear.observe.shadow import shadow_sums
from lineclear.store.ledger import Ledger


class ShadowGates:
    """A `GateRunner`. Beside the ledger it knows since when a run waits; after a restart that begins anew."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._runs: dict[str, tuple[ShadowSpec, int]] = {}

    def begin(self, run: GateRun) -> None:
        """Wait for copies from now on."""
        if run.id not in self._runs:
            self._runs[run.id] = (msgspec.json.decode(run.asked, type=ShadowSpec), self._clock.unix_us())

    def result(self, run_id: str) -> GateResult | None:
        """What its copies have shown so far; None if nobody waits for it."""
        known = self._runs.get(run_id)
        if known is None:
            return None
        spec, begun_us = known
        now_us = self._clock.unix_us()
        # Copies of before a restart lie at most as long back as the run may take.
        sums = shadow_sums(self._ledger, run_id, day_of(begun_us - spec.wait_max_us) - 1)
        return shadow_result(spec, sums, min(begun_us, sums.first_us or begun_us), now_us)

    def keep_only(self, run_ids: Collection[str]) -> None:
        """Wait for no other one."""
        self._runs = {run: known for run, known in self._runs.items() if run in run_ids}
