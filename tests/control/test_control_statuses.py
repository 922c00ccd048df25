"""A status in a file moves only where the machine has a move, and is refused where it stands."""

from typing import Any

import pytest

from lineclear.control.endpoint import Refused
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.status_moves import STATUS_MOVES
from lineclear.testing import manifests
from lineclear.testing.control_plane import ControlPlane

DATES = {"successor": "other@1", "deprecated_at": "2026-11-01", "sunset": "2027-11-01"}


def text(status: ModelStatus) -> str:
    facts: dict[str, Any] = {"status": status.value, **(DATES if status is ModelStatus.DEPRECATED else {})}
    return manifests.text_of(
        [
            manifests.team(),
            manifests.provider("vendor", 9),
            manifests.model("other", "vendor"),
            manifests.model("small", "vendor", **facts),
        ]
    )


@pytest.mark.parametrize("before", ModelStatus)
def test_a_file_moves_a_status_as_the_machine_allows(plane: ControlPlane, before: ModelStatus) -> None:
    plane.apply(text(before))
    for after in ModelStatus:
        if after is before:
            continue
        if (before, after) in STATUS_MOVES:
            assert plane.plan(text(after)).has_changes
            continue
        with pytest.raises(Refused) as caught:
            plane.plan(text(after))
        (finding,) = caught.value.findings
        assert (finding.code, finding.path.endswith("versions.0.status")) == ("status_move", True), finding
        assert finding.line > 0
        assert finding.message.startswith(f"small@1 is {before.value}, which {after.value} does not follow")
