"""The admin API's endpoints that give cards away: as the Hugging Face Hub has them, and as a bill of materials."""

import msgspec

import lineclear
from lineclear.base.clock import Clock
from lineclear.config.model_bom import MEDIA_TYPE, model_bom
from lineclear.config.model_card import model_card
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Reach, Refused, Text
from lineclear.control.publish import read_desired
from lineclear.control.seen import Seen
from lineclear.domain.catalogue import instant_text
from lineclear.domain.manifest import Model, Provider
from lineclear.domain.permissions import Permission
from lineclear.store.database import Database


class CardDesk:
    """Answers the endpoints."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def card(self, call: Call) -> Text:
        """One card."""
        (model,) = self._models(call, call.path["name"])[0]
        return Text(model_card(model), "text/markdown; charset=utf-8")

    def bill(self, call: Call) -> Text:
        """All cards that the principal sees, or one."""
        models, providers = self._models(call, call.query.get("model"))
        at = instant_text(self._clock.unix_us() // 1_000_000)
        stamp = at if "T" in at else f"{at}T00:00:00Z"
        bill = model_bom(models, providers, stamp, lineclear.__version__)
        return Text(msgspec.json.format(msgspec.json.encode(bill), indent=2).decode(), MEDIA_TYPE)

    def _models(self, call: Call, name: str | None) -> tuple[list[Model], dict[str, Provider]]:
        with self._database.read() as tx:
            desired = read_desired(tx)
        seen = Seen(call, desired)
        found = [model for key, model in sorted(desired.models.items()) if name in (None, key) and seen.is_noun(model)]
        if name is not None and not found:
            raise Refused(
                AdminCode.NOT_FOUND, f"there is no model {name!r}", hint="`lineclear models list` shows names"
            )
        return found, dict(desired.providers)


def endpoints(database: Database, clock: Clock) -> tuple[Endpoint, ...]:
    """A model card, and the bill of materials."""
    desk = CardDesk(database, clock)
    return (
        Endpoint("GET", f"{API_ROOT}/model-cards/{{name}}", Permission.CATALOGUE_READ, desk.card,
                 "A model's card as the Hugging Face Hub has them", reach=Reach.OBJECT),
        Endpoint("GET", f"{API_ROOT}/model-bom", Permission.CATALOGUE_READ, desk.bill,
                 "Models as a CycloneDX bill of materials", reach=Reach.OBJECT,
                 query=(QueryParameter("model", "Only this one."),)),
    )  # fmt: skip
