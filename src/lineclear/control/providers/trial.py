"""Tests a provider: asks for its models, and where that proves nothing, for one short answer.

In: a provider's name and an environment. Out: each step with what came, a verdict, and what to do next. Every test is
an audit event, since it uses a credential and may cost a token.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from lineclear.base.secret import Secret
from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_names import reference_of
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.compile import credential_references
from lineclear.control.desired import Desired
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.providers.asking import Answered, NotAnswered, ask
from lineclear.control.providers.meaning import next_of_phase, next_of_status, words_of_status
from lineclear.control.publish import Publisher, read_desired
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.exchange import Dialect, Operation
from lineclear.domain.manifest import Provider
from lineclear.domain.snapshot import ProviderEntry
from lineclear.providers.address import ANTHROPIC_VERSION, Address, address, listing_address, provider_origin

MODELS_SHOWN_MAX = 1_000
QUESTION = "Say ok."
NOT_OFFERED = frozenset({400, 404, 405, 501})
"""Statuses of servers that have no list of models."""
_ASKING = {Dialect.OPENAI: Operation.CHAT, Dialect.ANTHROPIC: Operation.MESSAGES}


class Verdict(StrEnum):
    """What a test showed."""

    WORKS = "works"
    UNPROVEN = "unproven"
    """It answers, and nothing shows yet that calls with this credential would be served."""
    REFUSED = "refused"
    """It answers and says no."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class TrialStep:
    """One call and what came of it."""

    what: str
    status: int | None
    """None if no answer came."""
    latency_ms: float
    message: str


@dataclass(frozen=True)
class ProviderTrial:
    """What a test of a provider showed."""

    provider: str
    environment: str
    base_url: str
    credential: str | None
    """Which one was used: `secret:NAME` or `VARIABLE`; None = none. Never the value."""
    ok: bool
    """Verdict `works`."""
    verdict: Verdict
    message: str
    hint: str
    steps: tuple[TrialStep, ...]
    models: tuple[str, ...] = ()
    """What the provider calls its models, if it lists them."""
    missing_models: tuple[str, ...] = ()
    """What the catalogue calls at this provider and the list does not name."""


@dataclass(frozen=True)
class _Place:
    """Where to ask and with what."""

    name: str
    environment: str
    entry: ProviderEntry
    dialect: Dialect
    reference: str | None
    secret: Secret | None
    known: tuple[str, ...]
    """Upstream ids of the catalogue's versions at this provider."""
    model: str | None
    """Which one to ask for an answer."""
    proxy_secret: Secret | None
    """What its egress proxy asks for."""

    def trial(self, verdict: Verdict, message: str, hint: str, steps: list[TrialStep]) -> ProviderTrial:
        return ProviderTrial(
            self.name, self.environment, self.entry.base_url, self.reference if self.secret else None,
            verdict is Verdict.WORKS, verdict, message, hint, tuple(steps),
        )  # fmt: skip


class ProviderTrials:
    """Makes tests of providers."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._clock = publisher.clock

    def test(self, actor: str, name: str, environment: str, model: str | None = None) -> ProviderTrial:
        """Call a provider as gateways of an environment would.

        Args:
            actor: who asks.
            name: of the provider.
            environment: whose credential is used.
            model: what the provider calls the model to ask for a short answer; None = one of the catalogue, and only
                if the list of models proves nothing.

        Raises:
            Refused: `not_found` if there is no such provider or environment.
        """
        with self._publisher.database.read() as tx:
            place = self._place(tx, name, environment, model)
        trial = self._run(place, is_model_asked=model is not None)
        with self._publisher.database.write() as tx:
            after = f"{trial.verdict.value}: {'; '.join(f'{step.what} {step.status}' for step in trial.steps)}"
            event = AuditEvent(AuditAction.PROVIDER_TESTED, f"Provider/{name}", after=after)
            audit.record(tx, self._clock, actor, [event])
        return trial

    def _place(self, tx: Connection, name: str, environment: str, model: str | None) -> _Place:
        desired = read_desired(tx)
        provider = desired.providers.get(name)
        if provider is None:
            raise _unknown("provider", name, list(desired.providers))
        if environment not in desired.environments:
            raise _unknown("environment", environment, list(desired.environments))
        reference = credential_references(provider, desired.environments).get(environment)
        values = self._publisher.vault.credentials(tx)
        dialects = tuple(Dialect(item.value) for item in provider.dialects)
        known = tuple(_upstream_ids(desired, provider))
        return _Place(
            name=name,
            environment=environment,
            entry=ProviderEntry(
                name,
                dialects,
                provider.base_url.rstrip("/"),
                provider.private_network,
                (provider.egress_proxy or "").rstrip("/"),
            ),
            proxy_secret=values.get(reference_of(provider.egress_proxy_credential or "") or ""),
            dialect=dialects[0],
            reference=reference,
            secret=None if reference is None else values.get(reference),
            known=known,
            model=model or next(iter(known), None),
        )

    def _run(self, place: _Place, *, is_model_asked: bool) -> ProviderTrial:
        if place.reference is not None and place.secret is None:
            hint = f"`lineclear secrets set {place.reference.removeprefix('secret:')}`"
            return place.trial(Verdict.REFUSED, f"its credential {place.reference} has no value", hint, [])
        listed, step = self._list(place, place.secret, "list of models")
        steps = [step]
        if isinstance(listed, NotAnswered):
            return place.trial(Verdict.UNREACHABLE, listed.message, next_of_phase(listed.phase), steps)
        if listed.status not in NOT_OFFERED and not 200 <= listed.status < 300:
            hint = next_of_status(listed.status, place.reference)
            return place.trial(Verdict.REFUSED, words_of_status(listed.status), hint, steps)
        models = _models(listed)
        is_proven = models is not None and (place.secret is None or not self._is_public(place, steps))
        if is_proven and not is_model_asked:
            trial = place.trial(Verdict.WORKS, _works_words(models or ()), "", steps)
        else:
            trial = self._call(place, steps)
        missing = tuple(name for name in place.known if models is not None and name not in models)
        return replace(_with_missing(trial, missing), models=(models or ())[:MODELS_SHOWN_MAX], missing_models=missing)

    def _is_public(self, place: _Place, steps: list[TrialStep]) -> bool:
        """Whether the list of models is there for everybody, so that having it says nothing about the credential."""
        answer, step = self._list(place, None, "list of models without the credential")
        steps.append(step)
        return isinstance(answer, Answered) and 200 <= answer.status < 300

    def _call(self, place: _Place, steps: list[TrialStep]) -> ProviderTrial:
        if place.model is None:
            return place.trial(
                Verdict.UNPROVEN,
                "it answers, and its list of models says nothing about the credential",
                f"name a model to ask: `lineclear providers test {place.name} --model MODEL`",
                steps,
            )
        answer: Answered | NotAnswered = NotAnswered("", "", 0.0)
        for limit in ("max_tokens", "max_completion_tokens"):
            answer, step = self._ask_model(place, place.model, limit)
            steps.append(step)
            # Newer models of OpenAI's take the limit by another name and refuse the old one.
            if not isinstance(answer, Answered) or answer.status != 400 or place.dialect is not Dialect.OPENAI:
                break
        if isinstance(answer, NotAnswered):
            return place.trial(Verdict.UNREACHABLE, answer.message, next_of_phase(answer.phase), steps)
        if 200 <= answer.status < 300:
            return place.trial(Verdict.WORKS, f"{place.model} answered", "", steps)
        words = f"asked for {place.model}: {words_of_status(answer.status)}"
        hint = next_of_status(answer.status, place.reference)
        if answer.status == 404:
            hint = f"does it know {place.model!r}? `lineclear providers test {place.name} -o json` lists its models"
        return place.trial(Verdict.REFUSED, words, hint, steps)

    def _list(self, place: _Place, secret: Secret | None, what: str) -> tuple[Answered | NotAnswered, TrialStep]:
        origin = provider_origin(place.entry, proxy_credential=place.proxy_secret)
        where = listing_address(place.entry, place.dialect, origin, f"test/{place.name}", secret)
        return self._ask(place, where, b"", what)

    def _ask_model(self, place: _Place, model: str, limit: str) -> tuple[Answered | NotAnswered, TrialStep]:
        body = {"model": model, "messages": [{"role": "user", "content": QUESTION}], limit: 1}
        if limit == "max_completion_tokens":
            # Such models think before they answer, and count that.
            body[limit] = 16
        origin = provider_origin(place.entry, proxy_credential=place.proxy_secret)
        where = address(place.entry, _ASKING[place.dialect], origin, f"test/{place.name}", place.secret)
        return self._ask(place, where, json.dumps(body).encode(), f"one short answer of {model}")

    def _ask(self, place: _Place, where: Address, body: bytes, what: str) -> tuple[Answered | NotAnswered, TrialStep]:
        fields = f"anthropic-version: {ANTHROPIC_VERSION}\r\n" if place.dialect is Dialect.ANTHROPIC else ""
        answer = ask(where, fields.encode(), body, self._clock)
        if isinstance(answer, NotAnswered):
            return answer, TrialStep(what, None, answer.latency_ms, answer.message)
        return answer, TrialStep(what, answer.status, answer.latency_ms, words_of_status(answer.status))


def _upstream_ids(desired: Desired, provider: Provider) -> Iterator[str]:
    """What the catalogue calls at a provider, models that chat."""
    for _, version in desired.versions.values():
        is_chat = not version.operations or {Operation.CHAT, Operation.MESSAGES} & set(version.operations)
        is_called = version.status not in (ModelStatus.RETIRED, ModelStatus.BLOCKED)
        if version.provider == provider.name and version.upstream_id and is_chat and is_called:
            yield version.upstream_id


def _models(answer: Answered) -> tuple[str, ...] | None:
    """The ids of a list of models; None if the answer is none."""
    if not 200 <= answer.status < 300:
        return None
    try:
        value: Any = json.loads(answer.body)  # Any: the vendor's JSON, judged below
    except ValueError:
        return None
    # Together answers with the bare list. Source: docs.together.ai/reference/models, 2026-11.
    rows = value.get("data") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        return None
    return tuple(row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str))


def _works_words(models: tuple[str, ...]) -> str:
    return f"it answers and lists {len(models)} model{'' if len(models) == 1 else 's'}"


def _with_missing(trial: ProviderTrial, missing: tuple[str, ...]) -> ProviderTrial:
    if not missing or not trial.ok:
        return trial
    return replace(trial, hint=f"its list does not name {', '.join(missing)}, which the catalogue calls there")


def _unknown(what: str, name: str, known: list[str]) -> Refused:
    hint = near_words(name, known) or f"known: {', '.join(sorted(known)) or 'none'}"
    return Refused(AdminCode.NOT_FOUND, f"there is no {what} {name!r}", hint=hint)
