"""Where a call for one operation goes at a provider, and the fixed part of its request head.

In: provider entry, operation, credential. Out: origin and head bytes, ready to be sent many times.
Must not: send anything, read a clock, or see a request of a caller.
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from lineclear.base.secret import Secret
from lineclear.domain.exchange import OPERATION_DIALECT, Dialect, Operation
from lineclear.domain.snapshot import ProviderEntry
from lineclear.net.upstream import Origin, Proxy

RUNTIME_BASE_URL = "runtime:"
"""The base URL of hosted models: the runtime's Unix socket."""

ANTHROPIC_VERSION = "2023-06-01"
"""Sent when the caller named none. Source: docs.anthropic.com/en/api/versioning, 2026-11."""

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")

_PATHS = {
    Operation.CHAT: "/chat/completions",
    Operation.MESSAGES: "/messages",
    Operation.COUNT_TOKENS: "/messages/count_tokens",
    Operation.COMPLETIONS: "/completions",
    Operation.EMBEDDINGS: "/embeddings",
    Operation.CLASSIFY: "/classify",
}


class Address(msgspec.Struct, frozen=True, gc=False):
    """One operation at one provider with one credential."""

    origin: Origin
    credential_id: str
    """Names the secret without holding it; empty if none is sent. Part of the pool's key."""
    head: bytes
    """Request line and fixed fields, without the blank line; holds the secret, so it is never logged."""


def provider_origin(provider: ProviderEntry, socket_path: str = "", proxy_credential: Secret | None = None) -> Origin:
    """The origin of a provider; `socket_path` is the runtime's socket for hosted models.

    `proxy_credential` is what its egress proxy asks for, `user:password`.

    Raises:
        ValueError: if the base URL is not http(s) with a host.
    """
    if provider.base_url == RUNTIME_BASE_URL:
        return Origin(scheme="unix", host="runtime", port=0, path=socket_path, private_network=True)
    parts = urlsplit(provider.base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"base_url {provider.base_url!r} of provider {provider.name!r} is not an http(s) URL")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Origin(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port,
        path="",
        private_network=provider.private_network,
        proxy=_proxy(provider, proxy_credential),
    )


def _proxy(provider: ProviderEntry, credential: Secret | None) -> Proxy | None:
    if not provider.egress_proxy:
        return None
    parts = urlsplit(provider.egress_proxy)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise ValueError(f"egress_proxy of provider {provider.name!r} is not http://host:port")
    return Proxy(parts.hostname, parts.port, credential)


def address(
    provider: ProviderEntry, operation: Operation, origin: Origin, credential_id: str, secret: Secret | None
) -> Address:
    """The address of an operation, its credential bound to this origin and nowhere else.

    Raises:
        ValueError: if the credential could not stand in a header field; the message does not repeat it.
    """
    if secret is not None and not _VISIBLE_ASCII.fullmatch(secret.reveal()):
        raise ValueError(f"credential {credential_id!r} of provider {provider.name!r} is not visible ASCII text")
    dialect = OPERATION_DIALECT[operation]
    line = f"POST {_base_path(provider, dialect)}{_PATHS[operation]} HTTP/1.1"
    fields = ["content-type: application/json", *_credential_fields(dialect, secret)]
    return _address(line, origin, credential_id, fields)


def listing_address(
    provider: ProviderEntry, dialect: Dialect, origin: Origin, credential_id: str, secret: Secret | None
) -> Address:
    """The address of a provider's list of models, which both dialects have under the same path.

    Source: platform.openai.com/docs/api-reference/models, docs.anthropic.com/en/api/models-list, 2026-11.
    """
    line = f"GET {_base_path(provider, dialect)}/models HTTP/1.1"
    return _address(line, origin, credential_id, _credential_fields(dialect, secret))


def _address(line: str, origin: Origin, credential_id: str, fields: Sequence[str]) -> Address:
    host = f"host: {_host_field(origin)}"
    lines = [line, host, *fields, "accept-encoding: identity", "user-agent: lineclear", ""]
    return Address(origin=origin, credential_id=credential_id, head="\r\n".join(lines).encode("ascii"))


def _credential_fields(dialect: Dialect, secret: Secret | None) -> list[str]:
    if secret is None:
        return []
    is_anthropic = dialect is Dialect.ANTHROPIC
    return [f"x-api-key: {secret.reveal()}" if is_anthropic else f"authorization: Bearer {secret.reveal()}"]


def _base_path(provider: ProviderEntry, dialect: Dialect) -> str:
    path = "/v1" if provider.base_url == RUNTIME_BASE_URL else urlsplit(provider.base_url).path.rstrip("/")
    if dialect is Dialect.ANTHROPIC and not path.endswith("/v1"):
        # Anthropic's own base URL carries no version; OpenAI's does. Both habits are accepted.
        path += "/v1"
    return path


def _host_field(origin: Origin) -> str:
    if origin.scheme == "unix":
        return "localhost"
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    default = 443 if origin.scheme == "https" else 80
    return host if origin.port == default else f"{host}:{origin.port}"
