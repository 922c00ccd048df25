"""The table of foreign failures is complete for what sockets, TLS and the parser raise."""

import socket
import ssl

import httptools
import pytest

from lineclear.domain.errors import AttemptClass, ErrorCode, Sent
from lineclear.net.failures import FAILURES, upstream_failure


def subclasses(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


FOREIGN = sorted(
    {
        *subclasses(ConnectionError),
        *subclasses(ssl.SSLError),
        *subclasses(httptools.HttpParserError),
        socket.gaierror,
        TimeoutError,
        OSError,
    },
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("sent", [Sent.NO, Sent.YES])
@pytest.mark.parametrize("kind", FOREIGN)
def test_every_foreign_failure_has_our_words(kind: type[BaseException], sent: Sent) -> None:
    error = kind.__new__(kind)
    found = upstream_failure(error, sent=sent, phase="head")
    assert found.code.value.startswith("upstream_")
    assert found.sent is sent
    assert found.attempt_class is (AttemptClass.NOT_SENT if sent is Sent.NO else AttemptClass.AMBIGUOUS)
    assert not (sent is Sent.NO and found.code is ErrorCode.UPSTREAM_TRUNCATED)


def test_no_row_hides_a_later_one() -> None:
    for number, row in enumerate(FAILURES):
        assert not any(issubclass(row.kind, earlier.kind) for earlier in FAILURES[:number]), row.kind


def test_a_defect_of_ours_is_not_blamed_on_a_target() -> None:
    with pytest.raises(TypeError):
        upstream_failure(KeyError("ours"), sent=Sent.NO, phase="connect")
