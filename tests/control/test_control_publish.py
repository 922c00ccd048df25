"""Publishing: what the database says is what the directory says, and who took it is known."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from lineclear.base.clock import SystemClock
from lineclear.base.seal import SealBroken
from lineclear.base.secret import Secret
from lineclear.control.changes.apply import Changes
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.snapshot import ACCESS_SHARDS, CredentialsSection
from lineclear.handover.acks import write_ack
from lineclear.handover.poke import PokeListener
from lineclear.handover.spool import SpoolWriter
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import DeploymentRow
from lineclear.testing.control_plane import ControlPlane

Open = Callable[..., ControlPlane]
TEAM = "kind: Team\nname: t{}\n"


def test_a_new_database_publishes_nothing_before_the_first_state(open_plane: Open) -> None:
    plane = open_plane()
    assert plane.publisher.catch_up({}) == 0
    assert not (plane.directory / "snapshot" / "CURRENT").exists()


def test_every_section_that_gateways_need_is_there(plane: ControlPlane) -> None:
    names = plane.load().sections.keys()
    assert {"environments", "apps", "providers", "catalogue", "limits", "runtimes", "sealed/credentials"} <= names
    assert sum(name.startswith("access/") for name in names) == ACCESS_SHARDS


def test_the_same_state_gives_the_same_bytes(plane: ControlPlane, open_plane: Open) -> None:
    before = plane.load().manifest.sections
    plane.apply(TEAM.format(1))
    after = plane.load().manifest.sections
    assert {name for name in after if after[name] != before.get(name)} == {"sealed/credentials"}


def test_a_restart_publishes_nothing_new(plane: ControlPlane, open_plane: Open) -> None:
    revision = plane.load().manifest.revision
    assert open_plane().start().load().manifest.revision == revision


def test_a_crash_between_commit_and_publish_is_made_good(plane: ControlPlane, open_plane: Open) -> None:
    kept = plane.directory / "kept"
    shutil.copytree(plane.directory / "snapshot", kept)
    plane.apply("kind: App\nname: late\nteam: default\n")
    shutil.rmtree(plane.directory / "snapshot")
    kept.rename(plane.directory / "snapshot")
    assert b'"late"' not in plane.load().sections["apps"]
    again = open_plane()
    again.publisher.catch_up({})
    assert b'"late"' in again.load().sections["apps"]


def test_a_lost_database_rises_above_what_gateways_have(plane: ControlPlane, open_plane: Open) -> None:
    for number in range(3):
        plane.apply(TEAM.format(number))
    before = plane.load().manifest
    plane.close()
    for path in plane.directory.glob("lineclear.db*"):
        path.unlink()
    after = open_plane().start().load().manifest
    assert after.epoch == before.epoch + 1
    assert after.revision < before.revision


def test_another_master_key_is_refused(plane: ControlPlane, open_plane: Open) -> None:
    with pytest.raises(SealBroken):
        open_plane(master_key=bytes(32)).start()


def test_a_credential_in_the_environment_is_taken_at_start(open_plane: Open) -> None:
    provider = "kind: Provider\nname: acme\ndialects: [openai]\nbase_url: https://a.example\ncredential: ${ACME_KEY}\n"
    plane = open_plane(environment={"ACME_KEY": "one"}).start()
    plane.apply(provider)
    assert b'"secret":"one"' in plane.load().sections["sealed/credentials"]
    revision = plane.load().manifest.revision
    kept = open_plane().start()
    assert (kept.load().manifest.revision, b'"one"' in kept.load().sections["sealed/credentials"]) == (revision, True)
    rotated = open_plane(environment={"ACME_KEY": "two", "OTHER": "x"}).start().load()
    assert b'"secret":"two"' in rotated.sections["sealed/credentials"]
    assert rotated.manifest.revision == revision + 1


PROVIDER = "kind: Provider\nname: acme\ndialects: [openai]\nbase_url: https://a.example\ncredential: ${ACME_KEY}\n"


def credential(plane: ControlPlane) -> str:
    section = msgspec.json.decode(plane.load().sections["sealed/credentials"], type=CredentialsSection)
    return section.credentials["acme/live"][0].secret


def credential_events(plane: ControlPlane) -> list[tuple[str, str]]:
    with plane.database.read() as tx:
        found = rows.read_audit(tx, 0, 1000)
    return [(row.actor, row.object) for row in found if row.action == "credential.set"]


def test_a_value_given_by_a_change_stays_until_the_environment_says_something_new(open_plane: Open) -> None:
    plane = open_plane(environment={"ACME_KEY": "old"}).start()
    plane.apply(PROVIDER)
    plane.apply(PROVIDER, ACME_KEY="new")
    plan = plane.plan("kind: Team\nname: other\n")
    assert plan.credentials == ()
    plane.apply("kind: Team\nname: other\n")
    assert credential(plane) == "new"
    # The provider itself, changed from a shell that does not hold the variable.
    plane.apply(PROVIDER + "private_network: true\n")
    assert credential(plane) == "new"
    for environment in ({"ACME_KEY": "old"}, {}, {"ACME_KEY": "old"}):
        plane = open_plane(environment=environment).start()
        assert credential(plane) == "new"
    assert credential(open_plane(environment={"ACME_KEY": "newest"}).start()) == "newest"


def test_a_value_that_the_environment_never_won_with_does_not_come_back_either(open_plane: Open) -> None:
    plane = open_plane(environment={"ACME_KEY": "old"}).start()
    plane.apply(PROVIDER, ACME_KEY="new")
    assert credential(plane) == "new"
    assert credential(open_plane(environment={"ACME_KEY": "old"}).start()) == "new"


def test_an_unrelated_change_takes_nothing_from_the_environment(open_plane: Open) -> None:
    open_plane().start().apply(PROVIDER, ACME_KEY="given")
    # As after a file behind ACME_KEY_FILE was mended: control knows a new value that its start could not send.
    plane = open_plane().start()
    plane.changes = Changes(plane.publisher, {"ACME_KEY": "other"})
    plane.apply("kind: Team\nname: other\n")
    assert credential(plane) == "given"
    plane.apply(PROVIDER)
    assert credential(plane) == "other"


def test_what_a_start_takes_is_audited_once(open_plane: Open) -> None:
    plane = open_plane(environment={"ACME_KEY": "one"}).start()
    plane.apply(PROVIDER)
    assert credential_events(plane) == [("tester", "variable/ACME_KEY")]
    for _ in range(2):
        plane = open_plane(environment={"ACME_KEY": "two"}).start()
        assert credential_events(plane) == [("tester", "variable/ACME_KEY"), ("start", "variable/ACME_KEY")]


def test_a_credential_that_cannot_be_sent_is_left_aside_at_start(open_plane: Open) -> None:
    provider = "kind: Provider\nname: acme\ndialects: [openai]\nbase_url: https://a.example\ncredential: ${ACME_KEY}\n"
    plane = open_plane(environment={"ACME_KEY": "one"}).start()
    plane.apply(provider)
    revision = plane.load().manifest.revision
    again = open_plane(environment={"ACME_KEY": "twüo", "OTHER": "a b"}).start()
    assert (again.load().manifest.revision, b'"one"' in again.load().sections["sealed/credentials"]) == (revision, True)
    variables = {name: Secret(value) for name, value in again.environment.items()}
    (words,) = again.publisher.unusable_variables(variables)
    assert "ACME_KEY" in words
    assert "last good value" in words
    assert "twüo" not in words


def test_a_state_that_does_not_compile_is_rolled_back(plane: ControlPlane) -> None:
    revision = plane.publisher.revision()

    def break_it(tx: object) -> None:
        row = DeploymentRow("live", "ghost", 1, "0" * 64, (), "chg_x", 0, "0" * 64)
        rows.move_deployment(tx, row)  # type: ignore[arg-type]  # the transaction that commit gives
        digest = '{"targets":[{"model":"ghost@1","weight":1}],"fallback":[]}'
        rows.add_release(tx, rows.ReleaseRow("0" * 64, "rel_0", "ghost", digest, 0, "chg_x"))  # type: ignore[arg-type]

    with pytest.raises(Refused, match="ghost@1") as caught:
        plane.publisher.commit("test", break_it)
    assert caught.value.code is AdminCode.CONFLICT
    assert plane.publisher.revision() == revision
    with plane.database.read() as tx:
        assert rows.read_deployments(tx) == {}


def test_changes_from_many_threads_all_arrive(plane: ControlPlane) -> None:
    threads = [threading.Thread(target=plane.keys.create, args=("ann", "default", "live")) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loaded = plane.load()
    assert loaded.manifest.revision == plane.publisher.revision()
    assert sum(loaded.sections[f"access/{at:02x}"].count(b'"mac"') for at in range(ACCESS_SHARDS)) == 12


@pytest.fixture
def listener(plane: ControlPlane) -> Iterator[PokeListener]:
    """A gateway's ear."""
    made = PokeListener(plane.run_dir, "local-b-0-0")
    yield made
    made.close()


def acknowledge(directory: Path, revision: int) -> None:
    write_ack(directory / "acks", "local-b-0-0", 1, revision, at_us=SystemClock().unix_us())


def test_a_change_waits_for_living_gateways(plane: ControlPlane, listener: PokeListener) -> None:
    revision = plane.publisher.revision()
    timer = threading.Timer(0.1, acknowledge, (plane.directory, revision))
    timer.start()
    found = plane.publisher.wait_acknowledged(revision)
    timer.join()
    assert (found.acknowledged, found.silent) == (("local-b-0-0",), ())
    assert listener.drain() >= 1


def test_a_silent_gateway_is_named_and_not_waited_for_without_end(plane: ControlPlane, listener: PokeListener) -> None:
    revision = plane.publisher.revision()
    acknowledge(plane.directory, revision - 1)
    found = plane.publisher.wait_acknowledged(revision, wait_s=0.05)
    assert (found.acknowledged, found.silent) == ((), ("local-b-0-0",))
    assert listener.fileno() > 0


def test_a_dead_gateway_is_not_waited_for(plane: ControlPlane, tmp_path: Path) -> None:
    dead = PokeListener(plane.run_dir, "local-b-1-0")
    path = plane.run_dir / "poke" / "local-b-1-0.sock"
    dead.close()
    path.touch()
    path.unlink()
    assert plane.publisher.wait_acknowledged(plane.publisher.revision()).silent == ()


def test_acknowledgements_of_dead_workers_are_removed(
    plane: ControlPlane, open_plane: Open, listener: PokeListener
) -> None:
    acks = plane.directory / "acks"
    revision = plane.publisher.revision()
    # One listens, one only holds its spool, one is the accountant, which is down; the others are over.
    writer = SpoolWriter(plane.directory / "spool", "local-b-0-1", plane.clock)
    for source in ("local-b-0-0", "local-b-0-1", "accountant", "local-a-0-0", "local-a-1-0"):
        write_ack(acks, source, 1, revision, at_us=1)
    (acks / "local-a-2-0.json").write_text("{")
    kept = {"local-b-0-0.json", "local-b-0-1.json", "accountant.json"}
    assert plane.publisher.wait_acknowledged(revision).silent == ()
    assert {path.name for path in acks.iterdir()} == kept
    writer.close()
    listener.close()
    open_plane().start()
    assert {path.name for path in acks.iterdir()} == {"accountant.json"}
