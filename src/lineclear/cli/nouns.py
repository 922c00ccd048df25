"""How one noun of a manifest is shown to a person: as the manifest it came from."""

from collections.abc import Mapping
from typing import Any

import yaml

from lineclear.cli.output import Output


def show_noun(output: Output, facts: Mapping[str, Any]) -> None:
    """The noun as YAML for a person; in JSON formats the whole answer."""
    text = yaml.safe_dump(_without_empty(facts["manifest"]), sort_keys=False, allow_unicode=True)
    output.value(facts, [f"# managed by {facts['managed_by']}, last change {facts['change']}", *text.splitlines()])


def _without_empty(value: Any) -> Any:
    # Any: a JSON value of the server's answer
    if isinstance(value, dict):
        kept = {name: _without_empty(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, "", [], {})}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value
