"""The environment, read once into a frozen value; no other room reads it.

In: environment variables. Out: `Settings`, and single variables that a manifest names as `${NAME}`.
"""

import os
import pwd
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

FILE_SUFFIX = "_FILE"
SECRET_BYTES_MAX = 8192
"""A file named by a `…_FILE` variable holds one secret; a larger one is something else."""
TRUSTED_PROXIES_MAX = 64
"""Networks; each call of the admin port is held against them."""
_VARIABLE_OF_FILE = re.compile(r"([A-Z][A-Z0-9_]*)_FILE")

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Setting:
    """One variable that the product reads, as docs/settings.md lists it."""

    name: str
    meaning: str
    default: str
    is_secret: bool = False
    """It may also be given as NAME_FILE, the path of a file that holds it."""


SETTINGS = (
    Setting("LINECLEAR_URL", "Address of the admin port that the CLI talks to.", "from the data directory"),
    Setting("LINECLEAR_TOKEN", "Admin token that the CLI sends.", "from the data directory", is_secret=True),
    Setting("LINECLEAR_CA", "PEM file of the authorities that the CLI trusts.", "the system's"),
    Setting("LINECLEAR_DATA", "Data directory.", "$XDG_DATA_HOME/lineclear"),
    Setting(
        "LINECLEAR_DATABASE_URL",
        "Database of control, `postgresql://…`.",
        "SQLite in the data directory",
        is_secret=True,
    ),
    Setting("LINECLEAR_ROOT_PATH", "Path that a proxy puts in front of the admin port's paths.", "none"),
    Setting("LINECLEAR_PUBLIC_URL", "Address that callers reach the data port at, for everything shown.", "its own"),
    Setting("LINECLEAR_PUBLIC_ADMIN_URL", "The same of the admin port.", "its own"),
    Setting("LINECLEAR_HOST", "Address of the data port.", "127.0.0.1"),
    Setting("LINECLEAR_PORT", "Data port.", "PORT"),
    Setting("PORT", "Data port, as platforms that run programs for people name it.", "4100"),
    Setting("LINECLEAR_ADMIN_HOST", "Address of the admin port.", "127.0.0.1"),
    Setting("LINECLEAR_ADMIN_PORT", "Admin port.", "4101"),
    Setting("LINECLEAR_WORKERS", "Gateway processes.", "cores - 1"),
    Setting("LINECLEAR_TLS_CERT", "PEM file of the certificate chain of both ports.", "no TLS"),
    Setting("LINECLEAR_TLS_KEY", "PEM file of its key.", "no TLS"),
    Setting("LINECLEAR_BEHIND_PROXY", "`1` says that a proxy in front does TLS.", "0"),
    Setting("LINECLEAR_TRUSTED_PROXIES", "Networks of proxies whose `X-Forwarded-For` is believed.", "none is"),
    Setting("LINECLEAR_OIDC_ISSUER", "Identity provider that people sign in through, `https://…`.", "none"),
    Setting("LINECLEAR_OIDC_CLIENT_ID", "What the provider calls this server.", "lineclear"),
    Setting("LINECLEAR_OIDC_CLIENT_SECRET", "Its secret there.", "a public client", is_secret=True),
    Setting("LINECLEAR_OIDC_ALGORITHM", "What ID tokens are signed with: RS256, PS256 or ES256.", "RS256"),
    Setting("LINECLEAR_OIDC_GROUPS_CLAIM", "Claim of the ID token that lists a person's groups.", "groups"),
    Setting("LINECLEAR_OIDC_SCOPES", "Scopes to ask the provider for.", "openid profile email"),
    Setting("LINECLEAR_OIDC_PRIVATE_NETWORK", "`1` permits a provider on a private address.", "0"),
    Setting(
        "LINECLEAR_SMTP_URL",
        "Mail server for notices, `smtp://user:password@host:587` (STARTTLS) or `smtps://…`.",
        "no letters are sent",
        is_secret=True,
    ),
    Setting("LINECLEAR_SMTP_FROM", "Address that letters come from.", "lineclear@localhost"),
    Setting("LINECLEAR_NOTICES_PRIVATE_NETWORK", "`1` permits webhooks to private addresses and over http://.", "0"),
    Setting("LINECLEAR_DRAIN_S", "Longest wait for running exchanges at a stop.", "600"),
    Setting("LINECLEAR_LOG_FORMAT", "`json`, `human` or `auto`.", "auto"),
    Setting("LINECLEAR_LOG_LEVEL", "`debug`, `info`, `warning` or `error`.", "info"),
    Setting("NOTIFY_SOCKET", "Where systemd wants to be told how it goes.", "nobody is told"),
    Setting("WATCHDOG_USEC", "How often systemd wants a sign of life.", "never"),
    Setting("LINECLEAR_DEBUG", "`1` shows where in the program an unexpected failure of a command began.", "0"),
    Setting("XDG_DATA_HOME", "Where the model store and the default data directory live.", "~/.local/share"),
)


class SettingInvalid(Exception):
    """A variable has a value that cannot be used; the message names it."""


@dataclass(frozen=True)
class IdentityProviderVariables:
    """The provider that people sign in through, as the environment says it."""

    issuer: str
    client_id: str
    client_secret: str | None
    """None = a public client."""
    algorithm: str
    groups_claim: str
    scopes: str
    private_network: bool


@dataclass(frozen=True)
class NoticeVariables:
    """How notices leave the server, as the environment says it."""

    smtp_url: str | None
    """None = no letters are sent."""
    smtp_from: str
    private_network: bool
    """True permits webhooks to loopback and private addresses."""


@dataclass(frozen=True)
class Settings:
    """What the environment says, with defaults filled in."""

    url: str | None
    token: str | None
    ca_file: Path | None
    """None = the system's authorities."""
    data_dir: Path
    database_url: str | None
    """None = SQLite inside the data directory."""
    root_path: str
    """Such as `/ai/gateway`, without `/` at its end; empty = none."""
    model_store: Path
    """Where `models pull` puts weights, shared by all data directories."""
    trusted_proxies: tuple[Network, ...]
    """Peers of the admin port that are believed when they say for whom they ask; empty = nobody is."""
    oidc: IdentityProviderVariables | None
    """None = people do not sign in through a provider."""
    notices: NoticeVariables
    notify_socket: str
    """Where systemd listens, as it says it: a path, or a name after `@`; empty = nowhere."""
    watchdog_s: float | None
    """How often systemd wants a sign of life; None = never."""


def process_environment() -> Mapping[str, str]:
    """The environment of this process; the one place that touches it."""
    return os.environ


def process_variables() -> Mapping[str, str]:
    """What `${NAME}` of a manifest finds: the environment, and for each NAME_FILE without a NAME the file's text."""
    return with_files(process_environment())


def with_files(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the texts of the small files that its `…_FILE` variables name."""
    found = dict(environment)
    for name, path in environment.items():
        match = _VARIABLE_OF_FILE.fullmatch(name)
        if match is not None and path and not environment.get(match.group(1)):
            text = _text_of(Path(path))
            if text is not None:
                found[match.group(1)] = text
    return found


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment`, or from this process's own when None.

    Raises:
        SettingInvalid: a `…_FILE` variable names a file that cannot be read, or a list of networks has something else.
    """
    variables = process_environment() if environment is None else environment
    home = variables.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    share = Path(variables.get("XDG_DATA_HOME") or Path(home) / ".local" / "share") / "lineclear"
    data, ca_file = variables.get("LINECLEAR_DATA"), variables.get("LINECLEAR_CA")
    return Settings(
        url=variables.get("LINECLEAR_URL") or None,
        token=_secret(variables, "LINECLEAR_TOKEN"),
        ca_file=Path(ca_file) if ca_file else None,
        data_dir=Path(data) if data else share,
        database_url=_secret(variables, "LINECLEAR_DATABASE_URL"),
        root_path=variables.get("LINECLEAR_ROOT_PATH", "").rstrip("/"),
        model_store=share / "models",
        trusted_proxies=_networks(variables, "LINECLEAR_TRUSTED_PROXIES"),
        oidc=_identity_provider(variables),
        notices=NoticeVariables(
            smtp_url=_secret(variables, "LINECLEAR_SMTP_URL"),
            smtp_from=variables.get("LINECLEAR_SMTP_FROM") or "lineclear@localhost",
            private_network=variables.get("LINECLEAR_NOTICES_PRIVATE_NETWORK") == "1",
        ),
        notify_socket=variables.get("NOTIFY_SOCKET", ""),
        watchdog_s=int(usec) / 1e6 if (usec := variables.get("WATCHDOG_USEC", "")).isdigit() else None,
    )


def _identity_provider(variables: Mapping[str, str]) -> IdentityProviderVariables | None:
    issuer = variables.get("LINECLEAR_OIDC_ISSUER", "").strip()
    if not issuer:
        return None
    return IdentityProviderVariables(
        issuer=issuer,
        client_id=variables.get("LINECLEAR_OIDC_CLIENT_ID") or "lineclear",
        client_secret=_secret(variables, "LINECLEAR_OIDC_CLIENT_SECRET"),
        algorithm=variables.get("LINECLEAR_OIDC_ALGORITHM") or "RS256",
        groups_claim=variables.get("LINECLEAR_OIDC_GROUPS_CLAIM") or "groups",
        scopes=variables.get("LINECLEAR_OIDC_SCOPES") or "openid profile email",
        private_network=variables.get("LINECLEAR_OIDC_PRIVATE_NETWORK") == "1",
    )


def _networks(variables: Mapping[str, str], name: str) -> tuple[Network, ...]:
    """A list with commas of networks such as `10.0.0.0/8`, and of addresses."""
    texts = [text.strip() for text in variables.get(name, "").split(",")] if variables.get(name, "").strip() else []
    if len(texts) > TRUSTED_PROXIES_MAX:
        raise SettingInvalid(f"{name} names {len(texts)} networks, more than {TRUSTED_PROXIES_MAX}")
    return tuple(_network(name, text) for text in texts)


def _network(name: str, text: str) -> Network:
    words = "a network such as 10.0.0.0/8, without host bits, or an address"
    try:
        found = ip_network(text)
    except ValueError as error:
        raise SettingInvalid(f"{name}: {text!r} is not {words}") from error
    if "%" in text:
        raise SettingInvalid(f"{name}: {text!r} has a zone and is not {words}")
    if found.version == 6 and found.network_address.ipv4_mapped is not None:
        raise SettingInvalid(f"{name}: {text!r} is a network of IPv4 and has to be written as one")
    if found.prefixlen == 0:
        raise SettingInvalid(f"{name}: {text!r} is everybody, and anybody could say that they are somebody else")
    return found


def _secret(variables: Mapping[str, str], name: str) -> str | None:
    """The variable, or the text of the file that NAME_FILE names; None if neither is set."""
    path = variables.get(name + FILE_SUFFIX)
    if variables.get(name) or not path:
        return variables.get(name) or None
    text = _text_of(Path(path))
    if not text:
        raise SettingInvalid(
            f"{name}{FILE_SUFFIX}: {path} is no file of 1 to {SECRET_BYTES_MAX} bytes that can be read"
        )
    return text


def _text_of(path: Path) -> str | None:
    """What a small file holds, without the line end that editors add; None if it cannot be read or is no such file."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > SECRET_BYTES_MAX:
            return None
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return None
