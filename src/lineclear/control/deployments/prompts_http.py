"""The admin API's endpoints for versions of prompts and what differs between them."""

from dataclasses import dataclass

from lineclear.config.manifest_fields import near_words
from lineclear.control.deployments.http import asked
from lineclear.control.deployments.prompts import PromptDiff, PromptVersion, prompt_versions
from lineclear.control.deployments.seen import sees_route
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Reach, Refused
from lineclear.control.publish import read_desired
from lineclear.control.release_diff import diff_texts
from lineclear.domain.permissions import Permission
from lineclear.observe.period import time_text
from lineclear.store import control_rows as rows
from lineclear.store.database import Database

CURRENT = "current"
"""Names the version that a prompt's manifest says now."""
DIGEST_CHARS_MIN = 4
_PAIR = ("before", "after")


@dataclass(frozen=True)
class PromptVersionFacts:
    """One content of a prompt."""

    name: str
    digest: str
    mode: str
    text: str
    variables: list[str]
    is_current: bool
    first_at: str | None
    """When a release first pinned it."""
    releases: list[str]
    in_force: list[str]


@dataclass(frozen=True)
class PromptVersionList:
    versions: list[PromptVersionFacts]


def endpoints(database: Database) -> tuple[Endpoint, ...]:
    """Versions and diffs."""
    desk = PromptDesk(database)
    return (
        Endpoint(
            "GET", f"{API_ROOT}/prompt-versions", Permission.CATALOGUE_READ, desk.versions,
            "Versions of prompts, and the releases that pin them", answer=PromptVersionList,
            reach=Reach.OBJECT,
            query=(QueryParameter("name", "Only this prompt."),),
        ),
        Endpoint(
            "GET", f"{API_ROOT}/prompt-diffs", Permission.CATALOGUE_READ, desk.diff,
            "What differs between two versions of a prompt, word by word", answer=PromptDiff,
            reach=Reach.OBJECT,
            query=(
                QueryParameter("name", "The prompt."),
                QueryParameter("before", "The beginning of a version's digest, or `current`."),
                QueryParameter("after", "The beginning of a version's digest, or `current`."),
            ),
        ),
    )  # fmt: skip


class PromptDesk:
    """Answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _versions_of(self, call: Call, name: str | None) -> list[PromptVersion]:
        with self._database.read() as tx:
            desired = read_desired(tx)
            seen = [row for row in rows.read_releases(tx).values() if sees_route(call, desired, row.route)]
            deployed = {
                key: row for key, row in rows.read_deployments(tx).items() if sees_route(call, desired, key[1], key[0])
            }
        found = prompt_versions(desired.prompts, seen, deployed)
        if name is None:
            return found
        named = [item for item in found if item.name == name]
        if not named:
            names = list(dict.fromkeys(item.name for item in found))
            hint = near_words(name, names) or "`lineclear prompts list` shows them"
            raise Refused(AdminCode.NOT_FOUND, f"there is no prompt {name!r}", hint=hint)
        return named

    def versions(self, call: Call) -> PromptVersionList:
        return PromptVersionList([_version(item) for item in self._versions_of(call, call.query.get("name"))])

    def diff(self, call: Call) -> PromptDiff:
        name = asked(call, "name")
        found = self._versions_of(call, name)
        before, after = (_prompt_version(found, asked(call, end)) for end in _PAIR)
        passages = diff_texts(before.text, after.text)
        return PromptDiff(name, before.digest, after.digest, before.mode, after.mode, passages)


def _prompt_version(versions: list[PromptVersion], wanted: str) -> PromptVersion:
    found = [item for item in versions if _names(item, wanted)]
    if len(found) == 1:
        return found[0]
    what = "names several versions" if found else "names no version"
    known = ", ".join(item.digest[:12] for item in versions[:8])
    raise Refused(AdminCode.NOT_FOUND, f"{wanted!r} {what} of the prompt", hint=f"there are {known}; or `{CURRENT}`")


def _names(version: PromptVersion, wanted: str) -> bool:
    if wanted == CURRENT:
        return version.is_current
    return len(wanted) >= DIGEST_CHARS_MIN and version.digest.startswith(wanted)


def _version(item: PromptVersion) -> PromptVersionFacts:
    return PromptVersionFacts(
        name=item.name,
        digest=item.digest,
        mode=item.mode,
        text=item.text,
        variables=list(item.variables),
        is_current=item.is_current,
        first_at=None if item.first_us is None else time_text(item.first_us),
        releases=list(item.releases),
        in_force=list(item.in_force),
    )
