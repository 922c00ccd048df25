"""The admin API's endpoint that tests a provider; lists of providers are the catalogue's."""

from dataclasses import dataclass
from typing import ClassVar

from lineclear.control.endpoint import API_ROOT, WAITING_CALLS_MAX, Call, Endpoint, at_most
from lineclear.control.providers.trial import ProviderTrial, ProviderTrials
from lineclear.domain.permissions import Permission


@dataclass(frozen=True)
class TrialRequest:
    """How to test."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    environment: str = "test"
    """Whose credential is used."""
    model: str | None = None
    """What the provider calls a model, to ask it for one short answer; else only what proves the credential is done."""


def endpoints(trials: ProviderTrials) -> tuple[Endpoint, ...]:
    """Test one provider."""

    def test(call: Call) -> ProviderTrial:
        request: TrialRequest = call.body
        return trials.test(call.principal.name, call.path["name"], request.environment, request.model)

    return (
        Endpoint(
            "POST", f"{API_ROOT}/providers/{{name}}/test", Permission.PROVIDER_TEST,
            at_most(WAITING_CALLS_MAX, test),
            "Call a provider with its credential and tell what came", body=TrialRequest, answer=ProviderTrial,
        ),
    )  # fmt: skip
