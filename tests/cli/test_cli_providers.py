"""`lineclear providers` against a real admin port and a scripted vendor."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.cli.providers_add import model_names
from lineclear.control.prices.book import committed_prices
from lineclear.domain.exchange import Dialect
from lineclear.providers.vendors import VENDORS, Vendor
from lineclear.testing.upstream_process import UpstreamProcess

KEY = "sk-vendor-0123456789"


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    with UpstreamProcess(tmp_path_factory.mktemp("vendor") / "log.jsonl") as upstream:
        upstream.account(KEY, ["small-2026-08-07"])
        yield upstream


def run(terminal: Any, *words: str, key: str = KEY) -> Any:
    """A command that finds a key on its standard input."""
    unset: dict[str, str | None] = {"LINECLEAR_URL": None, "LINECLEAR_TOKEN": None, "LINECLEAR_DATA": None}
    return CliRunner(env=unset).invoke(root, ["providers", *words, "--data", str(terminal.directory)], input=key)


def place(vendor: UpstreamProcess) -> list[str]:
    return ["--dialect", "openai", "--base-url", vendor.base_url, "--private-network"]


def names(terminal: Any, what: str) -> list[str]:
    return list(terminal.run(what, "list", "-o", "name").stdout.split())


def test_key_provider_card_and_route_are_one_change(terminal: Any, vendor: UpstreamProcess) -> None:
    done = run(terminal, "add", "acme", *place(vendor), "--model", "maker/Small-2026-08-07", "--yes", "-o", "json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["provider"], facts["secret"], facts["model"]) == ("acme", "acme", "small@2026-08-07")
    assert (facts["route"], facts["environment"]) == ("small", "test")
    assert KEY not in done.output
    shown = json.loads(terminal.run("providers", "list", "-o", "json").stdout)["providers"]
    found = next(item for item in shown if item["name"] == "acme")
    assert (found["credential"], found["models"], found["managed_by"]) == ("secret:acme", ["small@2026-08-07"], "cli")
    (secret,) = json.loads(terminal.run("secrets", "list", "-o", "json").stdout)["secrets"]
    assert (secret["name"], secret["used_by"]) == ("acme", ["acme/live", "acme/test"])
    assert "maker/Small-2026-08-07" in terminal.run("models", "show", "small").stdout


def test_the_plan_is_shown_and_nothing_happens_without_a_yes(terminal: Any, vendor: UpstreamProcess) -> None:
    dry = run(terminal, "add", "dry", *place(vendor), "--model", "dry-1", "--dry-run")
    assert dry.exit_code == ExitCode.PLAN_HAS_CHANGES
    for line in (
        "+ Provider/dry create",
        "+ Model/dry-1 create",
        "+ Route/dry-1 create",
        "* credential secret:dry: new value",
    ):
        assert line in dry.stdout
    unattended = run(terminal, "add", "dry", *place(vendor))
    assert (unattended.exit_code, "add --yes" in unattended.stderr) == (ExitCode.USAGE, True)
    assert "+ Provider/dry create" in unattended.stderr
    assert "dry" not in names(terminal, "providers") + names(terminal, "secrets")


def test_what_stands_is_not_written_over(terminal: Any, vendor: UpstreamProcess) -> None:
    assert run(terminal, "add", "twice", *place(vendor), "--yes").exit_code == 0
    again = run(terminal, "add", "twice", *place(vendor), "--yes")
    assert (again.exit_code, "lineclear secrets set twice" in again.stderr) == (ExitCode.CONFLICT, True)
    shared = run(terminal, "add", "other", *place(vendor), "--secret", "twice", "--yes")
    assert shared.exit_code == 0
    missing = run(terminal, "add", "third", *place(vendor), "--secret", "twize", "--yes")
    assert (missing.exit_code, "did you mean `twice`?" in missing.stderr) == (ExitCode.FAILURE, True)


def test_a_refused_change_leaves_no_secret_behind(terminal: Any, vendor: UpstreamProcess) -> None:
    refused = run(terminal, "add", "broken", "--dialect", "openai", "--base-url", "http://x.example", "--yes")
    assert (refused.exit_code, "would send the credential in clear" in refused.stderr) == (ExitCode.FAILURE, True)
    assert "broken" not in names(terminal, "secrets")


def test_unknown_vendors_are_told_the_near_one(terminal: Any) -> None:
    near = run(terminal, "add", "antropic", "--yes")
    assert (near.exit_code, "Did you mean 'anthropic'?" in near.stderr) == (ExitCode.USAGE, True)
    other = run(terminal, "add", "zzz", "--yes")
    assert (other.exit_code, "Well known: openai, anthropic" in other.stderr) == (ExitCode.USAGE, True)


def test_what_a_test_shows_is_what_it_exits_with(terminal: Any, vendor: UpstreamProcess) -> None:
    run(terminal, "add", "good", *place(vendor), "--yes")
    works = terminal.run("providers", "test", "good")
    assert (works.exit_code, "good works in test with secret:good" in works.stdout) == (0, True)
    run(terminal, "add", "bad", *place(vendor), "--yes", key="sk-wrong")
    refused = terminal.run("providers", "test", "bad", "-o", "json")
    assert (refused.exit_code, json.loads(refused.stdout)["verdict"]) == (ExitCode.GATE_FAILED, "refused")
    error = json.loads(refused.stderr)["error"]
    assert (error["code"], error["hint"]) == ("provider_refused", "set the key anew: `lineclear secrets set bad`")
    missing = terminal.run("providers", "test", "goud")
    assert (missing.exit_code, "did you mean `good`?" in missing.stderr) == (ExitCode.NOT_FOUND, True)


@pytest.mark.parametrize("item", VENDORS.values(), ids=lambda item: item.name)
def test_a_well_known_vendor_is_priced_and_takes_a_manifest(terminal: Any, item: Vendor) -> None:
    flags = [] if item.variable is None else ["--from-file", __file__]
    dry = run(terminal, "add", item.name, "--dry-run", "-o", "json", *flags)
    assert dry.exit_code == ExitCode.PLAN_HAS_CHANGES, dry.output
    assert item.source.startswith("https://")
    assert item.dialect in Dialect
    if item.variable is not None:
        assert urlsplit(item.base_url).scheme == "https"
        assert committed_prices().knows(item.base_url)


@pytest.mark.parametrize(
    ("upstream_id", "name", "version"),
    [
        ("gpt-4o-mini", "gpt-4o-mini", "latest"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", "2024-07-18"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4", "20250514"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b-instruct", "latest"),
        ("accounts/fireworks/models/deepseek-v3", "deepseek-v3", "latest"),
        ("qwen2.5:7b", "qwen2.5-7b", "latest"),
    ],
)
def test_names_are_made_of_what_vendors_call_their_models(upstream_id: str, name: str, version: str) -> None:
    assert model_names(upstream_id) == (name, version)
