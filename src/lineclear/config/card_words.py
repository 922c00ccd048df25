"""Words that model cards of others use for what our cards say: licences, kinds of answer.

In: our words. Out: theirs, and back. Pure.
Source: huggingface.co/docs/hub/repositories-licenses; huggingface.co/docs/hub/models-tasks; spdx.org/licenses.
"""

from collections.abc import Mapping
from typing import Final

from lineclear.domain.exchange import Operation

SPDX: Final = (
    "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0",
    "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0",
    "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0",
    "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0",
    "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "ISC", "LPPL-1.3c", "MIT", "MPL-2.0", "MS-PL", "NCSA",
    "OFL-1.1", "OSL-3.0", "PDDL-1.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
)  # fmt: skip
"""Identifiers of SPDX that the hub names by the same word in lower case, but for `pddl`."""
TERMS: Final = (
    "bigcode-openrail-m", "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "creativeml-openrail-m",
    "gemma", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "openrail", "openrail++",
)  # fmt: skip
"""Words of the hub for terms that are no SPDX licence."""

_TO_SPDX: Final[Mapping[str, str]] = {**{name.lower(): name for name in SPDX}, "pddl": "PDDL-1.0"}
_FROM_SPDX: Final[Mapping[str, str]] = {name: word for word, name in _TO_SPDX.items() if word != "pddl-1.0"}

TASKS: Final[Mapping[Operation, str]] = {
    Operation.CHAT: "text-generation",
    Operation.MESSAGES: "text-generation",
    Operation.COMPLETIONS: "text-generation",
    Operation.EMBEDDINGS: "feature-extraction",
    Operation.CLASSIFY: "text-classification",
}
"""What the hub calls a model that answers these."""
_OPERATIONS: Final[Mapping[str, tuple[Operation, ...]]] = {
    "feature-extraction": (Operation.EMBEDDINGS,),
    "sentence-similarity": (Operation.EMBEDDINGS,),
    "text-classification": (Operation.CLASSIFY,),
    "text-generation": (Operation.CHAT,),
}


def hub_licence(licence: str) -> str | None:
    """The hub's word for a licence; None if it has none, and then it is `other`."""
    return _FROM_SPDX.get(licence) or (licence if licence in TERMS else None)


def licence_of_hub(word: str) -> str:
    """A licence as our cards name it, by SPDX where it can be."""
    return _TO_SPDX.get(word.lower(), word)


def spdx_licence(licence: str) -> str | None:
    """The identifier of SPDX that a card names; None if it names something else."""
    return licence if licence in SPDX else None


def operations_of_task(task: str) -> tuple[Operation, ...]:
    """What a model of a task of the hub can be asked; empty = nothing that is known here."""
    return _OPERATIONS.get(task, ())
