"""Ledger records with plausible content, for tests: only what a test is about is said.

In: an exchange id and the amounts in question. Out: a record. Must not be used for anything that is measured.
"""

from lineclear.domain.ledger import Checkpoint, Heartbeat, Intent, Settle
from lineclear.domain.money import Usage


def an_intent(txn: str, *, accounts: tuple[str, ...] = ("app:shop",), nano_usd: int = 10, at_us: int = 1) -> Intent:
    """An intent of app `shop` in team `support`, environment `live`."""
    return Intent(
        id=txn,
        at_us=at_us,
        environment="live",
        team="support",
        app="shop",
        key_id="k",
        route="chat",
        release="rel_0",
        revision=1,
        operation="chat",
        dialect="openai",
        task="",
        data_class="internal",
        stream=False,
        accounts=accounts,
        reserved_nano_usd=nano_usd,
        reserved_tokens=100,
        model="m@1",
        provider="p",
        price_version="v",
        inbound_id="",
        traceparent="",
        user_hash="",
        tags="",
    )


def a_settle(txn: str, *, nano_usd: int = 10) -> Settle:
    """A settle that went well."""
    return Settle(
        id=txn,
        at_us=2,
        outcome="ok",
        status=200,
        error_code="",
        model="m@1",
        provider="p",
        attempts=(),
        candidates=(),
        rules=(),
        usage=Usage(input_tokens=60, output_tokens=20),
        cost_nano_usd=nano_usd,
        cost_basis="priced",
        waste_nano_usd=0,
        price_version="v",
        stop_reason="end",
        model_echo="m",
        response_id="r",
        duration_us=1,
        first_event_us=1,
        steps_us=(1,),
        request_bytes=1,
        response_bytes=1,
        malformed_events=0,
    )


def a_checkpoint(txn: str, *, nano_usd: int) -> Checkpoint:
    """Progress of the first attempt."""
    return Checkpoint(txn, 2, 1, "m@1", "p", Usage(output_tokens=5), nano_usd)


def a_heartbeat(number: int) -> Heartbeat:
    """A pulse without counters."""
    return Heartbeat(number, {})
