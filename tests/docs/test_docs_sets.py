"""Pages that list a set of the code list exactly that set."""

import re
from pathlib import Path

import click
import pytest

from lineclear.cli.main import COMMANDS, root
from lineclear.cli.output import ExitCode
from lineclear.config.settings import SETTINGS
from lineclear.control.endpoint import HTTP_STATUS, AdminCode
from lineclear.domain.access import ROLE_PERMISSIONS, Role
from lineclear.domain.errors import ErrorCode
from lineclear.domain.exchange import OPERATION_DIALECT, OPERATION_PATH, Operation
from lineclear.domain.ledger import STEPS
from lineclear.domain.permissions import Permission
from lineclear.providers.vendors import VENDORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def first_cells(text: str) -> list[str]:
    """The code text in the first cell of every table row."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def folders() -> set[str]:
    """Every folder of the package, and the top folders of the repository that hold files of ours."""
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "src/lineclear").rglob("*")
        if path.is_dir() and any(path.glob("*.*")) and path.name != "__pycache__"
    }
    made_by_tools = {"src", "build", "dist", "bench-results", "node_modules"}
    top = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and path.name not in made_by_tools and not path.name.startswith(".")
    }
    docs = {str(path.relative_to(ROOT)) for path in DOCS.iterdir() if path.is_dir() and any(path.iterdir())}
    return package | top | docs | {".ci"}


def test_map_names_every_folder_once() -> None:
    named = first_cells(page("map.md"))
    assert len(named) == len(set(named))
    assert set(named) == folders()


def test_operations_page_lists_every_operation_with_its_path_and_dialect() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| `POST (\S+)` \| ([a-z]+) \|", page("operations.md"), re.MULTILINE)
    assert rows == [(each.value, OPERATION_PATH[each], OPERATION_DIALECT[each].value) for each in Operation]


def test_errors_page_lists_every_code() -> None:
    data_port, _, admin_port = page("errors.md").partition("## The admin API's")
    assert set(first_cells(data_port)) >= set(ErrorCode)
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", admin_port, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {str(code): HTTP_STATUS[code] for code in AdminCode}


def test_commands_page_lists_every_exit_code() -> None:
    rows = re.findall(r"^\| (\d+) \|", page("commands.md"), re.MULTILINE)
    assert [int(row) for row in rows] == [int(code) for code in ExitCode]


def test_permissions_page_lists_every_permission() -> None:
    assert set(first_cells(page("permissions.md"))) == set(Permission)


def test_permissions_page_says_which_roles_carry_each() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \|$", page("permissions.md"), re.MULTILINE)
    listed = {Permission(name): {role for role in Role if role in roles.split(", ")} for name, roles in rows}
    assert listed == {item: {role for role in Role if item in ROLE_PERMISSIONS[role]} for item in Permission}


def test_access_page_lists_every_role() -> None:
    roles = page("access.md").partition("## Roles")[2].partition("## Scopes")[0]
    assert first_cells(roles) == [role.value for role in Role]


def test_settings_page_lists_every_setting() -> None:
    listed = {name for name in first_cells(page("settings.md")) if name.isupper()}
    assert listed == {setting.name for setting in SETTINGS}
    for setting in SETTINGS:
        assert not setting.is_secret or f"`{setting.name}_FILE`" in page("settings.md")


def test_every_option_of_up_that_reads_a_variable_reads_a_listed_one() -> None:
    options = root.get_command(click.Context(root), "up")
    assert options is not None
    named = {name for option in options.params for name in option.envvar or () if isinstance(option.envvar, list)}
    named |= {option.envvar for option in options.params if isinstance(option.envvar, str)}
    listed = {setting.name for setting in SETTINGS}
    assert "PORT" in named
    assert named <= listed
    of_up = {f"LINECLEAR_{str(option.name).upper()}" for option in options.params}
    assert of_up & listed - {"LINECLEAR_ROOT_PATH"} <= named


def test_walk_page_has_the_steps_in_their_order() -> None:
    headings = re.findall(r"^## (\w+)", page("walk-request.md"), re.MULTILINE)
    assert [heading for heading in headings if heading in STEPS] == list(STEPS)


def test_walk_file_takes_the_steps_in_their_order() -> None:
    text = (ROOT / "src/lineclear/gateway/walk.py").read_text(encoding="utf-8")
    body = text[text.index("async def walk(") :]
    # Attempts are made in a loop of their own, which the walk enters at `_open`.
    called_as = {"head": "read_head", "attempt": "_open"}
    places = [re.search(rf"\b{called_as.get(step, step)}\(", body) for step in STEPS]
    found = [place.start() for place in places if place is not None]
    assert len(found) == len(STEPS)
    assert found == sorted(found)


def commands() -> dict[str, click.Command]:
    """Commands by their words: `keys create` for one in a group, `apply` for one that stands alone."""
    found: dict[str, click.Command] = {}
    context = click.Context(root)
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            for inner in command.list_commands(click.Context(command)):
                below = command.get_command(click.Context(command), inner)
                assert below is not None
                found[f"{name} {inner}"] = below
        else:
            found[name] = command
    return found


def options_of(command: click.Command) -> set[str]:
    """The long names of its own options; those that the page tells once for all are left out."""
    shown = [option for option in command.params if not getattr(option, "hidden", False)]
    names = {name for option in shown for name in option.opts if name.startswith("--")}
    names -= {"--fields", "--quiet"}
    return names - {"--url", "--token", "--data", "--output", "--ca"} if "--url" in names else names


def test_commands_page_lists_every_command_with_its_options() -> None:
    rows = re.findall(r"^\| `lineclear ([^`]+)` \| [^|]* \| ([^|]*) \|", page("commands.md"), re.MULTILINE)
    listed = {name: set(re.findall(r"`(--[^`]+)`", options)) for name, options in rows}
    found = {name: options_of(command) for name, command in commands().items()}
    # It takes those of `up` too, and its row says so in words.
    found["demo"] -= found["up"] - {"--data"}
    assert listed == found


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda path: path.name)
def test_pages_use_commands_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    used = set(re.findall(r"(?:^|`)lineclear ([a-z]+)(?: |`|$)", text, re.MULTILINE))
    assert used <= set(COMMANDS)


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_every_page_is_reachable_from_the_contents() -> None:
    linked = set(re.findall(r"\]\(((?:guides/)?[a-z-]+\.md)\)", page("README.md")))
    pages = {str(path.relative_to(DOCS)) for path in [*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]}
    assert linked == pages - {"README.md"}


@pytest.mark.parametrize("path", sorted((ROOT / "docs/decisions").glob("[0-9]*.md")), ids=lambda path: path.name)
def test_decision_is_short_and_complete(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    for heading in ("## Context", "## Choice", "## Refused", "## What would prove it wrong"):
        assert heading in text


@pytest.mark.parametrize("path", sorted((ROOT / "changes").glob("*.md")), ids=lambda path: path.name)
def test_change_fragment_says_its_effect_in_few_words(path: Path) -> None:
    if path.name != "README.md":
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+\.md", path.name)
        assert 20 <= len(path.read_text(encoding="utf-8").strip()) <= 600


def test_guide_names_every_vendor_that_is_known_by_name() -> None:
    _, _, section = page("guides/first-provider.md").partition("## A vendor that is known by name\n")
    listed = section.partition(". Name the model")[0].removesuffix(" on your own\nmachine")
    assert re.split(r",\s+(?:and\s+)?", listed) == list(VENDORS)
