"""A certificate with its key: what is read of it, what is refused, and who is trusted by it."""

import ssl
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from lineclear.base.certificate import PEM_BYTES_MAX, Certificate, CertificateUnusable, pinned_context, read_certificate
from lineclear.base.clock import SystemClock
from lineclear.testing.authority import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.parametrize("days", [-1, 1, 9000, 40000])
def test_end_and_fingerprint_are_what_another_reader_finds(authority: Authority, days: int) -> None:
    """9000 days are in 2051, where the encoding of the year changes."""
    cert, key = authority.files(days=days)
    found, expected = read_certificate(cert, key), x509.load_pem_x509_certificate(cert.read_bytes())
    assert found.expires_at == expected.not_valid_after_utc
    assert found.sha256 == expected.fingerprint(hashes.SHA256()).hex()
    assert abs(found.expires_at - SystemClock().now() - timedelta(days=days)) < timedelta(minutes=5)


def test_a_chain_is_taken_whole_and_its_leaf_is_the_first(authority: Authority) -> None:
    cert, key = authority.files()
    leaf = cert.read_text()
    cert.write_text(f"# our names\n{leaf}{authority.ca_file.read_text()}")
    found = read_certificate(cert, key)
    assert found.leaf_pem == leaf
    assert "PRIVATE" not in repr(found)


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_every_usual_kind_of_key_serves(tmp_path: Path, kind: str) -> None:
    cert, key = tmp_path / "a.crt", tmp_path / "a.key"
    new = ["rsa:2048"] if kind == "rsa" else ["ed25519"]
    openssl("req", "-x509", "-newkey", *new, "-nodes", "-keyout", key, "-out", cert, "-days", "3", "-subj", "/CN=a")
    assert (read_certificate(cert, key).expires_at - SystemClock().now()).days == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("other key", "no usable pair"),
        ("no file", "cannot be read"),
        ("key for certificate", "no certificate in PEM form"),
        ("certificate for key", "no private key in PEM form"),
        ("encrypted", "without a password"),
        ("encrypted in the old form", "without a password"),
        ("binary", "plain text"),
        ("large", "no PEM file of ours"),
        ("torn", "no usable pair"),
    ],
)
def test_refusals_name_the_file_and_what_to_do(authority: Authority, fault: str, words: str) -> None:
    cert, key = authority.files()
    other_cert, other_key = authority.files("other.example")
    match fault:
        case "other key":
            key = other_key
        case "no file":
            key.unlink()
        case "key for certificate":
            cert = other_key
        case "certificate for key":
            key = other_cert
        case "encrypted":
            openssl("pkcs8", "-topk8", "-in", key, "-out", other_key, "-passout", "pass:secret")
            key = other_key
        case "encrypted in the old form":
            openssl("ec", "-in", key, "-out", other_key, "-aes128", "-passout", "pass:secret")
            key = other_key
        case "binary":
            openssl("x509", "-in", cert, "-outform", "DER", "-out", other_cert)
            cert = other_cert
        case "large":
            cert.write_text("x" * (PEM_BYTES_MAX + 1))
        case _:
            lines = cert.read_text().splitlines()
            cert.write_text("\n".join([*lines[:3], lines[-1]]))
    with pytest.raises(CertificateUnusable, match=words) as refused:
        read_certificate(cert, key)
    assert str(authority.folder) in str(refused.value)


def handshake(server: Certificate, client: ssl.SSLContext) -> None:
    """A whole handshake in memory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_into(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="anything.example")
    theirs = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_a_pinned_certificate_is_trusted_under_any_name_and_no_other_one_is(authority: Authority) -> None:
    pinned, other = authority.issue(), authority.issue()
    client = pinned_context(pinned.leaf_pem)
    handshake(pinned, client)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(other, client)


def test_an_expired_certificate_is_not_trusted_even_if_pinned(authority: Authority) -> None:
    expired = authority.issue(days=-1)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(expired, pinned_context(expired.leaf_pem))
