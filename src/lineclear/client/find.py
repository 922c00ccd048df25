"""Find the server a command means: options, environment, or the data directory's own files.

In: what was given. Out: a `Server`. Must not open a connection.
"""

import json
from pathlib import Path

from lineclear.base.secret import Secret
from lineclear.client.admin import Server
from lineclear.config.settings import Settings

DEFAULT_ADMIN_URL = "http://127.0.0.1:4101"
FACTS_FILE = "up.json"
TOKEN_FILE = "admin.token"  # noqa: S105 - a file's name


class ServerNotFound(Exception):
    """Nothing says where the server is or how to be let in; the message says what was looked at."""


def find_server(
    settings: Settings, url: str | None, token: str | None, data_dir: Path | None, ca_file: Path | None = None
) -> Server:
    """The server by option, then environment, then data directory, each of address and token on its own.

    A server that the data directory names has to show the certificate that stands there; any other one is verified
    against `ca_file`, LINECLEAR_CA or the system's authorities.

    Raises:
        ServerNotFound: if no token is known.
    """
    directory = data_dir or settings.data_dir
    facts = {} if url or settings.url else _facts(directory)
    found_url = url or settings.url or facts.get("admin_url") or DEFAULT_ADMIN_URL
    found_token = token or settings.token or _token(directory)
    if not found_token:
        raise ServerNotFound(
            f"no admin token: --token and LINECLEAR_TOKEN are not set and {directory / TOKEN_FILE} cannot be read"
        )
    return Server(found_url.rstrip("/"), Secret(found_token), ca_file or settings.ca_file, facts.get("certificate"))


def _facts(directory: Path) -> dict[str, str]:
    """What the running server tells of itself in its data directory, as far as it is text."""
    try:
        facts = json.loads((directory / FACTS_FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: fact for name, fact in facts.items() if isinstance(fact, str)} if isinstance(facts, dict) else {}


def _token(directory: Path) -> str | None:
    try:
        return (directory / TOKEN_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
