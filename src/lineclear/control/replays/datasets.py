"""Datasets: kept by name and digest, sealed, each version for good until it is removed.

In: bytes that a person gives. Out: versions and cases. Every version belongs to the team that first used the name.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Publisher, read_desired
from lineclear.control.replays.dataset_file import InvalidDataset, read_cases
from lineclear.domain.replay import OPEN_STATES, Case
from lineclear.store import replay_rows as rows
from lineclear.store.replay_rows import DatasetRow

VERSIONS_MAX: Final = 500
"""Of all datasets together."""
DIGEST_HEX: Final = 16
"""Of the 64 hex digits, that people use."""


@dataclass(frozen=True)
class Added:
    row: DatasetRow
    is_new: bool
    """False if this version was there already."""


class Datasets:
    """What cases there are."""

    def __init__(self, publisher: Publisher) -> None:
        self._database = publisher.database
        self._clock = publisher.clock
        self._vault = publisher.vault

    def add(self, name: str, team: str, content: bytes, actor: str) -> Added:
        """Keep a version; equal content is the same version.

        Raises:
            Refused: `invalid_request` with every mistake and its line; `conflict` if the name is another team's or
                there are too many versions.
        """
        try:
            cases = read_cases(content)
        except InvalidDataset as error:
            raise Refused(
                AdminCode.INVALID_REQUEST,
                f"dataset {name!r} was not taken: {error}",
                hint="docs/replays.md says what a line holds",
                findings=error.findings,
            ) from error
        digest = hashlib.sha256(content).hexdigest()
        row = DatasetRow(name, digest, team, len(cases), len(content), self._clock.unix_us(), actor)
        sealed = self._vault.seal_private(_place(name, digest), content)
        with self._database.write() as tx:
            if team not in read_desired(tx).teams:
                raise Refused(AdminCode.NOT_FOUND, f"there is no team {team!r}")
            known = rows.read_datasets(tx)
            versions = [one for one in known if one.name == name]
            if versions and versions[0].team != team:
                raise Refused(AdminCode.CONFLICT, f"the name {name!r} is taken", hint="choose another name")
            there = next((one for one in versions if one.digest == digest), None)
            if there is not None:
                return Added(there, is_new=False)
            if len(known) >= VERSIONS_MAX:
                raise Refused(
                    AdminCode.CONFLICT,
                    f"{VERSIONS_MAX} versions of datasets are kept, and no more",
                    hint="`lineclear datasets remove NAME@DIGEST` makes room",
                )
            rows.add_dataset(tx, row, sealed)
            after = f"{len(cases)} cases, {len(content)} bytes"
            audit.record(tx, self._clock, actor, [AuditEvent(AuditAction.DATASET_ADDED, _object(row), after=after)])
        return Added(row, is_new=True)

    def listed(self) -> list[DatasetRow]:
        """Every version, by name and newest first."""
        with self._database.read() as tx:
            return rows.read_datasets(tx)

    def find(self, named: str) -> DatasetRow:
        """The newest version of `NAME`, or the one of `NAME@DIGEST`, whose digest may be cut to 8 digits.

        Raises:
            Refused: `not_found`.
        """
        with self._database.read() as tx:
            return find_in(tx, named)

    def cases(self, row: DatasetRow) -> list[Case]:
        """Every case of a version.

        Raises:
            Refused: `not_found` if it was removed meanwhile.
        """
        return read_cases(self.content(row))

    def content(self, row: DatasetRow) -> bytes:
        """A version as it was given.

        Raises:
            Refused: as `cases`.
        """
        with self._database.read() as tx:
            sealed = rows.read_dataset_content(tx, row.name, row.digest)
        if sealed is None:
            raise unknown(row.name)
        return self._vault.open_private(_place(row.name, row.digest), sealed)

    def remove(self, row: DatasetRow, actor: str) -> None:
        """Forget a version; what was found with it stays.

        Raises:
            Refused: `conflict` while a replay of it is under way.
        """
        with self._database.write() as tx:
            open_ids = [
                one.id
                for one in rows.read_replays_in(tx, OPEN_STATES)
                if (one.dataset, one.dataset_digest) == (row.name, row.digest)
            ]
            if open_ids:
                raise Refused(
                    AdminCode.CONFLICT,
                    f"replay {open_ids[0]} of it is under way",
                    hint=f"`lineclear replays stop {open_ids[0]}`, or wait for its end",
                )
            rows.delete_dataset(tx, row.name, row.digest)
            audit.record(tx, self._clock, actor, [AuditEvent(AuditAction.DATASET_REMOVED, _object(row))])


def find_in(tx: Connection, named: str) -> DatasetRow:
    """As `Datasets.find`, in a transaction."""
    name, _, digest = named.partition("@")
    versions = [one for one in rows.read_datasets(tx, name) if one.digest.startswith(digest)]
    if not versions or 0 < len(digest) < 8 or (digest and len(versions) > 1):
        raise unknown(named)
    return versions[0]


def unknown(named: str) -> Refused:
    """What is said of a dataset that is not there, or that the caller may not see."""
    return Refused(AdminCode.NOT_FOUND, f"there is no dataset {named!r}", hint="`lineclear datasets list`")


def _place(name: str, digest: str) -> str:
    return f"datasets/{name}/{digest}"


def _object(row: DatasetRow) -> str:
    return f"dataset/{row.name}@{row.digest[:DIGEST_HEX]}"
