"""One rule of a guardrail as it crosses into the snapshot: what it looks for, on which side, and what follows.

Compiled by control, pinned in a release or in force for an environment; read by gateways.
"""

from enum import StrEnum
from typing import Final

import msgspec


class GuardrailSide(StrEnum):
    """Where a rule looks."""

    INPUT = "input"
    """What the caller sends."""
    OUTPUT = "output"
    """What the model answers."""


class GuardrailAction(StrEnum):
    """What follows when a rule finds something."""

    BLOCK = "block"
    """The call is refused, or its answer withheld or cut."""
    REDACT = "redact"
    """What was found is taken out of the answer, and a mark is put in its place."""
    FLAG = "flag"
    """The rule is named on record and in `x-lineclear-policy`; nothing else changes."""


DETECT: Final = "guardrail.detect"
DENY: Final = "guardrail.deny"
SIZE: Final = "guardrail.size"
SCHEMA: Final = "guardrail.schema"

SECRETS: Final = "secrets"
"""The group of all formats of secrets."""
SECRET_DETECTORS: Final = (
    "lineclear-key", "github-token", "github-fine-grained-token", "gitlab-token", "npm-token", "pypi-token",
    "aws-access-key-id", "google-api-key", "slack-token", "slack-app-token", "slack-webhook", "stripe-key",
    "stripe-restricted-key", "stripe-webhook-secret", "openai-key", "anthropic-key", "huggingface-token",
    "sendgrid-key", "digitalocean-token", "jwt", "private-key",
)  # fmt: skip
PERSONAL_DETECTORS: Final = (
    "email", "phone", "payment-card", "iban", "us-ssn", "uk-nhs-number", "de-tax-id", "es-dni", "fr-nir", "nl-bsn",
    "in-aadhaar", "it-fiscal-code", "pl-pesel", "br-cpf", "ca-sin", "ch-ahv", "se-personal-number",
)  # fmt: skip
DETECTOR_NAMES: Final = (SECRETS, *SECRET_DETECTORS, *PERSONAL_DETECTORS)
"""What `detect` may name."""


class GuardrailRule(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One rule. It has one of `detect`, `deny`, `max_bytes` and `json_schema`."""

    id: str
    """Its kind and whose it is, such as `guardrail.detect:house/no-secrets`, as `x-lineclear-policy` carries it."""
    on: tuple[GuardrailSide, ...]
    action: GuardrailAction
    detect: tuple[str, ...] = ()
    """Detectors by name; `secrets` is all formats of secrets."""
    deny: tuple[str, ...] = ()
    """Phrases."""
    whole_words: bool = True
    """A phrase inside a longer word does not count."""
    max_bytes: int | None = None
    """Bytes of the request's body and prompt variables, or of the answer's content; tokens are never more."""
    json_schema: str = ""
    """Canonical JSON of a JSON Schema that the answer's text has to meet."""

    @property
    def whose(self) -> str:
        """`guardrail/rule`, as people wrote it."""
        return self.id.partition(":")[2]
