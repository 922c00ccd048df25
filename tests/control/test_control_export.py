"""What is exported applies back to an unchanged plan, holds no secret, and stands in another platform just so."""

import copy
from pathlib import Path

import pytest
import yaml

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile
from lineclear.control.changes.apply import Author
from lineclear.control.changes.export import ExportedManifest, export_manifests
from lineclear.control.changes.plan import ChangeTerms
from lineclear.control.endpoint import Call, Refused
from lineclear.domain.manifest import KIND_CLASSES, ManagedBy
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import TESTER, ControlPlane
from lineclear.testing.every_field import OTHERS, every_field

KEY = "sk-of-the-vendor"


def exported(plane: ControlPlane, kind: str | None = None, name: str | None = None) -> list[ExportedManifest]:
    with plane.database.read() as tx:
        return export_manifests(Call(TESTER), rows.read_manifests(tx), kind, name).manifests


def text_of(items: list[ExportedManifest]) -> str:
    return "---\n".join(item.text for item in items)


@pytest.fixture
def full(plane: ControlPlane) -> ControlPlane:
    """Every kind with every field, and texts that YAML could take for something else."""
    made = [item for item in (*every_field().values(), *OTHERS) if item["name"] != "default"]
    odd = {"description": "yes: 0123\n\n  # no comment \n'\"\t☃", "purpose": "on", "team": "payers"}
    made.append({"kind": "App", "name": "0x10", **odd})
    made.append({"kind": "Prompt", "name": "2026-08-07", "text": "first\nsecond line\n\nlast  \n"})
    hosted = copy.deepcopy(next(item for item in made if item["name"] == "own"))
    hosted["versions"][0]["settings"] = {"golden_expect": "", "threads": 0}
    made = [hosted if item["name"] == "own" else item for item in made]
    plane.secrets.put("ann", "hook", Secret("signs"))
    plane.apply(yaml.safe_dump_all(made, sort_keys=False), KEY_A=KEY, KEY_B=KEY)
    changes = {"by-hand": ManagedBy.CLI, "clicked": ManagedBy.CONSOLE}
    for name, managed_by in changes.items():
        reading = plane.changes.read([ManifestFile("x", f"kind: Team\nname: {name}\n")])
        plane.changes.apply(reading, {}, Author("ann", ChangeTerms(managed_by)))
    return plane


def test_everything_applies_back_to_an_unchanged_plan(full: ControlPlane) -> None:
    items = exported(full)
    assert {item.kind for item in items} == set(KIND_CLASSES)
    assert {item.managed_by for item in items} == set(ManagedBy)
    plan = full.plan(text_of(items))
    assert [item for item in plan.objects if item.fields] == []
    assert (plan.has_changes, plan.drift, len(plan.objects)) == (False, (), len(items))


def test_a_new_platform_made_of_it_exports_the_same(
    full: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = text_of(exported(full))
    other = ControlPlane(tmp_path_factory.mktemp("other")).start()
    try:
        other.secrets.put("ann", "hook", Secret("signs"))
        other.apply(text, KEY_A=KEY, KEY_B=KEY)
        assert text_of(exported(other)) == text
    finally:
        other.close()


def test_no_secret_stands_in_it(full: ControlPlane) -> None:
    assert KEY not in text_of(exported(full))
    assert "${KEY_A}" in text_of(exported(full))


def test_defaults_are_left_out(full: ControlPlane) -> None:
    (item,) = exported(full, "Team", "by-hand")
    assert item.text == "kind: Team\nname: by-hand\n"


@pytest.mark.parametrize("kind", ["route", "Route", "routes", "ROUTE"])
def test_a_kind_is_taken_as_people_write_it(full: ControlPlane, kind: str) -> None:
    assert [item.name for item in exported(full, kind)] == ["chat"]


@pytest.mark.parametrize(
    ("kind", "name", "hint"), [("Rout", None, "`Route`"), ("Route", "chatt", "`chat`"), ("Team", "chat", "")]
)
def test_what_is_not_there_is_told_with_the_near_one(
    full: ControlPlane, kind: str, name: str | None, hint: str
) -> None:
    with pytest.raises(Refused) as caught:
        exported(full, kind, name)
    assert hint in caught.value.hint


def test_secrets_given_with_a_change_are_not_kept_in_it(full: ControlPlane) -> None:
    assert Secret(KEY).reveal() not in repr(exported(full))
    assert all(KEY.encode() not in path.read_bytes() for path in Path(full.directory).rglob("*") if path.is_file())
