"""TLS on both ports of a real platform: who may connect and how, and certificates that change under load."""

import hashlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from lineclear.base.certificate import pinned_context
from lineclear.testing.authority import Authority
from lineclear.testing.platform import Platform

CALLERS = 4


class Encrypted:
    """A platform with TLS, and the files its certificate lies in."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.authority = Authority(folder)
        self.cert, self.key = folder / "shown.crt", folder / "shown.key"
        self.install(*self.authority.files())
        arguments = ["--tls-cert", str(self.cert), "--tls-key", str(self.key)]
        self.platform = Platform(folder, workers=2, environment=environment, arguments=arguments)

    def install(self, cert: Path, key: Path) -> str:
        """Puts a pair in place; its fingerprint."""
        shutil.copy(cert, self.cert)
        shutil.copy(key, self.key)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).hexdigest()

    def port(self, door: str) -> int:
        url = self.platform.gateway_url if door == "data" else self.platform.admin_url
        return int(urlsplit(url).port or 0)

    def shown(self, door: str) -> str:
        """Fingerprint of what a new connection is shown."""
        pem = ssl.get_server_certificate(("127.0.0.1", self.port(door)))
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def processes(self) -> dict[str, Any]:
        done = self.platform.cli("status", "-o", "json")
        # Control is away for a moment after each SIGHUP.
        return dict(json.loads(done.stdout)["processes"]) if done.returncode == 0 else {}

    def in_force(self) -> set[str]:
        """Fingerprints that the processes with a port say they show."""
        parts = [part for part in self.processes().get("parts", ()) if part["role"] in ("gateway", "control")]
        return {part["facts"].get("certificate", {}).get("sha256", "") for part in parts}

    def reload_good(self) -> None:
        """Shows a certificate for this machine's own names again."""
        sha256 = self.install(*self.authority.files())
        self.reload()
        self.wait_until_shown(sha256)

    def says(self, words: str) -> bool:
        """Whether status says so of the certificate."""
        return words in str(self.processes().get("certificate"))

    def reload(self) -> None:
        os.kill(self.platform.pid, signal.SIGHUP)

    def wait_until_shown(self, sha256: str) -> None:
        self.platform.wait_for(lambda: self.in_force() == {sha256}, f"certificate {sha256} everywhere")

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.ca_file))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Encrypted]:
    found = Encrypted(tmp_path_factory.mktemp("tls"), child_environment)
    with found.platform:
        yield found


def handshake(encrypted: Encrypted, door: str, *options: str) -> str:
    """What openssl's own client says about a connection."""
    done = subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"127.0.0.1:{encrypted.port(door)}", "-servername", "localhost"),
            *("-CAfile", str(encrypted.authority.ca_file), "-verify_hostname", "localhost", *options),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("door", ["data", "admin"])
def test_openssl_is_shown_the_certificate_and_spoken_to_in_tls_1_2_or_1_3(encrypted: Encrypted, door: str) -> None:
    for version, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
        said = handshake(encrypted, door, version, "-alpn", "h2,http/1.1")
        assert "Verify return code: 0 (ok)" in said
        assert name in said
        assert "ALPN protocol: http/1.1" in said
    said = handshake(encrypted, door, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in said


def test_the_openai_sdk_calls_with_our_authority_and_not_without(encrypted: Encrypted) -> None:
    base, key = f"https://localhost:{encrypted.port('data')}/v1", encrypted.platform.keys["test"]
    message: Any = [{"role": "user", "content": "hello"}]
    with openai.OpenAI(base_url=base, api_key=key, http_client=httpx2.Client(verify=encrypted.trusting())) as client:
        answer = client.chat.completions.create(model="simulated", messages=message)
        assert answer.choices[0].message.content
        events = list(client.chat.completions.create(model="simulated", messages=message, stream=True))
        assert events[-1].choices[0].finish_reason == "stop"
    with openai.OpenAI(base_url=base, api_key=key, max_retries=0) as client, pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="simulated", messages=message)


def test_the_command_line_trusts_the_data_directory_or_an_authority_and_nobody_else(encrypted: Encrypted) -> None:
    platform = encrypted.platform
    assert platform.cli("status").returncode == 0
    elsewhere = ["status", "--url", f"https://localhost:{encrypted.port('admin')}"]
    refused = platform.cli(*elsewhere)
    assert refused.returncode == 9
    assert "certificate" in refused.stderr.lower()
    assert platform.cli(*elsewhere, "--ca", str(encrypted.authority.ca_file)).returncode == 0
    unreadable = platform.cli(*elsewhere, "--ca", str(encrypted.key))
    assert (unreadable.returncode, "holds no certificate in PEM" in unreadable.stderr) == (2, True)


def test_a_signed_in_browser_gets_a_cookie_for_tls_only(encrypted: Encrypted) -> None:
    url = urlsplit(encrypted.platform.facts["console_url"])
    connection = http.client.HTTPSConnection("localhost", url.port, context=encrypted.trusting(), timeout=20)
    connection.request("GET", f"{url.path}?{url.query}")
    response = connection.getresponse()
    page = response.read().decode()
    if response.status == 200:  # a page whose button signs in
        token = url.query.partition("token=")[2]
        head = {"content-type": "application/x-www-form-urlencoded", "origin": f"https://localhost:{url.port}"}
        connection.request("POST", url.path, f"token={token}", head)
        response = connection.getresponse()
        page = response.read().decode()
    connection.close()
    cookie = response.getheader("set-cookie", "")
    assert "secure" in cookie.lower(), page
    assert "httponly" in cookie.lower()


def test_control_s_own_test_message_goes_over_tls_whatever_name_the_certificate_bears(encrypted: Encrypted) -> None:
    sha256 = encrypted.install(*encrypted.authority.files("elsewhere.example"))
    encrypted.reload()
    encrypted.wait_until_shown(sha256)
    port, context = encrypted.port("admin"), pinned_context(encrypted.cert.read_text())
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    head = {"authorization": f"Bearer {encrypted.platform.facts['admin_token']}", "content-type": "application/json"}
    connection.request("POST", "/api/v1/test-messages", json.dumps({"route": "simulated"}), head)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["status"] == 200, answer
    encrypted.reload_good()


class Callers:
    """Threads that call over a new connection each time, until they are told to stop."""

    def __init__(self, encrypted: Encrypted) -> None:
        self.failures: list[str] = []
        self.answered = 0
        self._encrypted = encrypted
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def has_answered(self, calls: int) -> bool:
        return self.answered >= calls

    def _call(self) -> None:
        context = self._encrypted.trusting()
        port, key = self._encrypted.port("data"), self._encrypted.platform.keys["test"]
        body = '{"model": "simulated", "messages": [{"role": "user", "content": "hello"}]}'
        head = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        while not self._is_over.is_set():
            connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)
            try:
                connection.request("POST", "/v1/chat/completions", body, head)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failures.append(str(response.status))
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()


def test_certificates_change_under_load_without_one_failed_request(encrypted: Encrypted) -> None:
    with Callers(encrypted) as callers:
        for days in (1, 2):
            goal = callers.answered + 20
            sha256 = encrypted.install(*encrypted.authority.files(days=days))
            encrypted.reload()
            encrypted.wait_until_shown(sha256)
            assert {encrypted.shown("data"), encrypted.shown("admin")} == {sha256}
            encrypted.platform.wait_for(partial(callers.has_answered, goal), "calls after the change")
    assert callers.failures == []


def test_a_pair_that_cannot_be_used_changes_nothing_and_is_told(encrypted: Encrypted) -> None:
    platform = encrypted.platform
    good = encrypted.shown("data")
    other_key = encrypted.authority.files()[1]
    expired = encrypted.authority.files(days=-1)
    for break_it, words in (
        (lambda: shutil.copy(other_key, encrypted.key), "no usable pair"),
        (lambda: encrypted.cert.write_text("no certificate"), "no certificate in PEM form"),
        (encrypted.key.unlink, "cannot be read"),
        (lambda: encrypted.install(*expired), "expired on"),
    ):
        break_it()
        encrypted.reload()
        platform.wait_for(partial(encrypted.says, words), words)
        assert encrypted.processes()["certificate"]["sha256"] == good
        assert {encrypted.shown("data"), encrypted.shown("admin")} == {good}
    assert "stays in force" in platform.log_tail()
    findings = json.loads(platform.cli("doctor", "-o", "json").stdout)["findings"]
    told = [(found["level"], found["what"]) for found in findings if found["check"] == "certificate"]
    assert [level for level, _ in told] == ["failure", "warning"]
    assert "expired on" in told[0][1]
    # Who starts now is given the pair in force, not what lies in the files; a supervisor that becomes another program
    # keeps it as well.
    old = platform.kill("gateway")
    platform.wait_for(lambda: old not in platform.processes("gateway"), "the gateway's end")
    encrypted.wait_until_shown(good)
    restarted = platform.cli("restart")
    assert restarted.returncode == 0, restarted.stderr
    encrypted.wait_until_shown(good)
    assert "expired on" in encrypted.processes()["certificate"]["error"]
    sha256 = encrypted.install(*encrypted.authority.files())
    encrypted.reload()
    encrypted.wait_until_shown(sha256)
    assert encrypted.processes()["certificate"]["error"] == ""
