"""Find the server a command means: options, environment, or the data directory's own files.

In: what was given. Out: a `Server`. Must not open a connection. The token of a data directory is for the server of that
directory and for nobody else.
"""

import ipaddress
import json
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from lineclear.base.secret import Secret
from lineclear.client.admin import ADMIN_EXAMPLE, Server
from lineclear.config.settings import Settings

DEFAULT_ADMIN_URL = ADMIN_EXAMPLE
FACTS_FILE = "up.json"
TOKEN_FILE = "admin.token"  # noqa: S105 - a file's name


_VISIBLE = re.compile(r"[\x21-\x7e]+")
"""What travels in a request's head as it is: RFC 9110 §5.5; no token or address of ours has a space."""
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")
_PORTS = {"http": 80, "https": 443}

Place = tuple[str, str, int]
"""Scheme, host and port."""


class ServerNotFound(Exception):
    """Nothing says where the server is or how to be let in; the message says what was looked at."""


class ServerNotRunning(ServerNotFound):
    """Only a data directory was named, and no server of it says where it is, if one ever ran there."""


class TokenNotKnown(ServerNotFound):
    """An address was named, and nothing that may be sent there lets anybody in."""

    def __init__(self, words: str, url: str, ca_file: Path | None) -> None:
        super().__init__(words)
        self.url = url
        """The address that was named."""
        self.ca_file = ca_file
        """The authorities that would be trusted there; None = the system's."""


class ServerInvalid(ServerNotFound):
    """What was given for address, token or authorities cannot be one; the message never holds a token."""


def find_server(
    settings: Settings, url: str | None, token: str | None, data_dir: Path | None, ca_file: Path | None = None
) -> Server:
    """The server by option, then environment, then data directory.

    The token of the data directory goes to the address in its up.json, or to a loopback address of the same port; to
    any other address only a token that was named goes. Where the data directory names the server, it has to show the
    certificate that stands there; an address that was named is verified against `ca_file`, LINECLEAR_CA or the system's
    authorities.

    Raises:
        ServerNotFound: if the token of the data directory cannot be read.
        TokenNotKnown: if an address was named, and no token that may be sent there is known.
        ServerNotRunning: if only the data directory was named, and no server of it runs.
        ServerInvalid: if address, token or authorities cannot be used.
    """
    directory = data_dir or settings.data_dir
    named_url, named_token = url or settings.url, token or settings.token
    facts = _facts(directory)
    own_url = facts.get("admin_url") or DEFAULT_ADMIN_URL
    found_url = (named_url or own_url).rstrip("/")
    place = _place(found_url)
    is_own = "admin_url" in facts and (named_url is None or _is_same(place, _place(own_url)))
    authorities = ca_file or settings.ca_file
    if authorities is not None:
        _demand_authorities(authorities)
    own_token = None if named_token else _token(directory)
    if own_token and not is_own:
        raise _kept_back(directory, named_url, authorities)
    found_token = named_token or own_token
    if found_token is None:
        raise _no_token(directory, facts, named_url, authorities)
    if not _VISIBLE.fullmatch(found_token):
        raise ServerInvalid(
            "the admin token cannot be sent: it holds a space, a line break or a character that is not ASCII; "
            f"it stands in {TOKEN_FILE} of the data directory"
        )
    return Server(found_url, Secret(found_token), authorities, None if named_url else facts.get("certificate"))


def _kept_back(directory: Path, named_url: str | None, ca_file: Path | None) -> ServerNotFound:
    if named_url is None:
        return ServerNotRunning(f"no server of {directory} is running: it holds no {FACTS_FILE}")
    return TokenNotKnown(
        f"no admin token for {named_url}: --token and LINECLEAR_TOKEN are not set, and the one in {directory} goes to "
        "the server of that directory alone",
        named_url,
        ca_file,
    )


def _no_token(directory: Path, facts: Mapping[str, str], named_url: str | None, ca_file: Path | None) -> ServerNotFound:
    if named_url is None and "admin_url" not in facts and not _is_there(directory / TOKEN_FILE):
        return ServerNotRunning(f"no server has run in {directory}: it holds no {TOKEN_FILE}")
    words = f"no admin token: --token and LINECLEAR_TOKEN are not set and {directory / TOKEN_FILE} cannot be read"
    return ServerNotFound(words) if named_url is None else TokenNotKnown(words, named_url, ca_file)


def _place(url: str) -> Place:
    """What an address says.

    Raises:
        ServerInvalid: it is none.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        is_good = (
            parts.scheme in _PORTS
            and _VISIBLE.fullmatch(url) is not None
            and _HOST.fullmatch(host) is not None
            and bool(host.encode("idna"))
        )
    except ValueError as error:  # UnicodeError is one: a label of more than 63 characters
        raise ServerInvalid(_no_address(url)) from error
    if not is_good:
        raise ServerInvalid(_no_address(url))
    return parts.scheme, host, port or _PORTS[parts.scheme]


def _no_address(url: str) -> str:
    return f"{url!r} is no address of an admin port; it looks like {DEFAULT_ADMIN_URL}"


def _is_same(place: Place, own: Place) -> bool:
    return place == own or (place[2] == own[2] and _is_loopback(place[1]) and _is_loopback(own[1]))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _demand_authorities(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(path))
    except OSError as error:  # ssl.SSLError is one
        why = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise ServerInvalid(f"--ca or LINECLEAR_CA: {path} cannot be used: {why}") from error


def _facts(directory: Path) -> dict[str, str]:
    """What the running server tells of itself in its data directory, as far as it is text."""
    try:
        facts = json.loads((directory / FACTS_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: fact for name, fact in facts.items() if isinstance(fact, str)} if isinstance(facts, dict) else {}


def _is_there(path: Path) -> bool:
    """Whether there is such a file, as far as this user may know."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _token(directory: Path) -> str | None:
    try:
        return (directory / TOKEN_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
