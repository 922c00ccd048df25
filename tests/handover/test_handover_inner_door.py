"""The inner door's socket and principal: private, found only while somebody listens, signed for a while."""

import socket
import stat
from pathlib import Path

import msgspec
import pytest

from lineclear.base.seal import Keys
from lineclear.handover.inner_door import (
    InnerPrincipal,
    InnerPurpose,
    inner_door_directory,
    inner_door_listener,
    inner_doors,
    opened_principal,
    signed_principal,
)

KEYS = Keys(bytes(range(32)))
PRINCIPAL = InnerPrincipal(InnerPurpose.EVAL, "rp_1", "app", "live", "chat", "f" * 64, 1_000)
BEFORE_US, AFTER_US = 999_999_999, 1_000_000_000


def test_a_principal_is_what_was_signed_until_it_expires() -> None:
    text = signed_principal(KEYS, PRINCIPAL)
    assert opened_principal(KEYS, text, BEFORE_US) == PRINCIPAL
    assert opened_principal(KEYS, text, AFTER_US) is None
    assert opened_principal(Keys(bytes(32)), text, BEFORE_US) is None


def test_no_altered_character_opens_the_door() -> None:
    text = signed_principal(KEYS, PRINCIPAL)
    for place in range(len(text)):
        for other in ("A", "0", ".", "é"):
            altered = text[:place] + other + text[place + 1 :]
            if altered != text:
                assert opened_principal(KEYS, altered, BEFORE_US) is None, altered


@pytest.mark.parametrize("field", ["app", "route", "release", "environment", "run"])
def test_names_of_any_characters_survive(field: str) -> None:
    principal = msgspec.structs.replace(PRINCIPAL, **{field: "Zürich/é\n x.y"})
    assert opened_principal(KEYS, signed_principal(KEYS, principal), BEFORE_US) == principal


def test_the_socket_is_private_and_replaces_a_leftover(tmp_path: Path) -> None:
    first, path = inner_door_listener(tmp_path, "local-b-0-0")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(inner_door_directory(tmp_path).stat().st_mode) == 0o700
    first.close()  # as a killed process leaves it
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    second, again = inner_door_listener(tmp_path, "local-b-0-0")
    assert (again, inner_doors(tmp_path)) == (path, [path])
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    second.close()


def test_without_gateways_there_is_no_door(tmp_path: Path) -> None:
    assert inner_doors(tmp_path) == []
