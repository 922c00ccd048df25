"""A request in a few sentences, for whoever reads no table: who asked what, what came of it and why, what it cost.

In: an entry with its detail, what control knows beside it. Out: sentences, each with one fact more. The words are
`domain.explained`'s. No prompts and no answers.
"""

from collections.abc import Iterator

from lineclear.domain.entry import EntryDetail
from lineclear.domain.explained import advice_on, attempt_words, basis_words, outcome_words
from lineclear.domain.money import NO_USAGE, usd_text
from lineclear.observe.background import Background, Decided
from lineclear.observe.entry import Entry
from lineclear.observe.logs import cost_basis, cost_text, milliseconds
from lineclear.observe.period import time_text

DIFFERENCES_SHOWN = 3


def summary_of(entry: Entry, detail: EntryDetail, background: Background | None) -> list[str]:
    """The sentences, most important first."""
    return [
        _end(entry, detail),
        _asker(entry, detail),
        *_echo(entry, detail),
        *_ways(entry, detail),
        *(_decision(background.decided) if background is not None and background.decided is not None else ()),
        *_money(entry),
        *_advice(entry),
    ]


def worked_on(entry: Entry, detail: EntryDetail) -> str:
    """The model that answered, else the first that was asked; empty if none was."""
    return entry.facts["model"] or next((one.model for one in detail.attempts), "")


def _end(entry: Entry, detail: EntryDetail) -> str:
    facts = entry.facts
    words = outcome_words(facts["outcome"], facts["error_code"], worked_on(entry, detail))
    took = f"it took {milliseconds(entry.duration_us):g} ms"
    served = f" by {facts['model']} of {facts['provider']}" if facts["outcome"] == "ok" and facts["model"] else ""
    status = f" and sent HTTP status {facts['status']}" if facts["status"] else ""
    advice = advice_on(facts["error_code"])
    because = f", because {advice.meaning} ({facts['error_code']})" if advice is not None else ""
    rules = f", rule {', '.join(detail.rules)}" if detail.rules else ""
    return f"{_capital(words)}{served}{because}{rules}; {took}{status}."


def _asker(entry: Entry, detail: EntryDetail) -> str:
    facts = entry.facts
    route = facts["route"] or detail.asked or "no route"
    task = f" for the task {facts['task']}" if facts["task"] else ""
    release = f"; release {facts['release']} decided" if facts["release"] else ""
    return (
        f"App {facts['app']} of team {facts['team']} asked {route} in {facts['environment']}{task} at "
        f"{time_text(entry.started_us)} with key {facts['key_id']}{release}, revision {facts['revision']}."
    )


def _echo(entry: Entry, detail: EntryDetail) -> Iterator[str]:
    decided = entry.facts["release"]
    if detail.echo and detail.echo != decided:
        yield (
            f"The app says that it was configured by release {detail.echo}, which is not the one that served it: what "
            "it did by itself, such as retrieval, was another release's."
        )


def _ways(entry: Entry, detail: EntryDetail) -> Iterator[str]:
    left_out = [f"{one.model} ({one.exclusion})" for one in detail.candidates if one.exclusion]
    if left_out:
        yield f"Left out: {'; '.join(left_out)}."
    if len(detail.attempts) > 1 or entry.facts["outcome"] != "ok":
        for one in detail.attempts:
            advice = advice_on(one.error_code)
            why = f" ({one.error_code}: {advice.meaning})" if advice is not None else ""
            status = f", status {one.status}" if one.status else ""
            yield (
                f"Attempt {one.attempt} at {one.model}{status}: {attempt_words(one.attempt_class)}{why}, "
                f"{milliseconds(one.duration_us):g} ms."
            )


def _decision(decided: Decided) -> Iterator[str]:
    if decided.in_force_since is None:
        return
    note = f" ({decided.note})" if decided.note else ""
    since = f"Release {decided.release} was put in force by {decided.changed_by}{note} at {decided.in_force_since}"
    if decided.previous is None:
        yield f"{since}; it was the first."
        return
    shown = [f"{one.field} {_value(one.before)} → {_value(one.after)}" for one in decided.differs[:DIFFERENCES_SHOWN]]
    more = len(decided.differs) - len(shown)
    differs = "; ".join([*shown, *([f"{more} more"] if more > 0 else [])]) or "nothing"
    yield f"{since}; from {decided.previous} before it differs: {differs}."


def _money(entry: Entry) -> Iterator[str]:
    basis, cost = cost_basis(entry), cost_text(entry)
    waste = f"; {usd_text(entry.waste_nano_usd)} USD went to abandoned attempts" if entry.waste_nano_usd else ""
    if basis is None or not entry.attempts:
        yield "Nothing was called, so nothing was charged."
    elif not entry.cost_nano_usd and entry.usage == NO_USAGE:
        yield f"Nothing was delivered, so nothing was charged{waste}."
    else:
        tokens = f"{entry.usage.total_input_tokens} tokens in, {entry.usage.total_output_tokens} out"
        told = "Its cost is" if cost is None else f"It cost {cost} USD,"
        yield f"{told} {basis_words(basis)}; {tokens}{waste}."


def _advice(entry: Entry) -> Iterator[str]:
    advice = advice_on(entry.facts["error_code"])
    if advice is not None:
        yield f"What to do: {advice.next_step}."


def _value(text: str | None) -> str:
    return "nothing" if text is None else text


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
