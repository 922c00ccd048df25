"""Real models through the whole path: SmolLM2 by both official SDKs, whole and streamed, and MiniLM's vectors."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from operator import mul
from typing import Any

import anthropic
import openai
import pytest

from lineclear.testing.load import chat_call, embeddings_call
from lineclear.testing.platform import Platform
from lineclear.testing.stage import one_call

QUESTION = "What is the capital of France? Answer in one short sentence."
LOADED_S = 60.0


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, store_environment: Mapping[str, str]) -> Iterator[Platform]:
    for name in ("smollm2", "minilm"):
        pull = [sys.executable, "-m", "lineclear", "models", "pull", name]
        subprocess.run(pull, env=dict(store_environment), check=True, capture_output=True, timeout=300)
    with Platform(tmp_path_factory.mktemp("smollm2"), environment=store_environment) as platform:

        def loaded() -> bool:
            key = platform.keys["live"]
            calls = (chat_call(key, "smollm2", "hello", max_tokens=1), embeddings_call(key, "minilm", "hello"))
            return all(one_call(platform.gateway_url, call).failure == "" for call in calls)

        platform.wait_for(loaded, "smollm2 and minilm to answer", LOADED_S)
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


def test_openai_client_goes_on_with_a_text(platform: Platform) -> None:
    base_url = platform.gateway_url + "/v1"
    asked: dict[str, Any] = {
        "model": "smollm2",
        "prompt": "The capital of France is",
        "max_tokens": 6,
        "temperature": 0,
    }
    with openai.OpenAI(base_url=base_url, api_key=platform.keys["live"], max_retries=0) as client:
        whole = client.completions.create(**asked)
        assert "Paris" in whole.choices[0].text
        assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (5, 6)
        chunks = list(client.completions.create(**asked, stream=True))
        assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
        with pytest.raises(openai.BadRequestError, match=r"smollm2@\S+ does chat") as refused:
            client.embeddings.create(model="smollm2", input="x")
        assert refused.value.code == "operation_not_supported"


def test_related_sentences_are_closer_and_base64_equals_float(platform: Platform) -> None:
    sentences = ["The cat sleeps on the sofa.", "A kitten is napping on the couch.", "Interest rates rose again."]
    with openai.OpenAI(base_url=platform.gateway_url + "/v1", api_key=platform.keys["live"], max_retries=0) as client:
        packed = client.embeddings.create(model="minilm", input=sentences)
        numbers = client.embeddings.create(model="minilm", input=sentences, encoding_format="float")
        with pytest.raises(openai.BadRequestError, match="does embeddings, not chat") as refused:
            client.chat.completions.create(model="minilm", messages=[{"role": "user", "content": "hello"}])
    cat, kitten, rates = (item.embedding for item in packed.data)
    assert sum(map(mul, cat, kitten)) > 0.4 > 0.2 > sum(map(mul, cat, rates))
    assert [item.embedding for item in numbers.data] == [cat, kitten, rates]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 15
    assert "POST /v1/embeddings" in str(refused.value.body)


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
