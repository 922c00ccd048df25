"""Guardrails through real sockets: refused before anything is reserved, withheld, cut, redacted or flagged after."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from gateway_house import KEY, House, Plan, in_house, route

from lineclear.domain.guardrails import DENY, DETECT, SCHEMA, SIZE, GuardrailAction, GuardrailRule, GuardrailSide
from lineclear.domain.snapshot import AccountLimits, PromptEntry
from lineclear.gateway.turn import LONG_BYTES
from lineclear.gateway.withhold import HELD_BYTES_MAX
from lineclear.testing.corpora import with_crc
from lineclear.testing.load import (
    Call,
    CallResult,
    chat_call,
    classify_call,
    completions_call,
    embeddings_call,
    messages_call,
)

Play = Callable[[House], Awaitable[None]]
MAKERS = {"openai": chat_call, "anthropic": messages_call}
BOTH = pytest.mark.parametrize("dialect", ["openai", "anthropic"])
SHAPES = pytest.mark.parametrize("stream", [False, True])
EITHER = (GuardrailSide.INPUT, GuardrailSide.OUTPUT)
OUTPUT = (GuardrailSide.OUTPUT,)
TOKEN = with_crc("gh" + "p_")
BLOCK, REDACT, FLAG = GuardrailAction.BLOCK, GuardrailAction.REDACT, GuardrailAction.FLAG
SCHEMA_TEXT = (
    '{"type":"object","required":["order"],"additionalProperties":false,"properties":{"order":{"type":"integer"}}}'
)

RULES = {
    "secrets": GuardrailRule(f"{DETECT}:house/secrets", EITHER, BLOCK, detect=("secrets",)),
    "redact": GuardrailRule(f"{DETECT}:house/personal", OUTPUT, REDACT, detect=("email", "phone")),
    "cards": GuardrailRule(f"{DETECT}:house/cards", EITHER, BLOCK, detect=("payment-card",)),
    "flag": GuardrailRule(f"{DENY}:house/words", EITHER, FLAG, deny=("project falcon",)),
    "schema": GuardrailRule(f"{SCHEMA}:house/order", OUTPUT, BLOCK, json_schema=SCHEMA_TEXT),
    "short": GuardrailRule(f"{SIZE}:house/short", (GuardrailSide.INPUT,), BLOCK, max_bytes=400),
    "brief": GuardrailRule(f"{SIZE}:house/brief", OUTPUT, BLOCK, max_bytes=40),
}


def guarded(*names: str) -> Plan:
    """A route `guarded` with these rules in its release."""
    return Plan(routes=[route("guarded", "good", guardrails=tuple(RULES[name] for name in names))])


def call(dialect: str, text: str, stream: bool, **more: Any) -> Call:
    return MAKERS[dialect](KEY, "guarded", text, stream=stream, **more)


def said(answer: CallResult, dialect: str, stream: bool) -> str:
    """The text that the caller reads."""
    if not stream:
        tree = answer.json
        if dialect == "openai":
            return str(tree["choices"][0]["message"]["content"])
        return "".join(block["text"] for block in tree["content"])
    texts: list[str] = []
    for line in answer.body.split(b"\n"):
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if dialect == "openai":
                texts += [choice["delta"].get("content") or "" for choice in event.get("choices", [])]
            else:
                texts.append(event.get("delta", {}).get("text", ""))
    return "".join(texts)


def error_of(answer: CallResult) -> dict[str, Any]:
    found: dict[str, Any] = answer.json["error"]
    return found


@BOTH
@SHAPES
def test_a_request_with_a_secret_is_refused_before_anything_is_sent(tmp_path: Path, dialect: str, stream: bool) -> None:
    async def play(house: House) -> None:
        answer = await house.call(call(dialect, f"is {TOKEN} still good?", stream))
        assert answer.status == 403
        assert answer.headers["x-lineclear-policy"] == "guardrail.detect:house/secrets"
        assert answer.headers["x-should-retry"] == "false"
        assert "'github-token'" in error_of(answer)["message"]
        assert TOKEN.encode() not in answer.body
        assert house.vendor.dispatches == 0
        refusal = house.refusal_of(answer)
        assert (refusal.error_code, refusal.rules) == ("guardrail_blocked", ("guardrail.detect:house/secrets",))
        fine = await house.call(call(dialect, "is all good?", stream))
        assert (fine.failure, "x-lineclear-policy" in fine.headers) == ("", False)

    in_house(tmp_path, guarded("secrets"), play)


@BOTH
def test_a_secret_is_found_wherever_it_stands_in_a_request(tmp_path: Path, dialect: str) -> None:
    arguments = json.dumps({"key": TOKEN}).replace("ghp_", "\\u0067hp_")
    called = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}]
    tool = {"type": "function", "function": {"name": "look", "description": TOKEN, "parameters": {"type": "object"}}}

    async def play(house: House) -> None:
        bodies = (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": f"a {TOKEN} b"}]}]},
            {"messages": [{"role": "user", "content": "hello"}], "tools": [tool]},
            {"messages": [{"role": "assistant", "content": "look", "tool_calls": called}]},
            {"messages": [{"role": "user", "content": "x" * 16_370 + " " + TOKEN}]},
            {"messages": [{"role": "user", "content": "hello"}], "metadata": {"user_id": TOKEN}},
        )
        for body in bodies:
            base = call(dialect, "hello", False)
            tree = {**json.loads(base.body), **body}
            answer = await house.call(Call(base.path, base.headers, json.dumps(tree).encode()))
            assert answer.status == 403, body
        assert house.vendor.dispatches == 0

    in_house(tmp_path, guarded("secrets"), play)


@BOTH
@pytest.mark.parametrize("number", ["4111111111111111", "4.111111111111111e15", "4111111111111111.0"])
def test_a_number_is_no_way_round_a_rule(tmp_path: Path, dialect: str, number: str) -> None:
    async def play(house: House) -> None:
        base = call(dialect, "hello", False)
        tool = {"type": "tool_use", "id": "t1", "name": "pay", "input": {"card": "NUMBER"}}
        arguments = {"type": "function", "id": "t1", "function": {"name": "pay", "arguments": '{"card": NUMBER}'}}
        said = {"content": [tool]} if dialect == "anthropic" else {"content": None, "tool_calls": [arguments]}
        messages = [{"role": "user", "content": "pay"}, {"role": "assistant", **said}]
        for more in ({"messages": messages}, {"metadata": {"card": "NUMBER"}}):
            tree = json.dumps({**json.loads(base.body), **more})
            body = tree.replace('"NUMBER"', number).replace("NUMBER", number)
            answer = await house.call(Call(base.path, base.headers, body.encode()))
            is_blocked = answer.status == 403
            # Arguments are text and read as they stand.
            assert is_blocked or (dialect == "openai" and "messages" in more and "e" in number), (answer.status, body)
        fine = await house.call(Call(base.path, base.headers, base.body[:-1] + b',"seed":4111111111111111}'))
        assert fine.status == 200

    in_house(tmp_path, guarded("cards"), play)


@BOTH
def test_a_long_request_over_a_limit_is_told_so_before_it_is_read_through(tmp_path: Path, dialect: str) -> None:
    plan = guarded("secrets")
    plan.limits["app:app"] = AccountLimits(1, None, None, None)

    async def play(house: House) -> None:
        long = call(dialect, "x " * LONG_BYTES + TOKEN, False)
        blocked = await house.call(long)
        assert (blocked.status, error_of(blocked)["code"]) == (403, "guardrail_blocked")
        assert (await house.call(call(dialect, "hello", False))).status == 200
        over = await house.call(long)
        assert (over.status, over.headers["x-lineclear-policy"]) == (429, "limit.requests:app:app")
        name = "x-ratelimit-remaining-requests" if dialect == "openai" else "anthropic-ratelimit-requests-remaining"
        assert over.headers[name] == "0"
        assert 0 < int(over.headers["retry-after"]) <= 60
        short = await house.call(call(dialect, TOKEN, False))
        assert short.status == 403

    in_house(tmp_path, plan, play)


@BOTH
def test_many_small_texts_wait_their_turn_like_a_long_request(tmp_path: Path, dialect: str) -> None:
    plan = guarded("secrets")
    plan.limits["app:app"] = AccountLimits(1, None, None, None)

    async def play(house: House) -> None:
        base = call(dialect, "hello", False)
        assert (await house.call(base)).status == 200
        for pieces, status in ((["a"] * 1_000, 429), ([0] * 20_000, 403)):
            body = json.dumps({**json.loads(base.body), "metadata": {"pieces": [*pieces, TOKEN]}}).encode()
            assert len(body) < LONG_BYTES
            assert (await house.call(Call(base.path, base.headers, body))).status == status

    in_house(tmp_path, plan, play)


@BOTH
@SHAPES
def test_without_the_accountant_a_long_request_under_a_rate_limit_goes_on(
    tmp_path: Path, dialect: str, stream: bool
) -> None:
    plan = guarded("secrets")
    plan.limits["app:app"] = AccountLimits(60, None, None, None)

    async def play(house: House) -> None:
        await house.stop_accountant()
        for text, status in (("hello", 200), (TOKEN, 403)):
            assert (await house.call(call(dialect, "x " * LONG_BYTES + text, stream))).status == status

    in_house(tmp_path, plan, play)


@BOTH
def test_words_of_the_protocol_are_no_denied_words_of_a_request(tmp_path: Path, dialect: str) -> None:
    words = ("user", "function", "object", "string", "text", "auto", "ephemeral")
    rule = GuardrailRule(f"{DENY}:house/words", EITHER, BLOCK, deny=words)
    schema = {"type": "object", "properties": {"input": {"type": ["string", "null"]}}}
    tool: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": schema}}
    if dialect == "anthropic":
        tool = {"name": "look", "input_schema": schema}

    async def play(house: House) -> None:
        base = call(dialect, "hello", False)

        def ask(content: str, **more: Any) -> Awaitable[CallResult]:
            block = {"type": "text", "text": content, "cache_control": {"type": "ephemeral"}}
            messages = [{"role": "user", "content": [block]}]
            tree = {**json.loads(base.body), "messages": messages, "tools": [tool], **more}
            return house.call(Call(base.path, base.headers, json.dumps(tree).encode()))

        assert (await ask("hello")).status == 200
        for refused in (ask("a user"), ask("hello", metadata={"type": "user"})):
            assert (await refused).status == 403

    in_house(tmp_path, Plan(routes=[route("guarded", "good", guardrails=(rule,))]), play)


@BOTH
def test_a_bound_of_a_schema_names_nobody(tmp_path: Path, dialect: str) -> None:
    card = 4111111111111111

    async def play(house: House) -> None:
        base = call(dialect, "hello", False)

        def ask(**more: Any) -> Awaitable[CallResult]:
            schema = {"type": "object", "properties": {"amount": {"type": "integer", **more}}}
            tool: dict[str, Any] = {"type": "function", "function": {"name": "look", "parameters": schema}}
            if dialect == "anthropic":
                tool = {"name": "look", "input_schema": schema}
            body = json.dumps({**json.loads(base.body), "tools": [tool]})
            return house.call(Call(base.path, base.headers, body.encode()))

        assert (await ask(minimum=-card, exclusiveMaximum=card, multipleOf=card)).status == 200
        assert (await ask(default=-card)).status == 200
        for more in ({"default": card}, {"examples": [card]}, {"const": {"maximum": card}}):
            assert (await ask(**more)).status == 403

    in_house(tmp_path, guarded("cards"), play)


@BOTH
def test_what_is_filled_into_a_prompt_is_checked_like_the_rest(tmp_path: Path, dialect: str) -> None:
    prompt = PromptEntry("greeting", "d" * 64, "prepend", ("Note: ", "note", ". ", "first", "", "second", ""))
    rules = (RULES["secrets"], RULES["short"], RULES["flag"])
    fine = {"note": "all good", "first": "a", "second": "b"}

    async def play(house: House) -> None:
        def ask(**variables: str) -> Awaitable[CallResult]:
            base = call(dialect, "hello", False)
            fields = {f"x-lineclear-var-{name}": quote(value) for name, value in {**fine, **variables}.items()}
            return house.call(Call(base.path, {**base.headers, **fields}, base.body))

        for found in ({"note": f"a {TOKEN} b"}, {"first": TOKEN[:9], "second": TOKEN[9:]}):
            answer = await ask(**found)
            assert (answer.status, answer.headers["x-lineclear-policy"]) == (403, "guardrail.detect:house/secrets")
            assert house.refusal_of(answer).rules == ("guardrail.detect:house/secrets",)
        long = await ask(note="ä" * 200)
        assert (long.status, long.headers["x-lineclear-policy"]) == (403, "guardrail.size:house/short")
        assert house.vendor.dispatches == 0
        # A variable that the prompt does not name goes nowhere.
        assert (await ask(other=TOKEN)).status == 200
        flagged = await ask(note="of project falcon")
        assert (flagged.status, flagged.headers["x-lineclear-policy"]) == (200, "guardrail.deny:house/words")
        assert "x-lineclear-policy" not in (await ask()).headers

    in_house(tmp_path, Plan(routes=[route("guarded", "good", guardrails=rules, prompt=prompt)]), play)


@BOTH
def test_a_whole_answer_with_a_secret_is_withheld_and_billed(tmp_path: Path, dialect: str) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always=f"text=your key is {TOKEN} there")
        answer = await house.call(call(dialect, "hello", False))
        assert answer.status == 403
        assert error_of(answer)["message"].startswith("the answer holds something of kind 'github-token'")
        assert TOKEN.encode() not in answer.body
        assert answer.headers["x-lineclear-policy"] == "guardrail.detect:house/secrets"
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.status, settle.error_code) == ("refused", 403, "guardrail_blocked")
        # Evidence and usage sum both: what is charged must not be waste as well.
        assert (settle.cost_nano_usd > 0, settle.waste_nano_usd) == (True, 0)
        assert answer.headers["x-lineclear-cost-usd"] == f"{settle.cost_nano_usd / 1e9:.9f}"
        assert settle.rules == ("guardrail.detect:house/secrets",)
        assert settle.attempts[0].attempt_class == "policy"

    in_house(tmp_path, guarded("secrets"), play)


@BOTH
@pytest.mark.parametrize("tokens", [3, 16, 60])
def test_a_stream_is_cut_before_the_secret_with_an_error_of_its_dialect(
    tmp_path: Path, dialect: str, tokens: int
) -> None:
    async def play(house: House) -> None:
        words = "this is what came before it and was harmless "
        house.vendor.set_script("good", always=f"text={words}{TOKEN} and more,tokens={tokens},event-delay-ms=1")
        answer = await house.call(call(dialect, "hello", True))
        assert answer.status in (200, 403)  # 403 where the very first event already held it
        assert TOKEN[:12].encode() not in answer.body
        settle = house.settle_of(answer)
        assert settle.error_code == "guardrail_blocked"
        assert settle.cost_nano_usd > 0
        if answer.status == 200:
            assert settle.outcome == "truncated"
            assert words.startswith(said(answer, dialect, True))
            last = answer.body.strip().split(b"\n\n")[-1]
            assert b"guardrail" in last
            assert (b"event: error" in last) is (dialect == "anthropic")
        if tokens == 60:
            assert len(said(answer, dialect, True)) > 20

    in_house(tmp_path, guarded("secrets"), play)


@BOTH
@SHAPES
def test_personal_data_is_taken_out_of_an_answer(tmp_path: Path, dialect: str, stream: bool) -> None:
    async def play(house: House) -> None:
        for tokens in (1, 7, 16, 64):
            text = "write to ada@example.com or call +44 20 7946 0958 now"
            house.vendor.set_script("good", always=f"text={text},tokens={tokens}")
            answer = await house.call(call(dialect, "hello", stream))
            assert answer.failure == ""
            assert said(answer, dialect, stream) == "write to [email removed] or call [phone removed] now"
            settle = house.settle_of(answer)
            assert (settle.outcome, settle.rules) == ("ok", ("guardrail.detect:house/personal",))

    in_house(tmp_path, guarded("redact"), play)


@BOTH
@SHAPES
def test_what_no_rule_finds_travels_byte_for_byte(tmp_path: Path, dialect: str, stream: bool) -> None:
    plan = Plan(routes=[route("guarded", "good", guardrails=(RULES["secrets"], RULES["redact"]))])

    async def play(house: House) -> None:
        with_rules = await house.call(call(dialect, "hello", stream))
        without = await house.call(MAKERS[dialect](KEY, "good", "hello", stream=stream))
        assert with_rules.body == without.body

    in_house(tmp_path, plan, play)


@BOTH
@SHAPES
def test_a_flag_changes_nothing_and_is_on_record(tmp_path: Path, dialect: str, stream: bool) -> None:
    async def play(house: House) -> None:
        asked = await house.call(call(dialect, "tell me of Project  Falcon", stream))
        assert asked.failure == ""
        assert asked.headers["x-lineclear-policy"] == "guardrail.deny:house/words"
        house.vendor.set_script("good", always="text=it is project falcon indeed")
        told = await house.call(call(dialect, "hello", stream))
        assert told.failure == ""
        assert said(told, dialect, stream) == "it is project falcon indeed"
        for answer in (asked, told):
            assert house.settle_of(answer).rules == ("guardrail.deny:house/words",)

    in_house(tmp_path, guarded("flag"), play)


@BOTH
@SHAPES
def test_an_answer_has_to_meet_its_schema(tmp_path: Path, dialect: str, stream: bool) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always='text={"order": 12}')
        good = await house.call(call(dialect, "hello", stream))
        assert (good.failure, said(good, dialect, stream)) == ("", '{"order": 12}')
        house.vendor.set_script("good", always='text={"order": "twelve"}')
        bad = await house.call(call(dialect, "hello", stream))
        assert b"twelve" not in bad.body
        assert b"`type` is not met at /order" in bad.body
        assert house.settle_of(bad).rules == ("guardrail.schema:house/order",)

    in_house(tmp_path, guarded("schema"), play)


def test_output_rules_leave_answers_without_text_alone(tmp_path: Path) -> None:
    count = messages_call(KEY, "guarded", "hello")
    tree = json.loads(count.body)
    body = json.dumps({"model": "guarded", "messages": tree["messages"]}).encode()
    long = ["text"] * 80

    async def play(house: House) -> None:
        for asked in (
            Call("/v1/messages/count_tokens", count.headers, body),
            embeddings_call(KEY, "guarded", "hello"),
            classify_call(KEY, "guarded", "hello"),
        ):
            answer = await house.call(asked)
            assert (answer.status, answer.failure) == (200, ""), answer.body[:300]
        vectors = await house.call(embeddings_call(KEY, "guarded", long, dimensions=2_048))
        assert (vectors.status, len(vectors.body) > HELD_BYTES_MAX) == (200, True)
        # What is asked is still checked, and what is text still has to meet its schema.
        refused = await house.call(embeddings_call(KEY, "guarded", TOKEN))
        assert (refused.status, refused.headers["x-lineclear-policy"]) == (403, "guardrail.detect:house/secrets")
        for asked_text in (call("openai", "hello", False), completions_call(KEY, "guarded", "hello")):
            told = await house.call(asked_text)
            assert (told.status, told.headers["x-lineclear-policy"]) == (403, "guardrail.schema:house/order")

    in_house(tmp_path, guarded("secrets", "schema"), play)


@BOTH
@SHAPES
def test_sizes_are_capped_on_both_sides(tmp_path: Path, dialect: str, stream: bool) -> None:
    async def play(house: House) -> None:
        long = await house.call(call(dialect, "x" * 500, stream))
        assert (long.status, long.headers["x-lineclear-policy"]) == (403, "guardrail.size:house/short")
        house.vendor.set_script("good", always="tokens=4")
        assert (await house.call(call(dialect, "hello", stream))).failure == ""
        house.vendor.set_script("good", always="tokens=400")
        wordy = await house.call(call(dialect, "hello", stream))
        assert house.settle_of(wordy).rules == ("guardrail.size:house/brief",)
        assert len(wordy.body) < 4_000

    in_house(tmp_path, guarded("short", "brief"), play)


@SHAPES
def test_an_environments_rules_hold_on_every_route(tmp_path: Path, stream: bool) -> None:
    plan = Plan(routes=[route("other", "good", guardrails=(RULES["flag"],))], mandatory=(RULES["secrets"],))

    async def play(house: House) -> None:
        for name in ("good", "other"):
            answer = await house.call(chat_call(KEY, name, f"{TOKEN}", stream=stream))
            assert (answer.status, answer.headers["x-lineclear-policy"]) == (403, "guardrail.detect:house/secrets")

    in_house(tmp_path, plan, play)


@SHAPES
@pytest.mark.parametrize("whole_words", [False, True])
def test_a_rule_of_an_environment_holds_beside_an_older_one_that_a_release_pins(
    tmp_path: Path, stream: bool, whole_words: bool
) -> None:
    """Words that one of the two alone denies; where only the older one looks inside words, that holds too."""
    today = GuardrailRule(f"{DENY}:house/names", EITHER, BLOCK, deny=("omega", "alpha"))
    pinned = GuardrailRule(f"{DENY}:house/names", EITHER, BLOCK, deny=("alpha", "beta"), whole_words=whole_words)
    plan = Plan(routes=[route("guarded", "good", guardrails=(pinned,))], mandatory=(today,))

    async def play(house: House) -> None:
        for text, is_denied in (("omega", True), ("alpha", True), ("beta", True), ("betas", not whole_words)):
            house.vendor.set_script("good")
            asked = await house.call(call("openai", f"tell me of {text} please", stream))
            assert (asked.status == 403) is is_denied, text
            if is_denied:
                assert asked.headers["x-lineclear-policy"] == "guardrail.deny:house/names"
            house.vendor.set_script("good", always=f"text=it is {text} indeed")
            told = await house.call(call("openai", "hello", stream))
            heard = said(told, "openai", stream) if stream or not is_denied else told.body.decode()
            assert (text in heard) is not is_denied
        assert (await house.call(chat_call(KEY, "good", "tell me of beta please"))).status == 200

    in_house(tmp_path, plan, play)


def test_token_ids_cannot_be_checked_and_do_not_pass(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        base = call("openai", "hello", False)
        body = json.dumps({"model": "guarded", "prompt": [[1, 2, 3]]}).encode()
        answer = await house.call(Call("/v1/completions", base.headers, body))
        assert (answer.status, house.vendor.dispatches) == (403, 0)

    in_house(tmp_path, guarded("secrets"), play)


def test_a_whole_answer_too_long_to_be_checked_does_not_pass(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="tokens=30,token-bytes=50000")
        answer = await house.call(call("openai", "hello", False))
        assert answer.status == 403
        assert "too long to be checked" in error_of(answer)["message"]

    in_house(tmp_path, guarded("secrets"), play)


def test_a_snapshot_whose_rules_cannot_be_made_is_refused_whole(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        unknown = GuardrailRule(f"{DETECT}:house/new", OUTPUT, BLOCK, detect=("mind-reading",))
        house.publish(Plan(routes=[route("guarded", "good", guardrails=(unknown,))]))
        house.refresh()
        assert "mind-reading" in house.parts.current.refused_reason
        assert (await house.call(call("openai", TOKEN, False))).status == 403

    in_house(tmp_path, guarded("secrets"), play)


def test_a_long_request_lets_others_through_while_it_is_checked(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        long = asyncio.ensure_future(house.call(call("openai", "some words " * 60_000, False)))
        await asyncio.sleep(0.02)
        quick = await house.call(chat_call(KEY, "good", "hello"))
        assert quick.duration_us < 500_000
        assert (await long).failure == ""

    in_house(tmp_path, guarded("secrets", "flag"), play)
