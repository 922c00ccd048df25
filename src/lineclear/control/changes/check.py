"""Whether a change can be made as a whole: names, what is immutable, credentials, what is still in use.

In: the state before and wanted, documents, credential values, keys. Out: findings at their places. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence

from lineclear.base.secret import Secret
from lineclear.config.manifest import Document
from lineclear.config.manifest_names import variables_of
from lineclear.config.yaml_tree import PlainPath
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Kind


def check_credentials(
    wanted: Desired, documents: Sequence[Document], values: Mapping[str, Secret], remembered: Mapping[str, Secret]
) -> Iterator[Finding]:
    """Credentials without a value, and new values that no header can carry. Words about a value never repeat it."""
    written = {document.name: document for document in documents if document.kind is Kind.PROVIDER}
    for provider in wanted.providers.values():
        for variable, path in variables_of(provider).items():
            found = _flaw(variable, values.get(variable), remembered.get(variable))
            if found is None:
                continue
            document = written.get(provider.name)
            if document is None:
                yield Finding(*found, path=_path(provider.name, path))
            elif not document.is_muted(path):
                yield document.finding(path, *found)


def check_keys(deleted: Desired, keys: Mapping[tuple[str, str], int]) -> Iterator[Finding]:
    """Apps and environments that go although keys of theirs are in use.

    Args:
        deleted: the nouns that go.
        keys: keys that are not revoked, counted by (app, environment).
    """
    for (app, environment), count in sorted(keys.items()):
        for kind, name in ((Kind.APP, app), (Kind.ENVIRONMENT, environment)):
            if (kind, name) in deleted.nouns:
                words = f"{kind.value}/{name} cannot go: {count} keys of {app!r} in {environment} work; revoke them"
                yield Finding("in_use", words, path=f"{kind.value}/{name}")


def _flaw(variable: str, value: Secret | None, remembered: Secret | None) -> tuple[str, str] | None:
    """Code and message of what is wrong with a variable's value; None if nothing is."""
    if value is None:
        return "unset_variable", f"the variable {variable} is set neither here nor at the server"
    flaw = "" if value == remembered else flaw_of(value)
    if not flaw:
        return None
    return (
        "invalid_credential",
        f"the variable {variable} cannot be sent as a credential: its value {flaw}; set it to the key alone, "
        "visible ASCII characters without spaces, quotes or a line end",
    )


def _path(provider: str, path: PlainPath) -> str:
    return ".".join([f"Provider/{provider}", *map(str, path)])
