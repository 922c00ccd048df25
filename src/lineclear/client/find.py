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


def find_server(settings: Settings, url: str | None, token: str | None, data_dir: Path | None) -> Server:
    """The server by option, then environment, then data directory, each of address and token on its own.

    Raises:
        ServerNotFound: if no token is known.
    """
    directory = data_dir or settings.data_dir
    found_url = url or settings.url or _admin_url(directory) or DEFAULT_ADMIN_URL
    found_token = token or settings.token or _token(directory)
    if not found_token:
        raise ServerNotFound(
            f"no admin token: --token and LINECLEAR_TOKEN are not set and {directory / TOKEN_FILE} cannot be read"
        )
    return Server(found_url.rstrip("/"), Secret(found_token))


def _admin_url(directory: Path) -> str | None:
    try:
        facts = json.loads((directory / FACTS_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    url = facts.get("admin_url") if isinstance(facts, dict) else None
    return url if isinstance(url, str) else None


def _token(directory: Path) -> str | None:
    try:
        return (directory / TOKEN_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
