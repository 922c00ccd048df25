"""Health answers and the status of the platform as control sees it.

In: the publisher, the supervisor's state file. Out: `/livez`, `/readyz`, `/api/v1/status`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lineclear
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, Reach, Refused, Text
from lineclear.control.publish import Acknowledgement, Publisher
from lineclear.control.status.processes import ProcessFacts, read_processes
from lineclear.domain.permissions import Permission
from lineclear.handover.override_desk import OverrideState


@dataclass(frozen=True)
class Status:
    """What runs, and which revision is in force where."""

    version: str
    revision: int
    gateways: Acknowledgement
    gateway_url: str
    """Where callers reach the data port: its public address, if it was given one."""
    processes: Any  # Any: the supervisor's own list, shown as it is; None while it cannot be read
    demo: bool = False
    """The data directory was made by `lineclear demo`: its history is invented."""
    overrides: OverrideState | None = None
    """What is stopped, what could not go back at once, and what is wrong; None before the first snapshot."""
    emergencies: Any = ()  # Any: the openings of `control.access`, shown as they are
    """Sealed roles that are open, or whose opening nobody has reviewed yet."""
    rollouts: tuple[str, ...] = ()
    """Why not every rollout is looked after; their candidates lose their traffic with the lease. Empty if all are."""


@dataclass(frozen=True)
class ProcessList:
    processes: list[ProcessFacts]


def endpoints(
    publisher: Publisher,
    state_file: Path,
    gateway_url: str,
    overridden: Callable[[], OverrideState | None],
    announced: Callable[[], Sequence[object]] = tuple,
    *,
    is_demo: bool = False,
    unwatched: Callable[[], tuple[str, ...]] = tuple,
) -> tuple[Endpoint, ...]:
    """Liveness, readiness, status; `announced` gives the emergencies that everybody is told of.

    `overridden` says what is stopped, what is not ready and what is wrong.
    `unwatched` says why not every rollout is looked after.
    """

    def live(_call: Call) -> Text:
        return Text("ok\n")

    def ready(_call: Call) -> Text:
        if publisher.revision() == 0:
            raise Refused(AdminCode.UNAVAILABLE, "no snapshot was published yet")
        return Text("ready\n")

    def status(_call: Call) -> Status:
        revision = publisher.revision()
        gateways = publisher.acknowledgement(revision)
        return Status(
            lineclear.__version__,
            revision,
            gateways,
            gateway_url,
            _processes(state_file),
            is_demo,
            overridden(),
            announced(),
            unwatched(),
        )

    def processes(_call: Call) -> ProcessList:
        return ProcessList(read_processes(state_file))

    root = API_ROOT
    return (
        Endpoint("GET", "/livez", Permission.PUBLIC, live, "This process runs"),
        Endpoint("GET", "/readyz", Permission.PUBLIC, ready, "Control can take changes"),
        Endpoint("GET", f"{root}/status", Permission.STATUS_READ, status, "What runs", answer=Status,
                 reach=Reach.SHARED),
        Endpoint("GET", f"{root}/processes", Permission.STATUS_READ, processes, "What runs, and what it uses",
                 answer=ProcessList),
    )  # fmt: skip


def _processes(state_file: Path) -> Any:
    try:
        return json.loads(state_file.read_bytes())
    except (OSError, ValueError):
        return None
