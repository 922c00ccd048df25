"""The life protocol over a real socketpair."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from lineclear.base.log import LogChoice
from lineclear.compose.life import Boot, Life, life_fd, read_boot


def boot() -> Boot:
    return Boot(
        role="gateway",
        data_dir=Path("/data"),
        run_dir=Path("/data/run"),
        node="local",
        boot_id="ab12",
        slot=1,
        life=3,
        listen_fds=(7, 8),
        master_key=bytes(range(32)),
        log=LogChoice("human", "debug"),
        workers=2,
        options={"drain_s": 5},
    )


def test_boot_message_arrives_as_it_was_sent_and_leaves_the_socket_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        line = boot().to_line()
        ours.sendall(line[:10])
        ours.sendall(line[10:])
        read = read_boot(theirs.fileno())
        assert read == boot()
        assert json.loads(ours.recv(4096))["state"] == "waiting"
        assert read.source == "local-ab12-1-3"
        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"


def test_boot_does_not_print_the_master_key() -> None:
    assert bytes(range(32)).hex() not in repr(boot())
    assert "master_key" not in repr(boot())


def test_boot_message_with_unknown_or_missing_field_is_refused() -> None:
    message = json.loads(boot().to_line())
    with pytest.raises(ValueError, match="does not fit"):
        Boot.from_line(json.dumps({**message, "surprise": 1}).encode())
    del message["slot"]
    with pytest.raises(ValueError, match="slot"):
        Boot.from_line(json.dumps(message).encode())


def test_supervisor_gone_before_the_boot_message() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(SystemExit):
            read_boot(theirs.fileno())


def test_reports_arrive_as_lines_and_end_of_file_is_seen() -> None:
    ours, theirs = socket.socketpair()
    life = Life(theirs.detach())

    async def child() -> None:
        life.report("starting")
        life.report("ready", "all good", {"revision": 4})
        waiting = asyncio.create_task(life.wait_eof())
        await asyncio.sleep(0)
        assert not waiting.done()
        ours.shutdown(socket.SHUT_WR)
        await waiting
        # The way out stays open after the end of file came in: a draining process can still say so.
        life.report("draining")

    with ours:
        asyncio.run(child())
        life.close()
        lines = [json.loads(line) for line in ours.makefile("rb")]
    assert [line["state"] for line in lines] == ["starting", "ready", "draining"]
    assert lines[1] == {"state": "ready", "reason": "all good", "facts": {"revision": 4}}


def test_report_to_a_dead_supervisor_is_counted_not_raised() -> None:
    ours, theirs = socket.socketpair()
    life = Life(theirs.detach())
    ours.close()
    life.report("ready")
    assert life.reports_dropped == 1
    life.close()


def test_report_never_blocks_when_nobody_reads() -> None:
    ours, theirs = socket.socketpair()
    life = Life(theirs.detach())
    with ours:
        for _ in range(5000):
            life.report("ready", "x" * 200)
        assert life.reports_dropped > 0
        life.close()
        received = b""
        while part := ours.recv(1 << 16):
            received += part
    assert all(json.loads(line)["state"] == "ready" for line in received.splitlines())


def test_role_started_by_hand_says_so() -> None:
    assert life_fd(["--life-fd", "9"]) == 9
    with pytest.raises(SystemExit, match="lineclear up"):
        life_fd([])
