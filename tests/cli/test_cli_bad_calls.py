"""Calls that cannot be carried out: each ends with words and an exit code, none with a traceback or a token."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineclear.cli.defect import show_defect
from lineclear.cli.output import ExitCode

TOKEN = "lca_local-admin-token-0123456789"
NO_TEXT = "\udcff"
"""A byte that is no UTF-8, as Python takes it from a command line."""
LONG_LABEL = "a" * 70
USAGE, FAILURE = int(ExitCode.USAGE), int(ExitCode.FAILURE)

CALLS: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("status", "--url", "http://[::1"), USAGE, "is no address of an admin port"),
    (("status", "--url", "http://127.0.0.1:99999"), USAGE, "is no address of an admin port"),
    (("status", "--url", "ftp://127.0.0.1:4101"), USAGE, "is no address of an admin port"),
    (("status", "--url", "http://two words"), USAGE, "is no address of an admin port"),
    (("status", "--url", "http://127.0.0.1:4101/a b"), USAGE, "is no address of an admin port"),
    (("status", "--url", f"http://{LONG_LABEL}.example"), USAGE, "is no address of an admin port"),
    (("status", "--url", f"http://{NO_TEXT}"), USAGE, "is no address of an admin port"),
    (("doctor", "--url", "http://127.0.0.1:99999"), USAGE, "is no address of an admin port"),
    (("status", "--token", f"{TOKEN}\nx"), USAGE, "the admin token cannot be sent"),
    (("doctor", "--url", "http://127.0.0.1:9", "--token", f"{TOKEN} x"), USAGE, "the admin token cannot be sent"),
    (("status", "--token", NO_TEXT), USAGE, "the admin token cannot be sent"),
    (("status", "--ca", "no-pem"), USAGE, "it holds no certificate in PEM"),
    (("status", "--ca", "nowhere"), USAGE, "No such file"),
    (("explain", ""), USAGE, "neither a name nor an id"),
    (("explain", "a b/../c"), USAGE, "neither a name nor an id"),
    (("explain", NO_TEXT), USAGE, "neither a name nor an id"),
    (("keys", "revoke", ""), USAGE, "neither a name nor an id"),
    (("providers", "test", ".."), USAGE, "neither a name nor an id"),
    (("usage", "--since", NO_TEXT), USAGE, "is no text in UTF-8"),
    (("plan", "-f", NO_TEXT), USAGE, "does not exist"),
    (("plan", "-f", "team.yaml", "--out", "/nonexistent/x"), FAILURE, "/nonexistent/x cannot be written"),
    (("doctor", "--bundle", "/nonexistent/x"), FAILURE, "/nonexistent/x cannot be written"),
    (("init", "/proc/nowhere"), FAILURE, "cannot be written"),
    (("down", "--data", "/dev/null"), 0, "nothing runs in /dev/null"),
    (("restart", "--data", "/dev/null"), int(ExitCode.UNAVAILABLE), "nothing runs in /dev/null"),
    (("up", "--ready-file", "/"), FAILURE, "is a directory"),
    (("up", "--data", "/proc/nowhere"), FAILURE, "cannot be used"),
    (("demo", "--data", "/proc/nowhere"), int(ExitCode.CONFLICT), "cannot be used"),
    ((NO_TEXT,), USAGE, "No such command"),
    (("--url", "http://127.0.0.1:9", "status"), USAGE, "follow the command they belong to: lineclear status … --url …"),
    (("--oops", "status"), USAGE, "follow the command they belong to"),
    (("--oops",), USAGE, "No such option"),
)
"""Words, exit code, and what is said."""


class PlanServer(http.server.BaseHTTPRequestHandler):
    """Answers every question with a plan of nothing, which is no answer to most of them."""

    def do_GET(self) -> None:
        self._answer(b'["not what was asked for"]')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        lists = b'"objects":[],"releases":[],"credentials":[],"drift":[],"warnings":[],'
        self._answer(b"{" + lists + b'"has_changes":false,"digest":"d","base_revision":1}')

    def log_message(self, *_arguments: object) -> None:
        """Nobody reads it."""

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to type in, with the data directory of a server in it."""
    folder = tmp_path_factory.mktemp("calls")
    (folder / "data").mkdir()
    (folder / "data" / "admin.token").write_text(TOKEN + "\n")
    (folder / "no-pem").write_text("no certificate")
    (folder / "team.yaml").write_text("kind: Team\nname: a\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PlanServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (folder / "data" / "up.json").write_text(f'{{"admin_url": "http://127.0.0.1:{server.server_port}"}}')
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def call(place: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LINECLEAR_")}
    environment = {**kept, "LINECLEAR_DATA": str(place / "data"), **more}
    command = [sys.executable, "-m", "lineclear", *words]
    return subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=place, env=environment, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("words", "code", "said"), CALLS, ids=[repr(" ".join(words)) for words, *_ in CALLS])
def test_a_call_that_cannot_be_carried_out_says_why(place: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = call(place, *words)
    assert said in done.stderr
    assert (done.returncode, "Traceback" in done.stderr, TOKEN in done.stdout + done.stderr) == (code, False, False)


def test_what_no_command_foresaw_is_one_line_with_the_next_command(place: Path) -> None:
    done = call(place, "status")
    head, hint = done.stderr.splitlines()
    assert done.returncode == FAILURE
    assert head.startswith("error: TypeError at cli/status.py:")
    assert "lineclear doctor --bundle FILE" in hint
    as_json = call(place, "status", "-o", "json")
    assert (as_json.returncode, '"code": "defect"' in as_json.stderr) == (FAILURE, True)
    shown = call(place, "status", LINECLEAR_DEBUG="1")
    assert "Traceback" in shown.stderr
    assert TOKEN not in shown.stderr


def test_a_defect_never_shows_a_token(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINECLEAR_DEBUG", "1")
    monkeypatch.setenv("LINECLEAR_TOKEN", "from-the-environment")
    typed = "typed\nhere"
    words = ["status", "--token", typed, "--url=x"]
    error = ValueError(f"{words} {typed.encode()!r} from-the-environment {TOKEN} lc_test_0123456789abcdef")
    assert show_defect(error, words) is ExitCode.FAILURE
    said = capfd.readouterr().err
    assert said.count("***") >= 8
    for secret in ("typed", "from-the-environment", "local-admin", "0123456789abcdef"):
        assert secret not in said


def test_the_token_of_a_data_directory_goes_to_its_own_server_alone(place: Path) -> None:
    port = (place / "data" / "up.json").read_text().rpartition(":")[2].rstrip('"}')
    for url in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        done = call(place, "plan", "-f", "team.yaml", "--url", url)
        assert (done.returncode, done.stderr) == (0, "")
    # An address of this machine where somebody answers, and neither host nor port is the directory's own.
    foreign = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PlanServer)
    threading.Thread(target=foreign.serve_forever, daemon=True).start()
    for url in (f"http://127.0.0.1:{foreign.server_port}", f"http://127.0.0.1:{foreign.server_port}/"):
        for given in ({"LINECLEAR_URL": url}, {}):
            words = ("status",) if given else ("status", "--url", url)
            done = call(place, *words, **given)
            assert (done.returncode, f"no admin token for {url}" in done.stderr) == (ExitCode.NOT_AUTHORISED, True)
            assert "give --token" in done.stderr
        looked = call(place, "doctor", "--url", url)
        assert f"✗ control: no admin token for {url}" in looked.stdout
    foreign.shutdown()
    foreign.server_close()
    for token in ((), ("--token", "t")):
        named = call(place, "status", "--url", "http://127.0.0.1:9", *token)
        assert (named.returncode, "no answer from http://127.0.0.1:9" in named.stderr) == (ExitCode.UNAVAILABLE, True)


def test_where_no_server_has_run_the_command_says_so(place: Path, tmp_path: Path) -> None:
    done = call(place, "status", "--data", str(tmp_path / "new"), "-o", "json")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"]) == (ExitCode.UNAVAILABLE, "unreachable")
    assert "no server has run in" in error["message"]
    assert "lineclear up" in error["hint"]
    held = call(place, "rollback", "x", "-e", "prod", "--data", str(tmp_path / "new"))
    assert (held.returncode, "no server has run in" in held.stderr) == (ExitCode.UNAVAILABLE, True)


class OtherServer(PlanServer):
    """A data port or a page of the console: it answers, and not as the admin API does."""

    def do_GET(self) -> None:
        is_page = self.path.startswith("/console")
        kind = "text/html; charset=utf-8" if is_page else "application/json"
        body = b"<p>Sign in</p>" if is_page else b'{"error": {"message": "no such path", "code": "not_found"}}'
        self.send_response(502 if self.path.startswith("/away") else 200 if is_page else 404)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_an_address_that_is_no_admin_port_is_called_that(place: Path) -> None:
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherServer)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    url = f"127.0.0.1:{other.server_port}"
    try:
        for path, code in (("", ExitCode.USAGE), ("/console", ExitCode.USAGE), ("/away", ExitCode.UNAVAILABLE)):
            done = call(place, "status", "--url", f"http://{url}{path}", "--token", "t", "-o", "json")
            error = json.loads(done.stderr)["error"]
            assert (done.returncode, error["code"]) == (code, "invalid_answer"), path
            assert f"http://{url}{path} is no admin port" in error["message"]
            assert "--url and LINECLEAR_URL take the address of the admin port" in error["hint"]
        secured = call(place, "status", "--url", f"https://{url}", "--token", "t")
        assert (secured.returncode, "WRONG_VERSION" in secured.stderr) == (ExitCode.UNAVAILABLE, False)
        assert "it does not speak TLS there; give the address with http://" in secured.stderr
    finally:
        other.shutdown()
        other.server_close()


def test_nobody_gets_the_token_while_no_server_of_the_directory_runs(place: Path, tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text(TOKEN + "\n")
    done = call(place, "status", "--data", str(tmp_path))
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "is running" in done.stderr
    assert "lineclear up" in done.stderr


def test_mistakes_in_manifests_end_up_before_anything_starts(place: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("kind: Team\nname: A\noops: 1\n---\nb: [\n")
    done = call(place, "up", "-f", str(tmp_path / "bad.yaml"), "--data", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (FAILURE, "")
    head, *found = done.stderr.splitlines()
    assert head == f"error: {len(found)} mistakes in the manifests"
    assert [line.split(":")[1:3] for line in found] == [["2", "7"], ["3", "1"], ["6", "1"]]
    assert not (tmp_path / "new").exists()


def test_mistakes_that_only_the_server_finds_are_its_last_words(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("kind: App\nname: a\nteam: nobody\n---\nkind: App\nname: b\nteam: none\n")
    ports = ("--port", "0", "--admin-port", "0", "--workers", "1")
    done = call(place, "up", "-f", str(path), "--data", str(tmp_path / "new"), *ports)
    assert done.returncode == FAILURE
    assert done.stderr.splitlines()[-4:] == [
        "lineclear: control could not start: 2 mistakes in the manifests",
        f"  {path}:3:7: there is no team 'nobody'",
        f"  {path}:7:7: there is no team 'none'",
        "  nothing was changed",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LINECLEAR_PORT", "abc", "Invalid value for LINECLEAR_PORT: 'abc' is not a valid port number."),
        ("PORT", "abc", "Invalid value for PORT: 'abc' is not a valid port number."),
        ("LINECLEAR_WORKERS", "0", "Invalid value for LINECLEAR_WORKERS: 0 is not in the range"),
    ],
)
def test_a_wrong_variable_is_called_by_its_name(place: Path, name: str, value: str, said: str) -> None:
    done = call(place, "up", **{name: value})
    assert (done.returncode, said in done.stderr) == (USAGE, True), done.stderr
    option = call(place, "up", "--port", "abc", **{name: value})
    assert "Invalid value for '--port': 'abc' is not a valid port number." in option.stderr
