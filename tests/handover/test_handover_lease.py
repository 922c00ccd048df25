"""The lease: only what is renewed after a reader began is a sign of life."""

import os
from pathlib import Path

import pytest

from lineclear.handover.lease import LeaseReader, LeaseWriter, lease_path


def renew_later(path: Path, seconds: int) -> None:
    """Renewed, with a time of its own: two touches may fall into one tick of the file system's clock."""
    LeaseWriter(path).renew()
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 1_000_000_000))


def test_each_renewal_is_seen_once(tmp_path: Path) -> None:
    path = lease_path(tmp_path)
    reader = LeaseReader(path)
    assert not reader.is_renewed()
    renew_later(path, 1)
    assert reader.is_renewed()
    assert not reader.is_renewed()
    renew_later(path, 2)
    assert reader.is_renewed()


def test_what_stood_there_before_is_no_sign_of_life(tmp_path: Path) -> None:
    path = lease_path(tmp_path)
    renew_later(path, 1)
    reader = LeaseReader(path)
    assert not reader.is_renewed()
    renew_later(path, 2)
    assert reader.is_renewed()


def test_a_lease_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "snapshot").write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        LeaseWriter(lease_path(tmp_path)).renew()
