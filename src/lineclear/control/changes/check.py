"""Whether a change can be made as a whole: names, what is immutable, credentials, what is still in use.

In: the state before and wanted, documents, credential values, keys. Out: findings at their places. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points

from lineclear.base.secret import Secret
from lineclear.checks.answer_schema import AnswerSchema, SchemaMistake, pattern_schema
from lineclear.config.manifest import Document
from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_names import credentials_of, secret_name
from lineclear.config.yaml_tree import PlainPath
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired
from lineclear.domain.admission import is_above
from lineclear.domain.evals import ENTRY_POINT_GROUP
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Eval, EvalCheck, Guardrail, Kind, Team


def check_credentials(
    wanted: Desired, documents: Sequence[Document], values: Mapping[str, Secret], remembered: Mapping[str, Secret]
) -> Iterator[Finding]:
    """Credentials without a value, and new values that no header can carry. Words about a value never repeat it."""
    written = {document.name: document for document in documents if document.kind is Kind.PROVIDER}
    for provider in wanted.providers.values():
        for reference, path in credentials_of(provider).items():
            found = _flaw(reference, values, remembered)
            if found is None:
                continue
            document = written.get(provider.name)
            if document is None and secret_name(reference) is not None:
                # It was taken away by force. No other change has to wait for it; the plan warns.
                continue
            if document is None:
                yield Finding(*found, path=_path(provider.name, path))
            elif not document.is_muted(path):
                yield document.finding(path, *found)


def check_channels(documents: Sequence[Document], remembered: Mapping[str, Secret]) -> Iterator[Finding]:
    """Secrets of notice channels that there are not; one taken away later is told by the channel's deliveries."""
    for document in documents:
        if not isinstance(document.manifest, Team):
            continue
        for at, channel in enumerate(document.manifest.notices):
            for name in ("secret", "slack"):
                reference, path = getattr(channel, name), ("notices", at, name)
                if reference is None or document.is_muted(path):
                    continue
                found = None if reference in remembered else _flaw(reference, {}, remembered)
                if found is not None:
                    yield document.finding(path, *found)


def new_channel_secrets(before: Desired, wanted: Desired) -> Iterator[tuple[str, str]]:
    """Teams with names of secrets that their channels would use and do not use yet, in order."""
    for name, team in sorted(wanted.teams.items()):
        was = before.teams.get(name)
        for secret in sorted(_channel_secrets(team) - (set() if was is None else _channel_secrets(was))):
            yield name, secret


def _channel_secrets(team: Team) -> set[str]:
    named = (reference for channel in team.notices for reference in (channel.secret, channel.slack) if reference)
    return {secret for secret in map(secret_name, named) if secret is not None}


def check_schemas(documents: Sequence[Document]) -> Iterator[Finding]:
    """Schemas of guardrails that could not be used, or whose check would have no bound."""
    for document in documents:
        if not isinstance(document.manifest, Guardrail):
            continue
        for at, rule in enumerate(document.manifest.rules):
            path: PlainPath = ("rules", at, "json_schema")
            if rule.json_schema is not None and not document.is_muted(path):
                try:
                    AnswerSchema(rule.json_schema)
                except SchemaMistake as mistake:
                    yield document.finding(path, "invalid_value", f"the schema {mistake}")


def check_evals(wanted: Desired, documents: Sequence[Document]) -> Iterator[Finding]:
    """Patterns and schemas of Evals that cannot be used, and money of other teams."""
    for document in documents:
        one = document.manifest
        if not isinstance(one, Eval):
            continue
        app = wanted.apps.get(one.app)
        if app is not None and app.team != one.team and not document.is_muted(("app",)):
            yield document.finding(("app",), "invalid_value", f"app {one.app!r} belongs to team {app.team!r}")
        for at, check in enumerate(one.checks):
            for field, words in _flaws(check):
                path: PlainPath = ("checks", at, field)
                if not document.is_muted(path):
                    yield document.finding(path, "invalid_value", words)


def missing_entry_points(documents: Sequence[Document]) -> Iterator[str]:
    """What Evals name that no package of this server offers now; their checks would say nothing of any answer."""
    known = {one.name for one in entry_points(group=ENTRY_POINT_GROUP)}
    for document in documents:
        if not isinstance(document.manifest, Eval):
            continue
        for check in document.manifest.checks:
            if check.python and check.python not in known:
                near = near_words(check.python, known)
                words = f"no package of the server offers {check.python!r} in the group {ENTRY_POINT_GROUP!r}"
                yield f"eval {document.name!r}, check {check.id!r}: {words}{near and '; ' + near}"


def _flaws(check: EvalCheck) -> Iterator[tuple[str, str]]:
    for field, schema in (("json_schema", check.json_schema), ("regex", pattern_schema(check.regex))):
        try:
            AnswerSchema(schema or {})
        except SchemaMistake as mistake:
            yield field, f"the {'pattern' if field == 'regex' else 'schema'} {mistake}"


def check_data_classes(wanted: Desired, documents: Sequence[Document]) -> Iterator[Finding]:
    """Routes in environments that do not take their data: every call there would be refused."""
    written = {(document.kind, document.name): document for document in documents}
    for route in wanted.routes.values():
        for name in route.environments:
            environment = wanted.environments.get(name)
            if environment is None or not is_above(route.data_class, environment.allowed_data_classes):
                continue
            allowed = ", ".join(item.value for item in environment.allowed_data_classes)
            words = f"route {route.name!r} has {route.data_class.value} data; environment {name!r} allows {allowed}"
            for kind, noun, path in (
                (Kind.ROUTE, route.name, ("data_class",)),
                (Kind.ENVIRONMENT, name, ("allowed_data_classes",)),
            ):
                document = written.get((kind, noun))
                if document is not None:
                    if not document.is_muted(path):
                        yield document.finding(path, "data_class_not_allowed", words)
                    break
            else:
                yield Finding("data_class_not_allowed", words, path=f"Route/{route.name}.data_class")


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


def _flaw(reference: str, values: Mapping[str, Secret], remembered: Mapping[str, Secret]) -> tuple[str, str] | None:
    """Code and message of what is wrong with the value of a variable or a secret; None if nothing is."""
    secret, value = secret_name(reference), values.get(reference)
    if value is None and secret is not None:
        near = near_words(secret, [name for name in map(secret_name, remembered) if name is not None])
        words = f"there is no secret {secret!r}; {near and near + ' Or '}`lineclear secrets set {secret}` makes it"
        return "unknown_reference", words
    if value is None:
        return "unset_variable", f"the variable {reference} is set neither here nor at the server"
    flaw = "" if value == remembered.get(reference) else flaw_of(value)
    if not flaw:
        return None
    what = f"variable {reference}" if secret is None else f"secret {secret!r}"
    return (
        "invalid_credential",
        f"the {what} cannot be sent as a credential: its value {flaw}; set it to the key alone, "
        "visible ASCII characters without spaces, quotes or a line end",
    )


def _path(provider: str, path: PlainPath) -> str:
    return ".".join([f"Provider/{provider}", *map(str, path)])
