"""A real model through the whole path: SmolLM2 by both official SDKs, whole and streamed."""

import subprocess
import sys
from collections.abc import Iterator, Mapping

import anthropic
import openai
import pytest

from lineclear.testing.load import chat_call
from lineclear.testing.platform import Platform
from lineclear.testing.stage import one_call

QUESTION = "What is the capital of France? Answer in one short sentence."
LOADED_S = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, store_environment: Mapping[str, str]) -> Iterator[Platform]:
    pull = [sys.executable, "-m", "lineclear", "models", "pull", "smollm2"]
    subprocess.run(pull, env=dict(store_environment), check=True, capture_output=True, timeout=300)
    with Platform(tmp_path_factory.mktemp("smollm2"), environment=store_environment) as platform:

        def loaded() -> bool:
            call = chat_call(platform.keys["live"], "smollm2", "hello", max_tokens=1)
            return one_call(platform.gateway_url, call).failure == ""

        platform.wait_for(loaded, "smollm2 to answer", LOADED_S)
        yield platform


def test_openai_client(platform: Platform) -> None:
    base_url = platform.gateway_url + "/v1"
    with openai.OpenAI(base_url=base_url, api_key=platform.keys["live"], max_retries=0) as client:
        whole = client.chat.completions.create(
            model="smollm2", max_tokens=24, temperature=0, messages=[{"role": "user", "content": QUESTION}]
        )
        assert "Paris" in (whole.choices[0].message.content or "")
        assert whole.usage is not None
        assert whole.usage.prompt_tokens > 5
        chunks = list(
            client.chat.completions.create(
                model="smollm2",
                max_tokens=24,
                temperature=0,
                stream=True,
                messages=[{"role": "user", "content": QUESTION}],
            )
        )
        assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert chunks[-1].choices[0].finish_reason in {"stop", "length"}


def test_anthropic_client(platform: Platform) -> None:
    key = platform.keys["test"]
    with anthropic.Anthropic(base_url=platform.gateway_url, api_key=key, max_retries=0) as client:
        whole = client.messages.create(
            model="smollm2",
            max_tokens=24,
            extra_body={"temperature": 0},
            messages=[{"role": "user", "content": QUESTION}],
        )
        assert whole.content[0].type == "text"
        assert "Paris" in whole.content[0].text
        with client.messages.stream(
            model="smollm2",
            max_tokens=24,
            extra_body={"temperature": 0},
            messages=[{"role": "user", "content": QUESTION}],
        ) as stream:
            message = stream.get_final_message()
        assert message.content[0].type == "text"
        assert "Paris" in message.content[0].text
        assert message.usage.output_tokens > 0


def test_a_bundled_model_costs_nothing_and_says_so(platform: Platform) -> None:
    answer = one_call(platform.gateway_url, chat_call(platform.keys["live"], "smollm2", "hello", max_tokens=4))
    assert answer.headers["x-lineclear-cost-usd"] == "0.000000000"
    assert answer.headers["x-lineclear-cost-basis"] == "priced"
    assert answer.headers["x-lineclear-provider"] == "local"
