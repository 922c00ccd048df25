"""A certificate with its key, as our own ports show it: read, checked, loaded, and told apart from others.

In: two PEM files. Out: a frozen value that processes hand each other in memory; it is never written to a file again.
Standard library only, since the supervisor checks it before any child sees it.
"""

import hashlib
import os
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

PEM_BYTES_MAX = 64 * 1024
"""Either file: several times a long chain, and both together fit a socket's buffer on their way to a child."""
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _VERSION = 0x17, 0x18, 0x30, 0xA0


class CertificateUnusable(Exception):
    """These files are no certificate with its key; the message says which is at fault and what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain, leaf first, and the leaf's private key."""

    chain_pem: str
    key_pem: str = field(repr=False)

    @property
    def leaf_pem(self) -> str:
        """The first certificate of the chain alone; public."""
        found = _BLOCK.search(self.chain_pem)
        return "" if found is None else found.group() + "\n"

    @property
    def sha256(self) -> str:
        """Fingerprint of the leaf, 64 hex digits; what `openssl x509 -fingerprint -sha256` shows."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.leaf_pem)).hexdigest()

    @property
    def expires_at(self) -> datetime:
        """End of the leaf's validity, UTC."""
        return _expiry(ssl.PEM_cert_to_DER_cert(self.leaf_pem))

    def facts(self) -> dict[str, object]:
        """What status says of it."""
        return {"sha256": self.sha256, "expires_at": self.expires_at.isoformat()}

    def load_into(self, context: ssl.SSLContext) -> None:
        """Makes a server's context show this certificate.

        Raises:
            ssl.SSLError: the two do not belong together, are too weak, or the key is encrypted.
        """
        # The library loads from files only, and the key is not to touch a disk on the way.
        carrier = os.memfd_create("lineclear-certificate", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(carrier), "w", encoding="ascii") as file:
                file.write(f"{self.chain_pem}\n{self.key_pem}\n")
            # An empty password instead of none: else the library asks for one at the terminal.
            context.load_cert_chain(f"/proc/self/fd/{carrier}", password=lambda: "")
        finally:
            os.close(carrier)


def read_certificate(chain_file: Path, key_file: Path) -> Certificate:
    """The certificate of two files, proved to work together.

    Raises:
        CertificateUnusable: they do not.
    """
    certificate = Certificate(_read(chain_file), _read(key_file))
    if not certificate.leaf_pem:
        raise CertificateUnusable(f"{chain_file} holds no certificate in PEM form (BEGIN CERTIFICATE)")
    if "PRIVATE KEY-----" not in certificate.key_pem:
        raise CertificateUnusable(f"{key_file} holds no private key in PEM form (BEGIN PRIVATE KEY)")
    if "ENCRYPTED" in certificate.key_pem:
        raise CertificateUnusable(f"the key in {key_file} is encrypted; give one without a password (openssl pkey)")
    try:
        certificate.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        _ = certificate.expires_at
    except (ssl.SSLError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else str(error)
        raise CertificateUnusable(f"{chain_file} and {key_file} are no usable pair: {reason}") from error
    return certificate


def pinned_context(leaf_pem: str) -> ssl.SSLContext:
    """For a client that knows which certificate the server has: that one is accepted, under any name, and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=leaf_pem)
    return context


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise CertificateUnusable(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > PEM_BYTES_MAX:
        raise CertificateUnusable(f"{path} is larger than {PEM_BYTES_MAX} bytes and so no PEM file of ours")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise CertificateUnusable(f"{path} is not in PEM form, which is plain text") from error


def _expiry(der: bytes) -> datetime:
    """The field notAfter. Source: RFC 5280 §4.1; X.690 §8.1 for the encoding.

    Raises:
        ValueError: this is no certificate.
    """
    _, start, _ = _element(der, 0)
    kind, at, end = _element(der, start)
    kind, _, after = _element(der, at)
    at = after if kind == _VERSION else at
    # serial number, signature algorithm, issuer
    for _ in range(3):
        _, _, at = _element(der, at)
    kind, at, end = _element(der, at)
    if kind != _SEQUENCE or end > len(der):
        raise ValueError("a certificate without a validity")
    _, _, at = _element(der, at)
    kind, start, end = _element(der, at)
    form = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(kind)
    if form is None:
        raise ValueError("a certificate without an end")
    return datetime.strptime(der[start:end].decode("ascii"), form).replace(tzinfo=UTC)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the element at `at`."""
    if at + 2 > len(der):
        raise ValueError("a certificate that ends early")
    first = der[at + 1]
    if first < 0x80:
        return der[at], at + 2, at + 2 + first
    start = at + 2 + (first & 0x7F)
    return der[at], start, start + int.from_bytes(der[at + 2 : start], "big")
