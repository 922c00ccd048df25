"""Calls to copy: a first call to a route in the languages that apps are written in, for what the route does.

In: an operation, the data port's address, a route. Out: titles and code. Pure.
"""

import json
from collections.abc import Sequence
from typing import Any

from lineclear.domain.exchange import OPERATION_PATH, Operation
from lineclear.domain.sample_call import sample_body

WORDS = "Say hello."
OUTPUT_TOKENS = 200
CURL = """curl {url}/v1/chat/completions \\
  -H "authorization: Bearer $LINECLEAR_KEY" \\
  -H "content-type: application/json" \\
  -d '{{"model": "{route}", "messages":
       [{{"role": "user", "content": "{words}"}}]}}'"""
PYTHON = """# pip install openai
import os
from openai import OpenAI

client = OpenAI(
    base_url="{url}/v1",
    api_key=os.environ["LINECLEAR_KEY"],
)
answer = client.chat.completions.create(
    model="{route}",
    messages=[{{"role": "user", "content": "{words}"}}],
)
print(answer.choices[0].message.content)"""
JAVASCRIPT = """// node hello.mjs; there is nothing to install
const answer = await fetch("{url}/v1/chat/completions", {{
  method: "POST",
  headers: {{
    authorization: `Bearer ${{process.env.LINECLEAR_KEY}}`,
    "content-type": "application/json",
  }},
  body: JSON.stringify({{
    model: "{route}",
    messages: [{{ role: "user", content: "{words}" }}],
  }}),
}});
const said = await answer.json();
console.log(said.choices[0].message.content);"""
ANTHROPIC = """# pip install anthropic
import os
from anthropic import Anthropic

client = Anthropic(
    base_url="{url}",
    api_key=os.environ["LINECLEAR_KEY"],
)
answer = client.messages.create(
    model="{route}",
    max_tokens=200,
    messages=[{{"role": "user", "content": "{words}"}}],
)
print(answer.content[0].text)"""
PYTHON_EMBEDDINGS = """# pip install openai
import os
from openai import OpenAI

client = OpenAI(
    base_url="{url}/v1",
    api_key=os.environ["LINECLEAR_KEY"],
)
answer = client.embeddings.create(model="{route}", input="{words}")
print(len(answer.data[0].embedding), "numbers")"""
CURL_ANY = """curl {url}{path} \\
  -H "authorization: Bearer $LINECLEAR_KEY" \\
  -H "content-type: application/json" \\
  -d '{body}'"""
JAVASCRIPT_ANY = """// node hello.mjs; there is nothing to install
const answer = await fetch("{url}{path}", {{
  method: "POST",
  headers: {{
    authorization: `Bearer ${{process.env.LINECLEAR_KEY}}`,
    "content-type": "application/json",
  }},
  body: JSON.stringify({body}),
}});
console.log(JSON.stringify(await answer.json()).slice(0, 300));"""
CHAT = (
    ("curl", "curl", CURL),
    ("python", "Python, OpenAI SDK", PYTHON),
    ("javascript", "JavaScript, fetch", JAVASCRIPT),
    ("anthropic", "Python, Anthropic SDK", ANTHROPIC),
)
ANY = (("curl", "curl", CURL_ANY), ("javascript", "JavaScript, fetch", JAVASCRIPT_ANY))
EMBEDDINGS = (ANY[0], ("python", "Python, OpenAI SDK", PYTHON_EMBEDDINGS), ANY[1])


def snippets(operation: Operation, url: str, route: str) -> list[dict[str, str]]:
    """Each call's id, title and code."""
    facts: dict[str, Any] = {
        "url": url,
        "route": route,
        "words": WORDS,
        "path": OPERATION_PATH[operation],
        "body": json.dumps(sample_body(operation, route, WORDS, _output_tokens(operation))),
    }
    return [{"id": id_, "title": title, "code": code.format(**facts)} for id_, title, code in _fitting(operation)]


def _fitting(operation: Operation) -> Sequence[tuple[str, str, str]]:
    if operation is Operation.CHAT:
        return CHAT
    return EMBEDDINGS if operation is Operation.EMBEDDINGS else ANY


def _output_tokens(operation: Operation) -> int | None:
    return OUTPUT_TOKENS if operation is Operation.MESSAGES else None
