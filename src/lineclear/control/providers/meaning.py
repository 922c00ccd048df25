"""What a provider's answer means for the person who set it up, and what to do next.

In: a status or a failed connection. Out: words. Pure; decides from status and phase, never from a vendor's text, which
may repeat a key.
"""

from collections.abc import Mapping

MEANING_OF_STATUS: Mapping[int, str] = {
    400: "it does not accept the request",
    401: "it refused the credential",
    402: "the account there is out of money",
    403: "it refused the credential, or the credential may not do this",
    404: "there is nothing at this address",
    405: "this address does not take such calls",
    408: "it waited for the request too long",
    422: "it does not accept the request",
    429: "it limits this account for now, or the account is out of quota",
}
NEXT_OF_PHASE: Mapping[str, str] = {
    "dns": "look at the host in base_url, and at the machine's resolver: `lineclear doctor`",
    "egress": "private addresses need `private_network: true` at the provider; other refused ones are never called",
    "proxy": "look at egress_proxy and egress_proxy_credential, and at what the proxy allows",
    "connect": "is it up, and does a firewall let this machine out to it?",
    "tls": "its certificate has to be valid for the host in base_url and known to this machine (SSL_CERT_FILE)",
    "total": "try again; if it stays silent, ask the vendor's status page",
}
NEXT_OF_STATUS: Mapping[int, str] = {
    402: "top the account up at the vendor",
    404: "look at base_url: OpenAI's kind ends in /v1 as a rule, Anthropic's does not have to",
    405: "look at base_url and dialects",
    429: "wait, or raise the limits of the account at the vendor",
}


def words_of_status(status: int) -> str:
    """What a status says, in words."""
    if 200 <= status < 300:
        return "it answered"
    if 300 <= status < 400:
        return "it sends callers elsewhere, and redirects are never followed with a credential"
    known = MEANING_OF_STATUS.get(status)
    if known is not None:
        return known
    return "it has a fault of its own" if status >= 500 else "it refused the call"


def next_of_status(status: int, credential: str | None) -> str:
    """What to do about a status.

    Args:
        status: not of the 200s.
        credential: the reference that was used, `secret:NAME` or `VARIABLE`; None if none was sent.
    """
    if status in (401, 403):
        return _next_of_credential(credential)
    if 300 <= status < 400:
        return "put the address that it names into base_url"
    return NEXT_OF_STATUS.get(status, "try again; if it stays so, ask the vendor's status page")


def next_of_phase(phase: str) -> str:
    """What to do about a connection that failed."""
    return NEXT_OF_PHASE.get(phase, "try again; if it stays so, look at base_url")


def _next_of_credential(reference: str | None) -> str:
    if reference is None:
        return "it wants a credential: name one at the provider, as `credential: secret:NAME`"
    if reference.startswith("secret:"):
        return f"set the key anew: `lineclear secrets set {reference.removeprefix('secret:')}`"
    return f"set the variable {reference} anew and apply the provider's file again"
