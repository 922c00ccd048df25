"""Reviews of outputs at the data port: taken without control, bounded, and refused in words that help."""

import json
from pathlib import Path
from typing import Any

from gateway_house import KEY, TEST_KEY, House, Plan, in_house

from lineclear.domain.entry import DAY_US
from lineclear.domain.ledger import Review
from lineclear.domain.reviews import REASON_CHARS_MAX, REVIEW_DAYS_MAX
from lineclear.gateway.review import BODY_BYTES_MAX
from lineclear.gateway.review_rates import REVIEWS_PER_MINUTE
from lineclear.testing.load import Call, CallResult, chat_call


def review(request: str, said: object, key: str = KEY, media: str = "application/json") -> Call:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": media}
    return Call(f"/v1/requests/{request}/review", headers, body)


def reviews(house: House) -> list[Review]:
    house.spool.flush_now()
    return [record for record in house.records() if isinstance(record, Review)]


def error(answer: CallResult) -> tuple[int, str]:
    return answer.status, answer.json["error"]["code"]


def request_id(house: House, age_us: int = 0) -> str:
    return f"req_{(house.parts.clock.unix_us() - age_us) // 1000:012x}{7:016x}"


def test_a_review_is_on_record_when_it_is_answered(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        asked = await house.call(chat_call(KEY, "good", "hello"))
        said = {"outcome": "rejected", "reason": "wrong order", "reviewer": "ann"}
        answer = await house.call(review(asked.request_id, said))
        assert answer.status == 202
        assert answer.json == {
            "object": "review",
            "id": answer.request_id,
            "request": asked.request_id,
            "outcome": "rejected",
        }
        assert answer.headers["x-lineclear-environment"] == "live"
        # There is no control in this house, and nothing was waited for.
        (record,) = reviews(house)
        assert (record.id, record.request, record.app, record.environment, record.key_id) == (
            answer.request_id,
            asked.request_id,
            "app",
            "live",
            "k1",
        )
        assert (record.outcome, record.reason, record.reviewer) == ("rejected", "wrong order", "ann")
        test = await house.call(review(asked.request_id, {"outcome": "approved"}, TEST_KEY))
        assert test.status == 202
        assert [record.environment for record in reviews(house)] == ["live", "test"]
        assert house.parts.counters["reviews_taken"] == 2

    in_house(tmp_path, Plan(), play)


def test_what_is_no_review_is_refused_in_words(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        request = request_id(house)
        wrong: list[tuple[Any, str]] = [
            ({}, "'outcome' is one of approved, edited, rejected, overridden"),
            ({"outcome": "bad"}, "'outcome' is one of"),
            ({"outcome": ["rejected"]}, "'outcome' is one of"),
            ({"outcome": "rejected", "score": 1}, "'score' is not known; a review has outcome, reason, reviewer"),
            ({"outcome": "rejected", "reason": 1}, "'reason' is a text of at most 2000 characters"),
            ({"outcome": "rejected", "reason": "x" * (REASON_CHARS_MAX + 1)}, "'reason' is a text"),
            ({"outcome": "edited", "reviewer": "x" * 129}, "'reviewer' is a text of at most 128 characters"),
        ]
        for said, words in wrong:
            answer = await house.call(review(request, said))
            assert error(answer) == (400, "invalid_request")
            assert words in answer.json["error"]["message"]
        said = {"outcome": "rejected"}
        assert error(await house.call(review(request, b'{"outcome":"edited","outcome":"edited"}'))) == (
            400,
            "duplicate_key",
        )
        assert error(await house.call(review(request, b"x" * (BODY_BYTES_MAX + 1)))) == (413, "body_too_large")
        assert error(await house.call(review(request, said, media="text/plain"))) == (415, "unsupported_media_type")
        assert error(await house.call(review(request, said, "lc_live_k9_x"))) == (401, "invalid_api_key")
        for none in ("nothing", f"{request}0", request.upper(), request_id(house, (REVIEW_DAYS_MAX + 1) * DAY_US)):
            assert error(await house.call(review(none, said))) == (404, "not_found")
        assert error(await house.call(review(request_id(house, -DAY_US), said))) == (404, "not_found")
        status, told = await house.get(f"/v1/requests/{request}/review", authorization=f"Bearer {KEY}")
        assert (status, told["error"]["code"]) == (405, "method_not_allowed")
        assert reviews(house) == []

    in_house(tmp_path, Plan(), play)


def test_an_app_that_says_too_much_has_to_wait_and_no_other_one(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        request, said = request_id(house), {"outcome": "approved"}
        now_us = house.parts.clock.monotonic_ns() // 1000
        while not house.parts.reviews.take("app", now_us):
            continue
        answer = await house.call(review(request, said))
        assert error(answer) == (429, "rate_limited")
        assert 0 < int(answer.headers["retry-after-ms"]) <= 60_000 / REVIEWS_PER_MINUTE + 1
        assert house.parts.reviews.take("other", now_us) == 0
        assert house.parts.counters["reviews_limited"] == 1

    in_house(tmp_path, Plan(), play)


def test_a_review_that_cannot_be_kept_is_not_taken(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.fill_disk()
        answer = await house.call(review(request_id(house), {"outcome": "approved"}))
        assert error(answer) == (503, "ledger_unavailable")
        house.free_disk()

    in_house(tmp_path, Plan(), play)
