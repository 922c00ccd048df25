"""A certificate authority of one test run, and the files it issues."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lineclear.base.certificate import Certificate, read_certificate
from lineclear.base.clock import SystemClock

ROOT_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lineclear test root")])


class Authority:
    """A root that signs names; its own certificate is `ca_file`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca_file = folder / "root.pem"
        self._issued = 0
        builder = self._builder(ROOT_NAME, self.key.public_key(), days=2)
        root = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).add_extension(
            x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        self.ca_file.write_bytes(root.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, days: int) -> x509.CertificateBuilder:
        now = SystemClock().now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ROOT_NAME)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
        )

    def files(self, name: str = "localhost", *, days: int = 1, is_trusted: bool = True) -> tuple[Path, Path]:
        """Certificate and key files for a name; untrusted ones are signed by a key that nobody knows."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        signer = self.key if is_trusted else ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([]), key.public_key(), days=days)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .sign(signer, hashes.SHA256())
        )
        self._issued += 1
        paths = self.folder / f"{name}-{self._issued}.crt", self.folder / f"{name}-{self._issued}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def issue(self, name: str = "localhost", *, days: int = 1, is_trusted: bool = True) -> Certificate:
        """The same, read."""
        return read_certificate(*self.files(name, days=days, is_trusted=is_trusted))
