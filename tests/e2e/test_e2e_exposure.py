"""Exposure ends when nobody watches: control frozen at half exposure, and after each worker's start."""

import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lineclear.base.seal import Keys
from lineclear.domain.snapshot import RouteSection, route_section_name
from lineclear.handover.snapshot_dir import SnapshotReader, SnapshotWriter
from lineclear.testing import manifests
from lineclear.testing.load import chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

LEASE_S = 3.0
WORKERS = 2
NEW = "rel_00000000000000ff"


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("target", "vendor"),
        manifests.route("chat", "target"),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("exposure")
    with Stage(directory, documents, workers=WORKERS, environment=child_environment) as stage:
        yield stage


def expose(data_dir: Path) -> None:
    """Publish the next revision with a candidate on half of the route's traffic."""
    keys = Keys(bytes.fromhex((data_dir / "master.key").read_text().strip()))
    loaded = SnapshotReader(data_dir / "snapshot", keys).load()
    name = route_section_name("live", "chat")
    section = msgspec.json.decode(loaded.sections[name], type=RouteSection)
    candidate = msgspec.structs.replace(section.stable, id=NEW, digest="f" * 64)
    exposed = msgspec.structs.replace(section, candidate=candidate, weight_bp=5_000, rollout="ro_1", lease_s=LEASE_S)
    plain = {key: value for key, value in loaded.sections.items() if not key.startswith("sealed/")}
    sealed = {key: value for key, value in loaded.sections.items() if key.startswith("sealed/")}
    plain[name] = msgspec.json.encode(exposed)
    SnapshotWriter(data_dir / "snapshot", keys).publish(
        plain, sealed, loaded.manifest.revision + 1, loaded.manifest.epoch, loaded.manifest.overrides_folded
    )


def answers(stage: Stage, calls: int = 24) -> dict[str, str]:
    """Of many units over both workers: a request id by the release that answered."""
    found = {}
    for number in range(calls):
        call = chat_call(stage.key, "chat", "hello")
        answer = stage.call(replace(call, headers={**call.headers, "x-lineclear-user": f"user-{number}"}))
        assert answer.status == 200
        found[answer.headers["x-lineclear-release"]] = answer.request_id
    return found


def test_a_frozen_control_takes_the_candidate_out_of_traffic(stage: Stage) -> None:
    expose(stage.platform.data_dir)
    stage.platform.wait_for(lambda: NEW in answers(stage), "the candidate to get traffic")
    (control,) = stage.platform.processes("control")
    os.kill(control, signal.SIGSTOP)
    try:
        stage.platform.wait_for(lambda: NEW not in answers(stage), "the lease to run out", LEASE_S + 10)
        ids = answers(stage)
        stage.platform.kill("gateway")
        assert NEW not in answers(stage)
    finally:
        os.kill(control, signal.SIGCONT)
    stage.platform.wait_for(lambda: NEW in answers(stage), "control to be seen again")
    (unwatched,) = ids.values()
    told = stage.explain(unwatched)
    assert told["rollout"] == {"id": "ro_1", "arm": "stable", "weight_percent": 0.0, "is_monitored": False}
    assert told["rules"] == ["rollout.unmonitored"]
    assert stage.explain(answers(stage)[NEW])["rollout"]["arm"] == "candidate"
