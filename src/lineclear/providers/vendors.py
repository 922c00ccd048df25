"""Well-known vendors: where each is reached and in which dialect of ours.

Facts only, of vendors whose chat API one of our codecs speaks. Prices are the price file's knowledge. A test holds each
address against the hosts of the price file, so that a vendor added here is priced as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lineclear.domain.exchange import Dialect


@dataclass(frozen=True)
class Vendor:
    """One vendor, or a kind of server that people run themselves."""

    name: str
    title: str
    dialect: Dialect
    base_url: str
    variable: str | None
    """Environment variable in which its own tools look for the key; None = called without one."""
    source: str
    """Page that says so, as of 2026-11."""
    private_network: bool = False


_OPENAI, _ANTHROPIC = Dialect.OPENAI, Dialect.ANTHROPIC

VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor("openai", "OpenAI", _OPENAI, "https://api.openai.com/v1", "OPENAI_API_KEY",
               "https://platform.openai.com/docs/api-reference"),
        Vendor("anthropic", "Anthropic", _ANTHROPIC, "https://api.anthropic.com", "ANTHROPIC_API_KEY",
               "https://docs.anthropic.com/en/api/overview"),
        Vendor("mistral", "Mistral AI", _OPENAI, "https://api.mistral.ai/v1", "MISTRAL_API_KEY",
               "https://docs.mistral.ai/api"),
        Vendor("groq", "Groq", _OPENAI, "https://api.groq.com/openai/v1", "GROQ_API_KEY",
               "https://console.groq.com/docs/openai"),
        Vendor("deepseek", "DeepSeek", _OPENAI, "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY",
               "https://api-docs.deepseek.com"),
        Vendor("openrouter", "OpenRouter", _OPENAI, "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY",
               "https://openrouter.ai/docs/api-reference/overview"),
        Vendor("together", "Together AI", _OPENAI, "https://api.together.xyz/v1", "TOGETHER_API_KEY",
               "https://docs.together.ai/docs/openai-api-compatibility"),
        Vendor("fireworks", "Fireworks AI", _OPENAI, "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY",
               "https://docs.fireworks.ai/tools-sdks/openai-compatibility"),
        Vendor("xai", "xAI", _OPENAI, "https://api.x.ai/v1", "XAI_API_KEY",
               "https://docs.x.ai/docs/api-reference"),
        Vendor("cerebras", "Cerebras", _OPENAI, "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY",
               "https://inference-docs.cerebras.ai/resources/openai"),
        Vendor("ollama", "Ollama on this machine", _OPENAI, "http://127.0.0.1:11434/v1", None,
               "https://docs.ollama.com/openai", private_network=True),
    )
}  # fmt: skip
"""By the name that `providers add NAME` takes."""
