"""Secrets by the format their issuers gave them, with the checksum where there is one.

In: nothing. Out: `SECRETS`, a Detector for each format. What a format does not tell (a password, a bare hex key)
is not found here: entropy guesses refuse too much that is harmless.
"""

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from typing import Final

from lineclear.checks.check_digits import crc32_base62
from lineclear.checks.finding import Detector, Finding
from lineclear.checks.shape import ALPHANUMERIC, token

WORD: Final = ALPHANUMERIC + "_-"
JWT_CHARS_MAX: Final = 4096
PEM_CHARS_MAX: Final = 8192
PEM_BEGIN: Final = "-----BEGIN "
PEM_END: Final = "-----END "
PEM_KEY: Final = "PRIVATE KEY-----"
PEM_LABEL_CHARS_MAX: Final = 48
"""From the first dash of a PEM line to its last, e.g. `-----BEGIN OPENSSH PRIVATE KEY-----`."""
_PEM_LABEL: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ "


def _is_lineclear_key(text: str) -> bool:
    """`lc_<environment>_<id>_<secret><crc>`, CRC-32 over everything before it in hex. Source: our key_text."""
    return f"{zlib.crc32(text[:-8].encode()):08x}" == text[-8:]


def _is_github_token(text: str) -> bool:
    """Prefix, 30 random characters, checksum. Source: GitHub's blog, 2021-04-05, token formats."""
    return crc32_base62(text[4:34], text[34:])


def _is_npm_token(text: str) -> bool:
    """As GitHub's. Source: GitHub's changelog, 2021-09-23, npm's new access token format."""
    return crc32_base62(text[4:34], text[34:])


def _is_jwt(text: str) -> bool:
    """Three base64url parts, the first a JSON object with `alg`. Source: RFC 7515 §3.1 and §4.1.1."""
    head = text.partition(".")[0]
    try:
        value = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(value, dict) and "alg" in value


def _by_format(text: str) -> bool:
    """The format has no checksum; the prefix and length are all there is."""
    return bool(text)


class PemKey:
    """A private key in PEM armour. Source: RFC 7468 §10 and §11; OpenSSH PROTOCOL.key.

    A finding reaches to the end line, or over the whole stretch in which one may stand if there is none.
    """

    name = "private-key"

    def find(self, text: str, start: int, stop: int) -> Iterator[Finding]:
        """See `Detector.find`."""
        at = text.find(PEM_BEGIN, start)
        while 0 <= at < stop:
            label_end = text.find(PEM_KEY, at, at + PEM_LABEL_CHARS_MAX)
            if label_end >= 0 and not text[at + len(PEM_BEGIN) : label_end].strip(_PEM_LABEL):
                yield Finding(at, self._end(text, at), self.name)
            at = text.find(PEM_BEGIN, at + 1)

    def open_at(self, text: str) -> int:
        """See `Detector.open_at`."""
        first = max(0, len(text) - PEM_CHARS_MAX)
        at = text.find(PEM_BEGIN, first)
        while at >= 0:
            if not self._is_decided(text, at):
                return at
            at = text.find(PEM_BEGIN, at + 1)
        for chars in range(min(len(PEM_BEGIN) - 1, len(text)), 0, -1):
            if text.endswith(PEM_BEGIN[:chars]):
                return len(text) - chars
        return len(text)

    def _is_decided(self, text: str, at: int) -> bool:
        if len(text) - at >= PEM_LABEL_CHARS_MAX and text.find(PEM_KEY, at, at + PEM_LABEL_CHARS_MAX) < 0:
            return True
        return self._end_line(text, at) >= 0

    def _end(self, text: str, at: int) -> int:
        end = self._end_line(text, at)
        return min(len(text), at + PEM_CHARS_MAX) if end < 0 else end

    @staticmethod
    def _end_line(text: str, at: int) -> int:
        """Where the end line ends; -1 if there is none as far as a key may reach."""
        limit = at + PEM_CHARS_MAX
        line = text.find(PEM_END, at, limit)
        if line < 0:
            return -1
        end = text.find(PEM_KEY, line, min(limit, line + PEM_LABEL_CHARS_MAX))
        return -1 if end < 0 else end + len(PEM_KEY)


_RANDOM = "[A-Za-z0-9]"
_WORDS = "[A-Za-z0-9_-]"

_ALL: Final[tuple[Detector, ...]] = (
    token("lineclear-key", "lc_", rf"[a-z][a-z0-9]{{0,11}}_[a-z2-7]{{12}}_{_WORDS}{{51}}", WORD, 80, _is_lineclear_key),
    token("github-token", "gh", rf"[pousr]_{_RANDOM}{{36}}", WORD, 40, _is_github_token),
    token("github-fine-grained-token", "github_pat_", rf"{_RANDOM}{{22}}_{_RANDOM}{{59}}", WORD, 93, _by_format),
    token("gitlab-token", "glpat-", rf"{_WORDS}{{20,64}}(?!{_WORDS})", WORD, 70, _by_format),
    token("npm-token", "npm_", rf"{_RANDOM}{{36}}", WORD, 40, _is_npm_token),
    # A PyPI token is a macaroon whose first packet names pypi.org, so its beginning is always this.
    token("pypi-token", "pypi-AgEIcHlwaS5vcmc", rf"{_WORDS}{{50,1000}}(?!{_WORDS})", WORD, 1020, _by_format),
    # AKIA long-term, ASIA temporary, ABIA bearer, ACCA context. Source: AWS IAM reference, unique identifiers.
    token("aws-access-key-id", "A", r"(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}", ALPHANUMERIC, 20, _by_format),
    token("google-api-key", "AIza", rf"{_WORDS}{{35}}(?!{_WORDS})", WORD, 39, _by_format),
    token("slack-token", "xox", rf"[abeoprs]-(?:[0-9]+-)?{_WORDS}{{10,250}}(?!{_WORDS})", WORD, 270, _by_format),
    token("slack-app-token", "xapp-", rf"[0-9]-{_WORDS}{{20,250}}(?!{_WORDS})", WORD, 260, _by_format),
    token(
        "slack-webhook",
        "https://hooks.slack.com/services/T",
        r"[A-Z0-9]{6,14}/B[A-Z0-9]{6,14}/[A-Za-z0-9]{20,32}",
        ALPHANUMERIC + ":/.",
        100,
        _by_format,
    ),
    token("stripe-key", "sk_", rf"(?:live|test)_{_RANDOM}{{16,247}}", WORD, 256, _by_format),
    token("stripe-restricted-key", "rk_", rf"(?:live|test)_{_RANDOM}{{16,247}}", WORD, 256, _by_format),
    token("stripe-webhook-secret", "whsec_", rf"{_RANDOM}{{32,64}}", WORD, 70, _by_format),
    # Every key of OpenAI's holds base64 of "OpenAI" in its middle.
    token(
        "openai-key",
        "sk-",
        rf"(?:(?:proj|svcacct|admin)-{_WORDS}{{20,100}}|{_RANDOM}{{20}})T3BlbkFJ{_WORDS}{{20,100}}(?!{_WORDS})",
        WORD,
        222,
        _by_format,
    ),
    token("anthropic-key", "sk-ant-", rf"(?:api|admin|oat)[0-9]{{2}}-{_WORDS}{{80,120}}AA", WORD, 140, _by_format),
    token("huggingface-token", "hf_", r"[A-Za-z]{34}", WORD, 37, _by_format),
    token("sendgrid-key", "SG.", rf"{_WORDS}{{22}}\.{_WORDS}{{43}}(?!{_WORDS})", WORD + ".", 69, _by_format),
    token("digitalocean-token", "do", r"[opr]_v1_[a-f0-9]{64}", WORD, 71, _by_format),
    token("jwt", "eyJ", rf"{_WORDS}{{8,1000}}\.{_WORDS}{{2,2000}}\.{_WORDS}{{16,1000}}", WORD + ".", 4006, _is_jwt),
    PemKey(),
)

SECRETS: Final[dict[str, Detector]] = {detector.name: detector for detector in _ALL}
"""By name."""
