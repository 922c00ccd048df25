"""What is wrong with something a person wrote, at its position."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One mistake."""

    code: str
    """Kind of the mistake: `syntax`, `unknown_field`, `missing_field`, `invalid_value`, `duplicate`,
    `unknown_kind`, `unknown_reference`, `not_yet_supported`, `too_large`, `unreadable`,
    `unset_variable`, `invalid_credential`, `immutable`, `in_use`, `status_not_allowed`, `data_class_not_allowed`."""
    message: str
    file: str = ""
    line: int = 0
    """From 1; 0 = the position is not known."""
    column: int = 0
    """From 1; 0 = the position is not known."""
    path: str = ""
    """The field, e.g. `Route/support-chat.environments.live.targets.0.weight`."""
