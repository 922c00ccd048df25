"""The admin API's endpoints for datasets and replays.

In: calls. Out: facts. Figures are for whoever sees the route; cases and answers for whoever may run evaluations there
and for the dataset's team.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from lineclear.control.endpoint import (
    API_ROOT,
    AdminCode,
    Call,
    Endpoint,
    QueryParameter,
    Reach,
    Refused,
    Text,
    row_limit,
)
from lineclear.control.replays import datasets as kept
from lineclear.control.replays.facts import (
    CaseDetail,
    CaseFacts,
    DatasetFacts,
    ReplayDetail,
    ReplayFacts,
    case_detail,
    case_facts,
    dataset_facts,
    replay_detail,
    replay_facts,
)
from lineclear.control.replays.service import Replays, ReplaySpec, Standing, unknown
from lineclear.domain.access import Scope
from lineclear.domain.money import nano_usd
from lineclear.domain.output_diff import PairKind
from lineclear.domain.permissions import Permission
from lineclear.domain.replay import Case
from lineclear.handover.inner_door import InnerPurpose
from lineclear.store.replay_rows import LIST_ROWS_MAX, DatasetRow, ReplayRow

LIST_DEFAULT: Final = 50
CASES_DEFAULT: Final = 100
CASES_SHOWN_MAX: Final = 1_000
UPLOAD_BYTES_MAX: Final = 16 * 1024 * 1024
"""A dataset inside a JSON text grows by its quotes."""
SPEND_CAP_USD: Final = "1"
"""If whoever starts it says nothing."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class NewDataset:
    """Cases to keep."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    name: str
    team: str
    content: str
    """JSON lines."""


@dataclass(frozen=True)
class AddedDataset:
    """The version that holds them."""

    dataset: DatasetFacts
    is_new: bool
    """False if the same content was there already."""


@dataclass(frozen=True)
class DatasetList:
    datasets: list[DatasetFacts]


@dataclass(frozen=True)
class RemovedDataset:
    removed: DatasetFacts


@dataclass(frozen=True)
class NewReplay:
    """Which cases are asked of which releases."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    route: str
    environment: str
    dataset: str
    """`NAME` or `NAME@DIGEST`."""
    app: str
    """Whose limits and budgets count."""
    spend_cap_usd: str = SPEND_CAP_USD
    candidate_from: str = ""
    """The environment whose release is the candidate; empty = the candidate of the rollout under way."""


@dataclass(frozen=True)
class ReplayList:
    replays: list[ReplayFacts]


@dataclass(frozen=True)
class StopReplay:
    """Why it is stopped."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    reason: str = ""


@dataclass(frozen=True)
class CaseList:
    cases: list[CaseFacts]


def endpoints(replays: Replays) -> tuple[Endpoint, ...]:
    """Every endpoint of datasets and replays."""
    return (*_dataset_endpoints(replays.datasets), *_replay_endpoints(replays))


def _dataset_endpoints(datasets: kept.Datasets) -> tuple[Endpoint, ...]:
    def add(call: Call) -> AddedDataset:
        asked: NewDataset = call.body
        call.require(
            Permission.EVALUATION_RUN,
            Scope(team=asked.team),
            Refused(AdminCode.NOT_FOUND, f"there is no team {asked.team!r}"),
        )
        if not _NAME.fullmatch(asked.name):
            raise Refused(
                AdminCode.INVALID_REQUEST, f"{asked.name!r} is no name: up to 64 of a-z, 0-9, `.`, `_` and `-`"
            )
        added = datasets.add(asked.name, asked.team, asked.content.encode(), call.principal.name)
        return AddedDataset(dataset_facts(added.row), added.is_new)

    def list_datasets(call: Call) -> DatasetList:
        found = call.only(Permission.EVALUATION_RUN, datasets.listed(), _scope)
        return DatasetList([dataset_facts(row) for row in found])

    def show(call: Call) -> DatasetFacts:
        return dataset_facts(_seen_dataset(call, datasets, call.path["dataset"]))

    def content(call: Call) -> Text:
        row = _seen_dataset(call, datasets, call.path["dataset"])
        return Text(datasets.content(row).decode("utf-8", "replace"), "application/jsonl; charset=utf-8")

    def remove(call: Call) -> RemovedDataset:
        row = _seen_dataset(call, datasets, call.path["dataset"])
        datasets.remove(row, call.principal.name)
        return RemovedDataset(dataset_facts(row))

    run = Permission.EVALUATION_RUN
    one = f"{API_ROOT}/datasets/{{dataset}}"
    return (
        Endpoint(
            "POST", f"{API_ROOT}/datasets", run, add, "Keep a version of a dataset",
            body=NewDataset, answer=AddedDataset, body_bytes_max=UPLOAD_BYTES_MAX, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/datasets", run, list_datasets, "Versions of datasets, by name and newest first",
            answer=DatasetList, reach=Reach.OBJECT,
        ),
        Endpoint("GET", one, run, show, "One version of a dataset", answer=DatasetFacts, reach=Reach.OBJECT),
        Endpoint("GET", f"{one}/content", run, content, "Its cases, as they were given", reach=Reach.OBJECT),
        Endpoint("DELETE", one, run, remove, "Forget a version", answer=RemovedDataset, reach=Reach.OBJECT),
    )  # fmt: skip


class _ReplayHandlers:
    """What the endpoints of replays do."""

    def __init__(self, replays: Replays) -> None:
        self._replays = replays

    def start(self, call: Call) -> ReplayFacts:
        asked: NewReplay = call.body
        _seen_dataset(call, self._replays.datasets, asked.dataset)
        try:
            spend_cap_nano_usd = nano_usd(asked.spend_cap_usd)
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, f"spend_cap_usd: {error}") from error
        nothing = Refused(AdminCode.NOT_FOUND, f"there is no route {asked.route!r} or app {asked.app!r} for you there")
        for scope in self._replays.scopes_of(asked.route, asked.app, (asked.environment, asked.candidate_from)):
            call.require(Permission.EVALUATION_RUN, scope, nothing)
        stable, candidate = self._replays.sides(asked.environment, asked.route, asked.candidate_from)
        spec = ReplaySpec(
            InnerPurpose.REPLAY,
            asked.environment,
            asked.route,
            asked.app,
            asked.dataset,
            stable,
            candidate,
            spend_cap_nano_usd,
        )
        return replay_facts(self._replays.show(self._replays.start(spec, call.principal.name)))

    def list_replays(self, call: Call) -> ReplayList:
        only = {name: call.query[name] for name in ("environment", "route", "state") if name in call.query}
        limit = row_limit(call, LIST_DEFAULT, LIST_ROWS_MAX)
        found = call.only(Permission.ROUTE_READ, self._replays.listed(LIST_ROWS_MAX), lambda one: one.scope)
        facts = [replay_facts(one) for one in found]
        return ReplayList([one for one in facts if all(getattr(one, name) == only[name] for name in only)][:limit])

    def show(self, call: Call) -> ReplayDetail:
        standing = _seen(call, self._replays, Permission.ROUTE_READ)
        return replay_detail(standing, self._replays.report(standing.row))

    def stop(self, call: Call) -> ReplayFacts:
        standing = _seen(call, self._replays, Permission.EVALUATION_RUN)
        return replay_facts(self._replays.stop(standing.row.id, call.principal.name, call.body.reason))

    def list_cases(self, call: Call) -> CaseList:
        row = _read_answers(call, self._replays)
        kind = call.query.get("kind")
        if kind is not None and kind not in [one.value for one in PairKind]:
            raise Refused(AdminCode.INVALID_REQUEST, f"kind {kind!r} is none of {', '.join(PairKind)}")
        limit = row_limit(call, CASES_DEFAULT, CASES_SHOWN_MAX)
        cases = _cases(self._replays, row)
        listed: list[CaseFacts] = []
        for found in self._replays.results(row):
            number = next(iter(found.values())).case
            facts = case_facts(number, cases.get(number), found)
            if kind in (None, facts.kind):
                listed.append(facts)
            if len(listed) == limit:
                break
        return CaseList(listed)

    def show_case(self, call: Call) -> CaseDetail:
        row = _read_answers(call, self._replays)
        named = call.path["number"]
        number = int(named) - 1 if named.isascii() and named.isdigit() and len(named) < 9 else -1
        found = self._replays.results_of(row, number) if number >= 0 else {}
        if not found:
            raise Refused(AdminCode.NOT_FOUND, f"replay {row.id} has no answer to a case {named!r} yet")
        return case_detail(number, _cases(self._replays, row).get(number), found)


def _replay_endpoints(replays: Replays) -> tuple[Endpoint, ...]:
    do = _ReplayHandlers(replays)
    run, read = Permission.EVALUATION_RUN, Permission.ROUTE_READ
    one = f"{API_ROOT}/replays/{{replay_id}}"
    return (
        Endpoint(
            "POST", f"{API_ROOT}/replays", run, do.start, "Ask the cases of a dataset of two releases of a route",
            body=NewReplay, answer=ReplayFacts, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/replays", read, do.list_replays, "Replays, newest first",
            query=(
                QueryParameter("limit", f"1 to {LIST_ROWS_MAX}; default {LIST_DEFAULT}"),
                QueryParameter("environment", "only this environment"),
                QueryParameter("route", "only this route"),
                QueryParameter("state", "only this state, such as running"),
            ),
            answer=ReplayList, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", one, read, do.show, "One replay: how far it is, and in what the answers differ",
            answer=ReplayDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{one}/stops", run, do.stop, "Make no further calls of a replay",
            body=StopReplay, answer=ReplayFacts, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{one}/cases", run, do.list_cases, "Its cases, each in a line",
            query=(
                QueryParameter("limit", f"1 to {CASES_SHOWN_MAX}; default {CASES_DEFAULT}"),
                QueryParameter("kind", f"only these: {', '.join(PairKind)}"),
            ),
            answer=CaseList, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{one}/cases/{{number}}", run, do.show_case, "One case: both answers, word by word",
            answer=CaseDetail, reach=Reach.OBJECT,
        ),
    )  # fmt: skip


def _scope(row: DatasetRow) -> Scope:
    return Scope(team=row.team)


def _seen_dataset(call: Call, datasets: kept.Datasets, named: str) -> DatasetRow:
    """The dataset of that name, if the caller may use it; one of others looks like one that is not there."""
    row = datasets.find(named)
    call.require(Permission.EVALUATION_RUN, _scope(row), kept.unknown(named))
    return row


def _seen(call: Call, replays: Replays, permission: Permission) -> Standing:
    """The replay of the path, if the caller may do that to it; one of others looks like one that is not there."""
    replay_id = call.path["replay_id"]
    standing = replays.show(replay_id)
    call.require(permission, standing.scope, unknown(replay_id))
    return standing


def _read_answers(call: Call, replays: Replays) -> ReplayRow:
    """The replay of the path, if the caller may read what was asked and answered."""
    standing = _seen(call, replays, Permission.EVALUATION_RUN)
    call.require(Permission.EVALUATION_RUN, Scope(team=standing.row.dataset_team), unknown(standing.row.id))
    return standing.row


def _cases(replays: Replays, row: ReplayRow) -> dict[int, Case]:
    """By their place; empty where the dataset is gone."""
    try:
        dataset = replays.datasets.find(f"{row.dataset}@{row.dataset_digest}")
        return dict(enumerate(replays.datasets.cases(dataset)))
    except Refused:
        return {}
