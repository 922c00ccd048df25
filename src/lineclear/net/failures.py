"""One table from every foreign failure on the way to a target to our UpstreamError.

In: an exception of the socket, TLS, the resolver or the parser, and what had happened before it.
Out: a typed error that says whether bytes were sent. Messages name no address: callers may see them.
"""

import socket
import ssl
from typing import NamedTuple

import httptools

from lineclear.domain.errors import AttemptClass, ErrorCode, Sent, UpstreamError


class Row(NamedTuple):
    """How one foreign exception reads in our words."""

    kind: type[BaseException]
    code: ErrorCode
    phase: str
    """Empty means: the phase in which it happened."""
    message: str


FAILURES = (
    Row(ssl.SSLCertVerificationError, ErrorCode.UPSTREAM_UNREACHABLE, "tls", "the target's certificate was refused"),
    Row(ssl.SSLError, ErrorCode.UPSTREAM_UNREACHABLE, "tls", "no TLS connection to the target came about"),
    Row(socket.gaierror, ErrorCode.UPSTREAM_UNREACHABLE, "dns", "the target's name did not resolve"),
    Row(ConnectionRefusedError, ErrorCode.UPSTREAM_UNREACHABLE, "", "the target refused the connection"),
    Row(TimeoutError, ErrorCode.UPSTREAM_TIMEOUT, "", "the target did not answer in time"),
    Row(ConnectionError, ErrorCode.UPSTREAM_TRUNCATED, "", "the target broke the connection"),
    Row(httptools.HttpParserUpgrade, ErrorCode.UPSTREAM_BAD_RESPONSE, "", "the target switched protocols unasked"),
    Row(httptools.HttpParserError, ErrorCode.UPSTREAM_BAD_RESPONSE, "", "the target's answer is not HTTP/1.1"),
    Row(OSError, ErrorCode.UPSTREAM_UNREACHABLE, "", "the target could not be reached"),
)
"""Most specific first; the last row catches every socket error, so the table is complete for what a socket raises."""


def upstream_failure(error: BaseException, *, sent: Sent, phase: str) -> UpstreamError:
    """The foreign error in our words; `phase` is where it happened.

    Raises:
        TypeError: for an exception that is none of the outside's, which is a defect of ours.
    """
    for row in FAILURES:
        if isinstance(error, row.kind):
            # Where nothing was sent, nothing can have been truncated.
            is_early = sent is Sent.NO and row.code is ErrorCode.UPSTREAM_TRUNCATED
            code = ErrorCode.UPSTREAM_UNREACHABLE if is_early else row.code
            return broken(code, row.message, sent=sent, phase=row.phase or phase)
    raise TypeError(f"{type(error).__name__} is no failure of a target") from error


def broken(code: ErrorCode, message: str, *, sent: Sent, phase: str) -> UpstreamError:
    """A failed try: nothing sent may be tried again anywhere, anything sent may have had its effect."""
    attempt_class = AttemptClass.NOT_SENT if sent is Sent.NO else AttemptClass.AMBIGUOUS
    return UpstreamError(code, message, attempt_class=attempt_class, sent=sent, phase=phase)
