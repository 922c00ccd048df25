"""The names that manifests may use, the detectors that are there, and the page that lists them are the same."""

import re
from pathlib import Path

import pytest

from lineclear.checks.known import DETECTORS, detectors_named
from lineclear.checks.secret_formats import SECRETS
from lineclear.domain.guardrails import DETECTOR_NAMES, SECRET_DETECTORS
from lineclear.domain.guardrails import SECRETS as SECRETS_GROUP

PAGE = Path(__file__).parents[2] / "docs" / "guardrails.md"


def test_every_name_of_a_manifest_is_a_detector() -> None:
    assert set(DETECTOR_NAMES) == {SECRETS_GROUP, *DETECTORS}
    assert set(SECRET_DETECTORS) == set(SECRETS)


def test_the_page_lists_every_detector() -> None:
    rows = PAGE.read_text().partition("## Detectors")[2].split("\n")
    listed = {name for row in rows if row.startswith("| `") for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert listed == set(DETECTORS)


def test_a_group_is_all_of_its_members_once() -> None:
    found = detectors_named([SECRETS_GROUP, "jwt", "email"])
    assert sorted(one.name for one in found) == sorted([*SECRETS, "email"])
    with pytest.raises(KeyError):
        detectors_named(["mind-reading"])
