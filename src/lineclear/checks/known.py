"""Every detector by the name that a rule calls it.

In: names of rules. Out: detectors. A group's name stands for all of its members.
"""

from collections.abc import Iterable
from typing import Final

from lineclear.checks.finding import Detector
from lineclear.checks.national_ids import NATIONAL_IDS
from lineclear.checks.personal_data import PERSONAL
from lineclear.checks.secret_formats import SECRETS

SECRETS_GROUP: Final = "secrets"
DETECTORS: Final[dict[str, Detector]] = {**SECRETS, **PERSONAL, **NATIONAL_IDS}
"""By name, groups left out."""


def detectors_named(names: Iterable[str]) -> list[Detector]:
    """The detectors of these names, each once.

    Raises:
        KeyError: with a name that is neither a detector nor a group.
    """
    found: dict[str, Detector] = {}
    for name in names:
        members = SECRETS if name == SECRETS_GROUP else {name: DETECTORS[name]}
        found.update(members)
    return list(found.values())
