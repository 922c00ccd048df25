"""Which certificate the ports show, and whether the one that lies in the files now may take its place.

In: the two files of the configuration. Out: the certificate in force, or why another one is not. Standard library and
base only. It must not hand it to anyone: the supervisor does.
"""

import logging

from lineclear.base.certificate import Certificate
from lineclear.base.clock import Clock
from lineclear.compose.datadir import UpRefused
from lineclear.compose.up import UpConfig, configured_certificate

log = logging.getLogger("lineclear.supervisor")

EXPIRY_LOOK_S = 6 * 3600.0
EXPIRY_DAYS = 14
"""A certificate that ends within so many days is warned of at the start and at each look."""


class Certificates:
    """The one in force, all or nothing."""

    def __init__(self, config: UpConfig, certificate: Certificate | None, clock: Clock) -> None:
        self.in_force = certificate
        """None = the ports speak without TLS, and no reload changes that."""
        self.error = ""
        """Why the pair in the files is not the one in force; empty if it is."""
        self._config = config
        self._clock = clock

    def reload(self) -> bool:
        """Reads the files; False if what lies there cannot be used, and then everything stays as it is."""
        before = self.in_force
        if before is None:
            return False
        try:
            after = configured_certificate(self._config) or before
            self._demand_valid(after)
        except UpRefused as refusal:
            self.error = f"{refusal}; the certificate before it stays in force"
            log.error(self.error, extra={"facts": before.facts()})  # noqa: TRY400 - a refusal in words
            return False
        self.in_force, self.error = after, ""
        log.info("the certificate was read anew", extra={"facts": after.facts()})
        return True

    def warn_of_expiry(self) -> None:
        """A line in the log if the end is near."""
        if self.in_force is not None and (self.in_force.expires_at - self._clock.now()).days < EXPIRY_DAYS:
            log.warning("the certificate ends soon or has ended", extra={"facts": self.in_force.facts()})

    def view(self) -> dict[str, object] | None:
        """What status says of TLS; None = there is none."""
        return None if self.in_force is None else {**self.in_force.facts(), "error": self.error}

    def _demand_valid(self, certificate: Certificate) -> None:
        if certificate.expires_at <= self._clock.now():
            path = self._config.tls_cert
            raise UpRefused(f"--tls-cert: the certificate in {path} expired on {certificate.expires_at:%Y-%m-%d}")
