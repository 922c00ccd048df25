"""Secrets: sealed, used by name, told about without values, in force at once."""

from typing import Any

import msgspec
import pytest

from lineclear.base.secret import Secret
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.secrets.secrets import VALUE_CHARS_MAX
from lineclear.domain.snapshot import CredentialEntry, CredentialsSection
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane

FIRST, SECOND = "sk-first-0123456789", "sk-second-0123456789"
PROVIDER = (
    "kind: Provider\nname: {name}\ndialects: [openai]\nbase_url: https://x.example/v1\ncredential: {credential}\n"
)


def put(plane: ControlPlane, name: str = "acme", value: str = FIRST) -> Any:
    return plane.secrets.put("ann", name, Secret(value))


def credentials(plane: ControlPlane) -> dict[str, tuple[CredentialEntry, ...]]:
    return msgspec.json.decode(plane.load().sections["sealed/credentials"], type=CredentialsSection).credentials


def sealed_values(plane: ControlPlane) -> dict[str, list[str]]:
    """What a gateway would send, by `provider/environment`."""
    return {name: [entry.secret for entry in entries] for name, entries in credentials(plane).items()}


def test_a_secret_reaches_the_sealed_section_of_the_environments_that_name_it(plane: ControlPlane) -> None:
    put(plane)
    put(plane, "other", SECOND)
    plane.apply(
        PROVIDER.format(name="a", credential="secret:acme")
        + "---\n"
        + PROVIDER.format(name="b", credential="{live: secret:acme, test: secret:other}")
    )
    assert sealed_values(plane) == {"a/test": [FIRST], "a/live": [FIRST], "b/live": [FIRST], "b/test": [SECOND]}
    assert credentials(plane)["a/test"] == (CredentialEntry("a/secret:acme", FIRST, 1),)


def test_a_new_value_is_published_at_once(plane: ControlPlane) -> None:
    put(plane)
    plane.apply(PROVIDER.format(name="a", credential="secret:acme"))
    before = plane.publisher.revision()
    change = put(plane, value=SECOND)
    assert change.used_by == ("a/live", "a/test")
    assert sealed_values(plane)["a/live"] == [SECOND]
    assert plane.load().manifest.revision == before + 1


def test_a_secret_outlives_a_restart_of_control(open_plane: Any) -> None:
    plane = open_plane().start()
    put(plane)
    plane.apply(PROVIDER.format(name="a", credential="secret:acme"))
    again = open_plane().start()
    assert sealed_values(again)["a/live"] == [FIRST]


def test_what_is_told_and_stored_never_holds_a_value(plane: ControlPlane) -> None:
    put(plane)
    plane.apply(PROVIDER.format(name="a", credential="{live: secret:acme}"))
    (facts,) = plane.secrets.facts()
    assert (facts.name, facts.set_by, facts.used_by) == ("acme", "ann", ("a/live",))
    with plane.database.read() as tx:
        audit = rows.read_audit(tx, 0, 1000)
        assert ("ann", "secret.set", "secret/acme") in [(row.actor, row.action, row.object) for row in audit]
        assert FIRST not in repr(audit)
    plane.database.sync()
    for path in plane.directory.rglob("*"):
        if path.is_file():
            assert FIRST.encode() not in path.read_bytes(), path


def test_a_manifest_may_name_only_secrets_that_exist(plane: ControlPlane) -> None:
    put(plane)
    with pytest.raises(Refused) as refused:
        plane.apply(PROVIDER.format(name="a", credential="{live: secret:acne, test: secret:zzz}"))
    found = [(item.code, item.line, item.column, item.message) for item in refused.value.findings]
    assert found == [
        (
            "unknown_reference",
            5,
            20,
            "there is no secret 'acne'; did you mean `acme`? Or `lineclear secrets set acne` makes it",
        ),
        ("unknown_reference", 5, 39, "there is no secret 'zzz'; `lineclear secrets set zzz` makes it"),
    ]


def test_one_that_is_used_stays_unless_it_is_forced(plane: ControlPlane) -> None:
    put(plane)
    plane.apply(PROVIDER.format(name="a", credential="secret:acme"))
    with pytest.raises(Refused) as refused:
        plane.secrets.remove("ann", "acme")
    assert refused.value.code is AdminCode.CONFLICT
    assert "a/live, a/test" in refused.value.message
    assert plane.secrets.remove("ann", "acme", "leaked", is_forced=True).used_by == ("a/live", "a/test")
    assert sealed_values(plane) == {}
    assert plane.secrets.facts() == []


def test_what_lost_its_secret_holds_up_no_other_change_and_no_start(open_plane: Any) -> None:
    plane = open_plane().start()
    put(plane)
    plane.apply(PROVIDER.format(name="a", credential="secret:acme"))
    plane.secrets.remove("ann", "acme", is_forced=True)
    applied = open_plane().start().apply("kind: Team\nname: sales\n")
    assert "Provider/a: secret:acme was removed, so its calls go without a credential" in applied.plan.warnings
    with pytest.raises(Refused):
        plane.plan(PROVIDER.format(name="a", credential="secret:acme").replace("x.example", "y.example"))


def test_a_missing_one_is_not_found_and_the_near_one_is_named(plane: ControlPlane) -> None:
    put(plane)
    with pytest.raises(Refused) as refused:
        plane.secrets.remove("ann", "acne")
    assert (refused.value.code, refused.value.hint) == (AdminCode.NOT_FOUND, "did you mean `acme`?")


@pytest.mark.parametrize("value", ["", "sk 1", "sk-1\n", "sk-ü", "x" * (VALUE_CHARS_MAX + 1)])
def test_a_value_that_no_header_can_carry_is_refused_and_not_repeated(plane: ControlPlane, value: str) -> None:
    with pytest.raises(Refused) as refused:
        put(plane, value=value)
    assert refused.value.code is AdminCode.INVALID_REQUEST
    assert not value or value not in refused.value.message
    assert plane.secrets.facts() == []


@pytest.mark.parametrize("name", ["", "A", "a b", "../x", "secret:a", "x" * 64])
def test_a_name_that_no_manifest_can_write_is_refused(plane: ControlPlane, name: str) -> None:
    with pytest.raises(Refused):
        put(plane, name=name)


def test_a_variable_of_the_server_cannot_pose_as_a_secret(open_plane: Any) -> None:
    plane = open_plane(environment={"secret:acme": FIRST}).start()
    with pytest.raises(Refused):
        plane.apply(PROVIDER.format(name="a", credential="secret:acme"))
