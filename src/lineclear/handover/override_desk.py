"""Overrides: judged from disk, written to the journal, told to the gateways, and what they said within a second.

In: who wants what and why. Out: `Overridden`. Used by control, and by the CLI as owner of the data directory when
control is dead. Needs no database; folding into it is control's, later. Must not wait for a silent gateway.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lineclear.base.clock import Clock
from lineclear.base.seal import Keys
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.overrides import (
    STOP_ALL,
    Block,
    Drill,
    Override,
    Revoke,
    Rollback,
    Start,
    Stop,
    object_of,
    scope_parts,
)
from lineclear.domain.readiness import RollbackImpossible, choose
from lineclear.domain.snapshot import RouteSection
from lineclear.handover.acks import ACCOUNTANT, read_acks
from lineclear.handover.overrides import (
    JournalBroken,
    append_override,
    broken_journals,
    journal_path,
    read_overrides,
)
from lineclear.handover.poke import poke_all, poke_directory
from lineclear.handover.standing import DeploymentReadiness, Standing, Standings, deployment_readiness, runtime_states

GATEWAYS_WAIT_S: Final = 1.0
"""Longest wait for gateways; silent ones are named, and follow by themselves within half a second of waking."""
LOOK_S: Final = 0.005
NAMES_SHOWN: Final = 20


class OverrideRefused(Exception):
    """It cannot be done; nothing was written.

    Attributes:
        kind: `not_found`, `conflict`, `invalid_request` or `unavailable`.
        hint: what to do next.
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.hint = hint


@dataclass(frozen=True)
class GatewayAnswers:
    """What gateways said of an override."""

    acknowledged: tuple[str, ...]
    silent: tuple[str, ...]
    """Those that live and did not say so in time."""
    complaints: tuple[str, ...]
    """What gateways could not apply, in their words."""
    in_s: float
    """From the moment it was durable until the last answer, or until nobody was waited for any more."""


@dataclass(frozen=True)
class Overridden:
    """What an emergency did."""

    kind: str
    """rollback | drill | block | revoke | stop | start"""
    object: str
    """`deployment/live/chat`, `model-version/acme@1`, `key/abc`, `stop/all`"""
    changed: bool
    """False if it was so already; nothing was written then."""
    before: str
    after: str
    sequence: int
    """The journal's entry; 0 if nothing was written."""
    gateways: GatewayAnswers
    recorded: bool
    """It stands in database and audit trail already; otherwise control takes it over from the journal later."""
    summary: str
    """In one sentence for a person."""


@dataclass(frozen=True)
class StopFacts:
    """One stop in force."""

    scope: str
    actor: str
    reason: str
    at_us: int


@dataclass(frozen=True)
class OverrideState:
    """What is overridden now, and what would not be ready."""

    stops: tuple[StopFacts, ...]
    not_ready: tuple[DeploymentReadiness, ...]
    """Deployments that have earlier releases and could go back to none of them at once."""
    problems: tuple[str, ...]
    """Why not every override is in force everywhere, or not in the database; empty if all is well."""


class OverrideDesk:
    """Rolls back, drills, blocks, revokes, stops and starts."""

    def __init__(self, data_dir: Path, run_dir: Path, keys: Keys, clock: Clock) -> None:
        self._journal = journal_path(data_dir)
        self._acks = data_dir / "acks"
        self._run_dir = run_dir
        self._clock = clock
        self._standings = Standings(data_dir, keys)
        self._lock = threading.Lock()

    def standing(self) -> Standing:
        """What stands now.

        Raises:
            SnapshotRefused: there is no usable snapshot.
        """
        with self._lock:
            return self._standings.read()

    def readiness(self) -> tuple[DeploymentReadiness, ...]:
        """Which deployments could go back at once."""
        return deployment_readiness(self.standing(), runtime_states(self._run_dir))

    def state(self, problems: tuple[str, ...] = ()) -> OverrideState:
        """What is overridden now; `problems` are those that only the caller knows of.

        Raises:
            SnapshotRefused: there is no usable snapshot.
        """
        standing = self.standing()
        acks = read_acks(self._acks)
        said = [acks[source].complaint for source in sorted(self._listening() & acks.keys())]
        broken = [
            f"{name} was set aside: its chain did not hold; compare it with `lineclear audit list`, then remove it"
            for name in broken_journals(self._journal)
        ]
        return OverrideState(
            tuple(
                StopFacts(stop.scope, stop.actor, stop.reason, stop.at_us)
                for _, stop in sorted(standing.ground.stops.stops.items())
            ),
            tuple(row for row in self.readiness() if row.previous and not row.rollback_ready),
            tuple(dict.fromkeys(filter(None, (standing.problem, *said, *problems, *broken)))),
        )

    def rollback(self, environment: str, route: str, to: str | None, actor: str, reason: str) -> Overridden:
        """Let a route serve an earlier release; the newest ready one if none is named.

        Raises:
            OverrideRefused: there is no such route or release, or none is ready.
        """
        section, release = self._choose(environment, route, to)
        where, stable = f"route {route} in {environment}", section.stable.id
        fact = Rollback(environment, route, release, section.generation)
        if release == stable and section.candidate is not None:
            tried = f"{where} serves {stable} alone: the rollout of {section.candidate.id} is rolled back"
            return self._do(fact, actor, reason, section.candidate.id, release, tried)
        if release == stable:
            already = f"{where} serves {stable} already"
            if to is None and section.rolled_back_from:
                already += f": it was rolled back from {section.rolled_back_from}; --to goes further"
            return self._unchanged(fact, stable, already)
        return self._do(fact, actor, reason, stable, release, f"{where} went back from {stable} to {release}")

    def drill(self, environment: str, route: str, actor: str, reason: str) -> Overridden:
        """Have every gateway prepare what a rollback would bring, and measure how long it takes.

        Raises:
            OverrideRefused: as `rollback`; and if there is nothing that a rollback would take now.
        """
        section, release = self._choose(environment, route, None)
        if release == section.stable.id and section.candidate is not None:
            raise OverrideRefused(
                "conflict",
                f"route {route!r} in {environment} has a rollout under way: a rollback would end that",
                "drill once it has ended",
            )
        if release == section.stable.id:
            raise OverrideRefused(
                "conflict", f"route {route!r} in {environment} is rolled back already", "drill once it is forward again"
            )
        fact = Drill(environment, route, release, section.generation)
        done = f"route {route} in {environment} goes on with {section.stable.id}; {release} is prepared everywhere"
        return self._do(fact, actor, reason, section.stable.id, release, done)

    def end_rollout(self, environment: str, route: str, rollout: str, actor: str, reason: str) -> Overridden:
        """Let stable alone serve a route again, if this rollout still gives another release traffic at the gateways.

        Raises:
            OverrideRefused: the journal cannot be written.
        """
        section = self.standing().route(environment, route)
        if section is None or section.candidate is None or section.rollout != rollout:
            stable, generation = ("", 0) if section is None else (section.stable.id, section.generation)
            fact = Rollback(environment, route, stable, generation)
            return self._unchanged(fact, stable, f"rollout {rollout} of route {route} in {environment} has ended")
        stable, candidate = section.stable.id, section.candidate.id
        done = f"route {route} in {environment} serves {stable} alone: the rollout of {candidate} is rolled back"
        return self._do(
            Rollback(environment, route, stable, section.generation), actor, reason, candidate, stable, done
        )

    def block(self, model: str, actor: str, reason: str, *, cut_streams: bool = False) -> Overridden:
        """Let a model version be called no more, anywhere; with `cut_streams` its open answers end too.

        Raises:
            OverrideRefused: there is no such version.
        """
        versions = self.standing().ground.catalogue.versions
        version = versions.get(model)
        if version is None:
            raise _unknown("model version", model, list(versions))
        fact, already = Block(model, cut_streams), ""
        if version.status is ModelStatus.BLOCKED:
            already = " already"
            if not cut_streams:
                return self._unchanged(fact, "blocked", f"{model} is blocked already")
        done = f"{model} is blocked{already}{_ending(fact)}"
        return self._do(fact, actor, reason, version.status.value, "blocked", done)

    def revoke(
        self, key_id: str, actor: str, reason: str, *, cut_streams: bool = False, is_known: bool = False
    ) -> Overridden:
        """Let a key be refused everywhere; with `cut_streams` its open answers end too, also if it is revoked already.

        Args:
            key_id: the key.
            actor: who asked for it.
            reason: why.
            cut_streams: end its open answers.
            is_known: the caller knows that there was this key, though neither snapshot nor journal may tell.

        Raises:
            OverrideRefused: no key of this id is in force.
        """
        key = self.standing().key(key_id)
        if key is None and cut_streams and (is_known or self._was_revoked(key_id)):
            done = f"key {key_id} is out of force already; its open answers are ended"
            return self._do(Revoke(key_id, cut_streams), actor, reason, "", "", done)
        if key is None:
            raise OverrideRefused(
                "not_found", f"there is no key {key_id!r} in force", "`lineclear keys list` shows ids"
            )
        whose = f"{key.app} {key.environment}"
        fact = Revoke(key_id, cut_streams)
        return self._do(fact, actor, reason, whose, "", f"key {key_id} of app {key.app} is revoked{_ending(fact)}")

    def stop(self, scope: str, actor: str, reason: str, *, cut_streams: bool = False) -> Overridden:
        """Refuse the calls of a scope; with `cut_streams` its open answers end too.

        Raises:
            OverrideRefused: the scope is none, or names what is not there.
        """
        standing = self.standing()
        _demand_scope(standing, scope)
        known = standing.ground.stops.stops.get(scope)
        fact = Stop(scope, cut_streams)
        if known is not None:
            already = f"{scope} is stopped already, by {known.actor}: {known.reason}"
            if not cut_streams:
                return self._unchanged(fact, "stopped", already)
            return self._do(fact, actor, reason, "stopped", "stopped", f"{already}{_ending(fact)}")
        return self._do(fact, actor, reason, "running", "stopped", f"AI is stopped for {scope}{_ending(fact)}")

    def start(self, scope: str, actor: str, reason: str) -> Overridden:
        """Lift a stop of exactly this scope.

        Raises:
            OverrideRefused: the scope is none.
        """
        stops = self.standing().ground.stops.stops
        try:
            scope_parts(scope)
        except ValueError as error:
            raise OverrideRefused("invalid_request", str(error)) from error
        if scope not in stops:
            others = ", ".join(sorted(stops))
            more = f"; stopped are: {others}" if others else "; nothing is stopped"
            return self._unchanged(Start(scope), "running", f"{scope} is not stopped{more}")
        left = ", ".join(sorted(stops.keys() - {scope}))
        more = f"; still stopped: {left}" if left else ""
        return self._do(Start(scope), actor, reason, "stopped", "running", f"the stop of {scope} is lifted{more}")

    def _choose(self, environment: str, route: str, to: str | None) -> tuple[RouteSection, str]:
        standing = self.standing()
        section = standing.route(environment, route)
        if section is None:
            environments = standing.environments.environments
            if environment not in environments:
                raise _unknown("environment", environment, list(environments))
            known = [f"{row.route} in {row.environment}" for row in standing.ground.routes.values()]
            raise _unknown("deployment", f"{route} in {environment}", known)
        try:
            return section, choose(section, standing.readiness(section, runtime_states(self._run_dir)), to)
        except RollbackImpossible as error:
            raise OverrideRefused("not_found" if error.is_unknown else "conflict", str(error), error.hint) from error

    def _was_revoked(self, key_id: str) -> bool:
        """Whether the journal says so; the snapshot knows nothing of keys that are out of force."""
        try:
            entries = read_overrides(self._journal)
        except JournalBroken as broken:
            entries = broken.good
        return any(isinstance(entry.override, Revoke) and entry.override.key_id == key_id for entry in entries)

    def _do(self, fact: Override, actor: str, reason: str, before: str, after: str, summary: str) -> Overridden:
        try:
            entry = append_override(self._journal, fact, actor, reason, self._clock, floor=self._floor())
        except OSError as error:
            raise OverrideRefused(
                "unavailable", f"the override journal {self._journal} cannot be written: {error}",
                "make room on its disk or repair its rights; nothing was changed",
            ) from error  # fmt: skip
        gateways = self.tell(entry.sequence)
        return Overridden(_kind(fact), object_of(fact), True, before, after, entry.sequence, gateways, False, summary)

    def _unchanged(self, fact: Override, state: str, summary: str) -> Overridden:
        with self._lock:
            folded = self._standings.read().folded
            sequence = max(self._standings.sequence, folded)
        return Overridden(
            _kind(fact), object_of(fact), False, state, state, 0, self.tell(sequence), folded >= sequence, summary
        )

    def _floor(self) -> int:
        """The highest sequence that anybody has seen: a journal that was lost does not begin below it."""
        with self._lock:
            folded = self._standings.read().folded
            seen = self._standings.sequence
        return max([folded, seen, *(ack.overrides for ack in read_acks(self._acks).values())])

    def gateways(self) -> frozenset[str]:
        """Those that listen for overrides now."""
        return frozenset(self._listening())

    def _listening(self) -> set[str]:
        return {path.stem for path in poke_directory(self._run_dir).glob("*.sock")} - {ACCOUNTANT}

    def tell(self, sequence: int, wait_s: float = GATEWAYS_WAIT_S) -> GatewayAnswers:
        """Poke every gateway and wait until all that listen have this entry in force, at most `wait_s`."""
        began_ns = self._clock.monotonic_ns()
        poke_all(self._run_dir)
        while True:
            acks = read_acks(self._acks)
            listening = self._listening()
            done = {source for source in listening if source in acks and acks[source].overrides >= sequence}
            passed_s = (self._clock.monotonic_ns() - began_ns) / 1e9
            if done == listening or passed_s >= wait_s:
                complaints = {acks[source].complaint for source in done if acks[source].complaint}
                return GatewayAnswers(
                    tuple(sorted(done)), tuple(sorted(listening - done)), tuple(sorted(complaints)), round(passed_s, 3)
                )
            time.sleep(LOOK_S)


def _kind(fact: Override) -> str:
    return type(fact).__name__.lower()


def _ending(fact: Block | Revoke | Stop) -> str:
    return "; open answers are ended" if fact.cut_streams else ""


def _demand_scope(standing: Standing, scope: str) -> None:
    try:
        kind, name = scope_parts(scope)
    except ValueError as error:
        raise OverrideRefused("invalid_request", str(error)) from error
    known = {
        STOP_ALL: {""},
        "app": set(standing.apps.apps),
        "provider": set(standing.providers.providers),
        "route": {f"{row.environment}/{row.route}" for row in standing.ground.routes.values()},
    }[kind]
    if name not in known:
        raise _unknown(kind, name, sorted(known))


def _unknown(what: str, name: str, known: list[str]) -> OverrideRefused:
    shown = ", ".join(sorted(known)[:NAMES_SHOWN]) or "none"
    return OverrideRefused("not_found", f"there is no {what} {name!r}", f"there are: {shown}")
