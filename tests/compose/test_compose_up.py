"""What is checked, made and refused before the first child starts; and the small rules beside it."""

import json
import logging
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lineclear.base.log import MESSAGE_CHARS_MAX, HumanLines, JSONLines, LogChoice
from lineclear.compose.announce import announce, ready_text
from lineclear.compose.child import Child, kill_group, start_ticks
from lineclear.compose.current import SnapshotUnreadable, read_current, read_stamp
from lineclear.compose.datadir import LOCK_FILE, UpRefused, open_data_directory
from lineclear.compose.listeners import bind_slots, is_loopback, url_of
from lineclear.compose.part import RESTART_BASE_S, RESTART_CAP_S, Part, restart_delay_s
from lineclear.compose.up import UpConfig, prepare


def config(home: Path, **changes: Any) -> UpConfig:
    plain: dict[str, Any] = {
        "data_dir": home / "d",
        "host": "127.0.0.1",
        "port": 0,
        "admin_port": 0,
        "workers": 1,
        "files": (home / "a.yaml",),
        "ready_file": home / "ready.json",
        "behind_proxy": False,
        "log": LogChoice(),
        "drain_s": 5.0,
    }
    return UpConfig(**{**plain, **changes})


def test_configuration_survives_its_json(tmp_path: Path) -> None:
    encrypted = config(tmp_path, tls_cert=Path("/a.crt"), tls_key=Path("/a.key"), is_detached=True, watchdog_s=2.0)
    for one in (config(tmp_path), config(tmp_path, ready_file=None, files=()), encrypted):
        assert UpConfig.from_json(one.to_json()) == one
    with pytest.raises(ValueError, match="does not fit"):
        UpConfig.from_json(json.dumps({**json.loads(config(tmp_path).to_json()), "colour": "red"}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workers": 0}, "--workers 0"),
        ({"workers": 65}, "--workers 65"),
        ({"public_url": "ai.example.com"}, "--public-url 'ai.example.com'"),
        ({"public_admin_url": "https://a b"}, "--public-admin-url"),
        ({"public_url": "https://user:word@x"}, "--public-url"),
        ({"port": 4100, "admin_port": 4100}, "two ports"),
        ({"host": "192.0.2.1"}, "--behind-proxy"),
        ({"host": "192.0.2.1", "behind_proxy": True, "files": ()}, "not an address of this machine"),
        ({"admin_host": "192.0.2.1"}, "--admin-host 192.0.2.1"),
        ({"tls_cert": Path("/a.crt"), "files": ()}, "without --tls-key"),
        ({"tls_key": Path("/a.key"), "files": ()}, "without --tls-cert"),
        ({"tls_cert": Path("/a.crt"), "tls_key": Path("/a.key"), "files": ()}, "/a.crt cannot be read"),
        ({"files": (Path("/nowhere.yaml"),)}, "/nowhere.yaml"),
        ({"files": (Path("/a.yaml"), Path("/b.yaml"))}, "-f /a.yaml: .*\n.*-f /b.yaml: there is no such file"),
        ({"files": (), "ready_file": Path("/nowhere/ready.json")}, "no directory /nowhere"),
    ],
)
def test_refusal_says_what_to_change(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UpRefused, match=words):
        prepare(config(tmp_path, **changes))


def test_data_directory_that_others_could_read_is_closed_and_its_secrets_are_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    first = open_data_directory(tmp_path)
    os.close(first.lock_fd)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    second = open_data_directory(tmp_path)
    os.close(second.lock_fd)
    assert (second.admin_token, second.master_key) == (first.admin_token, first.master_key)
    assert first.admin_token not in repr(first)


def test_lock_is_held_by_one_even_while_others_take_the_directory_away(tmp_path: Path) -> None:
    holders: list[int] = []
    most: list[int] = []

    def take_turns() -> None:
        for _ in range(200):
            try:
                held = open_data_directory(tmp_path)
            except UpRefused:
                continue
            holders.append(held.lock_fd)
            most.append(len(holders))
            holders.pop()
            (tmp_path / LOCK_FILE).unlink()
            os.close(held.lock_fd)

    others = [threading.Thread(target=take_turns) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert max(most) == 1


def test_leftover_that_ends_before_it_is_killed_is_no_failure() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    ended.wait()
    kill_group(ended.pid)


def test_secret_file_that_others_can_read_or_that_is_damaged_is_refused(tmp_path: Path) -> None:
    os.close(open_data_directory(tmp_path).lock_fd)
    (tmp_path / "admin.token").chmod(0o644)
    with pytest.raises(UpRefused, match="chmod 600"):
        open_data_directory(tmp_path)
    (tmp_path / "admin.token").chmod(0o600)
    (tmp_path / "master.key").write_text("abc")
    with pytest.raises(UpRefused, match="restore it"):
        open_data_directory(tmp_path)


def test_slots_share_one_port_and_wildcards_are_shown_as_loopback() -> None:
    listeners = bind_slots("0.0.0.0", 0, 3)
    try:
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        assert url_of(listeners[0]).startswith("http://127.0.0.1:")
    finally:
        for listener in listeners:
            listener.close()


def test_only_addresses_of_this_machine_alone_count_as_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com")))


def test_restart_delay_doubles_to_its_cap_and_the_first_is_short() -> None:
    assert restart_delay_s(1, 1.0) == RESTART_BASE_S
    assert restart_delay_s(2, 1.0) == 2 * RESTART_BASE_S
    assert restart_delay_s(1000, 1.0) == RESTART_CAP_S
    assert restart_delay_s(5, 0.0) == restart_delay_s(5, 1.0) / 2
    assert RESTART_CAP_S / 2 <= restart_delay_s(50) <= RESTART_CAP_S


def child(ready_ns: int | None) -> Child:
    one = Child("gateway.0", "gateway", 0, 1, 1, None, ready_ns=ready_ns)
    one.exit_status = 1
    return one


def test_failures_add_up_only_while_no_life_was_stable() -> None:
    part = Part("gateway.0", "gateway", 0, {})
    for expected in (1, 2, 3):
        part.count_failure(child(None), now_ns=10**12)
        assert part.failures == expected
    assert part.is_settled
    part.count_failure(child(10**12), now_ns=10**12 + 10**9)
    assert part.failures == 4
    part.count_failure(child(10**12), now_ns=10**12 + 3 * 10**9)
    assert part.failures == 1


def test_a_worker_that_can_start_is_started_again_within_a_second() -> None:
    worker, control = Part("gateway.0", "gateway", 0, {}), Part("control", "control", 0, {})
    for _ in range(30):
        for part in (worker, control):
            part.count_failure(child(10**12), now_ns=10**12 + 10**8)
    assert restart_delay_s(worker.failures, 1.0) < 1.0
    assert restart_delay_s(control.failures, 1.0) == RESTART_CAP_S


def test_status_lines_may_come_in_pieces_and_nonsense_changes_nothing() -> None:
    one = Child("gateway.0", "gateway", 0, 1, 1, None)
    assert not one.hear(b'{"state": "rea')
    assert one.hear(b'dy", "reason": "", "facts": {"revision": 3}}\n')
    assert (one.state, one.facts) == ("ready", {"revision": 3})
    assert not one.hear(b'{"state": "ready", "reason": "", "facts": {"revision": 3}}\n')
    assert not one.hear(b'no json\n["neither"]\n')
    assert one.state == "ready"


def test_start_ticks_tell_processes_apart() -> None:
    own = start_ticks(os.getpid())
    assert own is not None
    assert own > 0
    assert start_ticks(2**22 - 1) is None


def test_snapshot_is_absent_readable_or_refused(tmp_path: Path) -> None:
    assert read_stamp(tmp_path) is None
    (tmp_path / "CURRENT").write_text('{"epoch": 1, "revision": 7, "sections": {}}')
    assert read_current(tmp_path).revision == 7
    assert read_stamp(tmp_path) is not None
    (tmp_path / "sections").mkdir()
    for content in ('{"epoch": 1', '{"revision": 7}', '{"epoch": 1, "revision": 7, "sections": {"runtimes": "ab"}}'):
        (tmp_path / "CURRENT").write_text(content)
        with pytest.raises(SnapshotUnreadable):
            read_current(tmp_path)
    (tmp_path / "sections" / "ab").write_text("tampered")
    with pytest.raises(SnapshotUnreadable, match="digest"):
        read_current(tmp_path)


def test_text_for_a_person_names_what_is_not_answering() -> None:
    facts: dict[str, object] = {
        "gateway_url": "http://127.0.0.1:1",
        "admin_url": None,
        "console_url": None,
        "admin_token": "lca_secret",
        "keys": None,
        "degraded": ["control"],
        "warnings": ["shop.yaml was not applied"],
        "data_dir": "/d",
        "demo": False,
    }
    text = ready_text(facts)
    assert "not answering: control" in text
    assert "shop.yaml was not applied" in text
    assert "lca_secret" not in text


def test_text_for_a_person_names_the_public_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    public = config(tmp_path, ready_file=None, public_url="https://ai.example.com", public_admin_url="https://ops.test")
    facts: dict[str, object] = {
        "gateway_url": "http://127.0.0.1:1",
        "admin_url": "http://127.0.0.1:2",
        "console_url": None,
        "keys": {"test": "lc_test_x"},
        "degraded": [],
        "warnings": [],
        "data_dir": "/d",
        "demo": False,
    }
    announce(public, facts)
    text = capsys.readouterr().out
    assert "data port   https://ai.example.com\n  admin port  https://ops.test\n" in text
    assert "curl https://ai.example.com/v1/chat/completions" in text
    assert "127.0.0.1" not in text


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("lineclear.x", logging.WARNING, __file__, 1, message, None, None)
    made.__dict__.update(extra)
    return made


def test_log_lines_carry_role_and_facts_in_both_formats() -> None:
    line = json.loads(JSONLines("gateway.0").format(record("a connection\nbroke", facts={"port": 1, "level": "x"})))
    assert (line["role"], line["level"], line["message"], line["port"]) == (
        "gateway.0",
        "warning",
        "a connection\nbroke",
        1,
    )
    assert "port=1" in HumanLines("gateway.0").format(record("it broke", facts={"port": 1}))


def test_log_line_is_cut_at_its_limit_and_carries_the_traceback() -> None:
    line = json.loads(JSONLines("x").format(record("m" * (MESSAGE_CHARS_MAX + 5))))
    assert line["message"].endswith("(5 characters cut)")
    try:
        int("why")
    except ValueError:
        line = json.loads(JSONLines("x").format(record("it broke", exc_info=sys.exc_info())))
    assert "ValueError: invalid literal" in line["error"]
