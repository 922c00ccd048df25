"""Paths where nothing is: what was meant, or what is not built yet."""

from pathlib import Path

import pytest
from gateway_house import KEY, House, Plan, in_house

from lineclear.testing.load import Call, chat_call

MEANT = {
    "/chat/completions": "POST /v1/chat/completions",
    "/v1/v1/chat/completions": "POST /v1/chat/completions",
    "/v1/chat/completions/": "POST /v1/chat/completions",
    "/v1//messages": "POST /v1/messages",
    "/v1/message": "POST /v1/messages",
    "/openai/v1/embeddings": "POST /v1/embeddings",
    "/models": "GET /v1/models",
    "/healthz": "GET /livez",
    "/v1/readyz": "GET /readyz",
}


@pytest.mark.parametrize("path", MEANT)
def test_a_path_that_is_nearly_right_is_answered_with_the_right_one(tmp_path: Path, path: str) -> None:
    async def play(house: House) -> None:
        for status, told in (await house.get(path), await house.get(path, anthropic_version="2023-06-01")):
            assert (status, told["error"]["code"]) == (404, "not_found")
            assert told["error"]["message"] == f"there is nothing at {path!r}; did you mean {MEANT[path]}?"
            assert told["error"]["hint"].startswith("OpenAI's clients take a base URL") == (
                path in {"/chat/completions", "/v1/v1/chat/completions", "/openai/v1/embeddings", "/models"}
            )

    in_house(tmp_path, Plan(), play)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/images/generations", "/api/v1/apps", "/" + "v" * 5_000])
def test_a_path_like_nothing_is_answered_with_all_there_is(tmp_path: Path, path: str) -> None:
    async def play(house: House) -> None:
        status, told = await house.get(path)
        assert (status, told["error"]["code"]) == (404, "not_found")
        assert "did you mean" not in told["error"]["message"]
        for known in ("/v1/messages", "/livez", "/readyz", "/v1/model-versions/{name@version}"):
            assert known in told["error"]["hint"]

    in_house(tmp_path, Plan(), play)


@pytest.mark.parametrize(
    ("path", "named", "instead"),
    [
        ("/v1beta/models/good:generateContent", "Gemini", "/v1/chat/completions"),
        ("/v1beta/models/good:streamGenerateContent", "Gemini", "/v1/chat/completions"),
        ("/v1/responses", "Responses API", "chat.completions.create"),
        ("/v1/responses/resp_1", "Responses API", "chat.completions.create"),
        ("/v2/models/good/infer", "Open Inference Protocol", "/v1/classify"),
    ],
)
def test_what_is_to_come_is_refused_by_name(tmp_path: Path, path: str, named: str, instead: str) -> None:
    async def play(house: House) -> None:
        call = chat_call(KEY, "good", "x")
        answer = await house.call(Call(path, call.headers, call.body))
        error = answer.json["error"]
        assert (answer.status, error["code"]) == (400, "not_yet_supported")
        assert named in error["message"]
        assert instead in error["hint"]

    in_house(tmp_path, Plan(), play)
