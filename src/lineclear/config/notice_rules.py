"""What the channels of a team's notices must be on their own: one way each, no secret written out.

In: the channels. Out: (path, code, message) per mistake. Pure.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from lineclear.config.manifest_dates import Mistake
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.manifest import NoticeChannel
from lineclear.domain.notices import CHANNEL_KINDS

CHANNELS_MAX = 10
ADDRESSES_MAX = 20
SECRET = re.compile(r"secret:[a-z0-9][a-z0-9._-]{0,62}")
CHANNEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
"""Source: the HTML standard's valid e-mail address, §4.10.5.1.5; nothing in it can end a header line."""
WAYS = ("webhook", "slack", "email")


def check_channels(channels: Sequence[NoticeChannel]) -> Iterator[Mistake]:
    """Every mistake of a team's channels."""
    if len(channels) > CHANNELS_MAX:
        yield ("notices",), "too_large", f"at most {CHANNELS_MAX} channels"
    seen: set[str] = set()
    for at, channel in enumerate(channels):
        path: PlainPath = ("notices", at)
        if not CHANNEL_NAME.fullmatch(channel.name):
            words = f"{channel.name!r} is not a name: lower-case letters, digits, . _ -, at most 63"
            yield (*path, "name"), "invalid_value", words
        if channel.name in seen:
            yield (*path, "name"), "duplicate", f"{channel.name!r} stands twice"
        seen.add(channel.name)
        yield from _way(channel, path)
        for place, kind in enumerate(channel.on):
            if kind not in CHANNEL_KINDS:
                yield (*path, "on", place), "invalid_value", f"{kind.value!r} is sent by hand only"


def _way(channel: NoticeChannel, path: PlainPath) -> Iterator[Mistake]:
    given = [name for name in WAYS if getattr(channel, name)]
    if len(given) != 1:
        yield path, "invalid_value", f"exactly one of {', '.join(WAYS)} is needed"
    if channel.webhook is not None:
        words = url_flaw(channel.webhook)
        if words:
            yield (*path, "webhook"), "invalid_value", words
        if channel.secret is None:
            yield path, "invalid_value", "a webhook is signed: name its key by `secret: secret:NAME`"
    elif channel.secret is not None:
        yield (*path, "secret"), "invalid_value", "only a webhook is signed"
    yield from _texts(channel, path)


def _texts(channel: NoticeChannel, path: PlainPath) -> Iterator[Mistake]:
    for name in ("secret", "slack"):
        text = getattr(channel, name)
        if text is not None and not SECRET.fullmatch(text):
            # The text may be a real secret, so it is not repeated.
            yield (*path, name), "invalid_value", "must be secret:NAME; a credential never stands in a file"
    if len(channel.email) > ADDRESSES_MAX:
        yield (*path, "email"), "too_large", f"at most {ADDRESSES_MAX} addresses"
    for place, address in enumerate(channel.email):
        if not ADDRESS.fullmatch(address):
            yield (*path, "email", place), "invalid_value", f"{address!r} is no e-mail address"


def url_flaw(text: str) -> str:
    """Why nothing can be posted to this URL; empty if it can be. The text is not repeated, for it may be a secret."""
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        return "it is not a URL"
    if url.scheme not in ("http", "https") or not url.hostname or not text.isascii() or not text.isprintable():
        return "it must be an http:// or https:// URL"
    if url.username is not None or url.fragment or " " in text:
        return "it must not hold a user, a fragment or white space"
    return ""
