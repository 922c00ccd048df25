"""The history's own sums, kept while it is made: what usage must show once the ledger has read it.

In: records. Out: counts and nano-USD. It knows nothing of the ledger, so that the two can be compared.
"""

from collections import Counter
from collections.abc import Iterable

from lineclear.domain.ledger import Intent, Outcome, Record, Refusal, Settle
from lineclear.domain.money import CostBasis

NO_ERROR = frozenset({Outcome.OK.value, Outcome.CLIENT_GONE.value})


class Figures:
    """Sums of a history."""

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.intents = 0
        self.refusals = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_nano_usd = 0
        self.waste_nano_usd = 0
        self.unpriced_requests = 0
        self.cost_by_app: Counter[str] = Counter()
        """In nano-USD."""
        self.cost_by_route: Counter[str] = Counter()
        """In nano-USD, of exchanges that had an intent."""
        self.by_outcome: Counter[str] = Counter()
        self.by_error: Counter[str] = Counter()
        """Error codes of exchanges that ended with one."""
        self.by_basis: Counter[str] = Counter()
        self._open: dict[str, Intent] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Take the records of exchanges that are complete."""
        for record in records:
            if isinstance(record, Settle):
                self._settled(self._open.pop(record.id), record)
            elif isinstance(record, Intent):
                self._open[record.id] = record
                self.intents += 1
            elif isinstance(record, Refusal):
                self.refusals += 1
                self._ended(Outcome.REFUSED.value, record.error_code)

    def _settled(self, intent: Intent, settle: Settle) -> None:
        self._ended(settle.outcome, settle.error_code)
        self.input_tokens += settle.usage.total_input_tokens
        self.output_tokens += settle.usage.total_output_tokens
        self.cost_nano_usd += settle.cost_nano_usd
        self.waste_nano_usd += settle.waste_nano_usd
        self.unpriced_requests += settle.cost_basis == CostBasis.UNPRICED
        self.cost_by_app[intent.app] += settle.cost_nano_usd
        self.cost_by_route[intent.route] += settle.cost_nano_usd
        self.by_basis[settle.cost_basis] += 1

    def _ended(self, outcome: str, error_code: str) -> None:
        self.requests += 1
        self.errors += outcome not in NO_ERROR
        self.by_outcome[outcome] += 1
        if error_code:
            self.by_error[error_code] += 1
