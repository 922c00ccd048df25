"""No new release names a version that is on its way out; what stands keeps it."""

from typing import Any

import pytest

from lineclear.control.endpoint import Refused
from lineclear.testing import manifests
from lineclear.testing.control_plane import ControlPlane

LEAVING = {"status": "deprecated", "successor": "large@1", "deprecated_at": "2026-11-01", "sunset": "2027-11-01"}


def text(*, small: dict[str, Any] | None = None, routes: tuple[Any, ...] = ()) -> str:
    return manifests.text_of(
        [
            manifests.team(),
            manifests.provider("vendor", 9),
            manifests.model("small", "vendor", **(small or {})),
            manifests.model("large", "vendor"),
            {"kind": "Prompt", "name": "voice", "text": "hello"},
            *(routes or (manifests.route("chat", "small", prompt="voice"),)),
        ]
    )


def test_what_stands_keeps_a_version_that_is_deprecated(plane: ControlPlane) -> None:
    plane.apply(text())
    done = plane.apply(text(small=LEAVING))
    assert done.plan.releases == ()
    assert plane.apply(text(small=LEAVING)).change is None


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (manifests.route("new", "small"), "environments.live.targets.0.model"),
        (manifests.route("new", "large", "small"), "environments.live.targets.1.model"),
        (manifests.route("new", "large", fallback=["small"]), "environments.live.fallback.0.model"),
    ],
)
@pytest.mark.parametrize("status", ["deprecated", "retired"])
def test_a_new_release_is_refused_at_the_place_of_the_name(
    plane: ControlPlane, place: Any, line: str, status: str
) -> None:
    plane.apply(text())
    plane.apply(text(small=LEAVING))
    if status == "retired":
        plane.apply(text(small={**LEAVING, "status": "retired"}))
    with pytest.raises(Refused) as caught:
        plane.apply(manifests.text_of([place]))
    (finding,) = caught.value.findings
    assert (finding.code, finding.path.endswith(line), finding.line > 0) == (status, True, True), finding
    assert finding.message == f"small@1 is {status} and no new release may name it; name large@1 instead"


def test_a_release_that_changes_by_another_document_is_refused_by_its_path(plane: ControlPlane) -> None:
    plane.apply(text())
    plane.apply(text(small=LEAVING))
    with pytest.raises(Refused) as caught:
        plane.apply("kind: Prompt\nname: voice\ntext: good day\n")
    (finding,) = caught.value.findings
    assert finding.path == "Route/chat.environments.live.targets.0.model"


def test_an_estate_is_taken_over_as_it_stands(plane: ControlPlane) -> None:
    assert plane.apply(text(small=LEAVING)).change is not None


@pytest.mark.parametrize(
    ("facts", "path", "words"),
    [
        ({"status": "deprecated"}, "successor", "is missing"),
        ({**LEAVING, "sunset": None}, "sunset", "is missing"),
        ({**LEAVING, "deprecated_at": None}, "deprecated_at", "is missing"),
        ({**LEAVING, "sunset": "2026-10-01"}, "sunset", "is before deprecated_at"),
        ({**LEAVING, "end_of_life": "2027-01-01"}, "sunset", "is after 2027-01-01, when the vendor"),
        ({**LEAVING, "sunset": "2026-02-30"}, "sunset", "is no date"),
        ({**LEAVING, "sunset": "tomorrow"}, "sunset", "is no date"),
        ({**LEAVING, "brownouts": [{"starts": "2027-01-02", "ends": "2027-01-01"}]}, "ends", "is not after"),
        ({**LEAVING, "brownouts": [{"starts": "2027-01-02", "ends": "2028-01-01"}]}, "ends", "is after the sunset"),
        ({"brownouts": [{"starts": "2027-01-02", "ends": "2027-01-03"}]}, "brownouts", "belongs to deprecated"),
        ({"sunset": "2027-01-01"}, "sunset", "belongs to deprecated versions"),
        ({**LEAVING, "successor": "small@1"}, "successor", "does not follow itself"),
    ],
)
def test_dates_that_cannot_be_are_refused(plane: ControlPlane, facts: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(Refused) as caught:
        plane.apply(text(small={name: value for name, value in facts.items() if value is not None}))
    assert [finding for finding in caught.value.findings if finding.path.endswith(path) and words in finding.message]
