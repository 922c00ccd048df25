"""Names as the last snapshot in a data directory has them, for the shell while no server answers.

In: a data directory. Out: names, none where they are not known. What is offered to a typing person decides nothing, so
no check number is computed here; the server judges the word. Must not open a sealed section.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

SECTION_BYTES_MAX = 4 << 20
"""A larger section is not waited for."""

Sections = Callable[[str], Mapping[str, Any]]
"""What a section holds, by its name; Any: JSON."""


def last_names(data_dir: Path, kind: str) -> list[str]:
    """Names of a noun, sorted; empty where the directory cannot be read or its snapshot does not have them."""
    directory = data_dir / "snapshot"
    read = _READERS.get(kind)
    if read is None:
        return []
    try:
        named: dict[str, str] = _object(directory / "CURRENT")["sections"]

        def section(name: str) -> Mapping[str, Any]:
            return _object(directory / "sections" / named[name]) if name in named else {}

        return sorted({name for name in read(list(named), section) if name})
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # Not there, not ours to read, or cut: there is nowhere to say it.
        return []


def _object(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        content = file.read(SECTION_BYTES_MAX + 1)
    if len(content) > SECTION_BYTES_MAX:
        raise ValueError("larger than a typing person waits for")
    return dict(json.loads(content))


def _of(section: str, part: str) -> Callable[[list[str], Sections], Iterator[str]]:
    """The names by which a section lists what it has."""

    def read(_names: list[str], sections: Sections) -> Iterator[str]:
        yield from sections(section).get(part, {})

    return read


def _routes(names: list[str], _sections: Sections) -> Iterator[str]:
    yield from (name.split("/", 2)[2] for name in names if name.startswith("routes/"))


def _teams(names: list[str], sections: Sections) -> Iterator[str]:
    yield from (app["team"] for app in sections("apps").get("apps", {}).values())
    yield from (sections(name)["team"] for name in names if name.startswith("routes/"))


def _models(_names: list[str], sections: Sections) -> Iterator[str]:
    yield from (version["model"] for version in sections("catalogue").get("versions", {}).values())


def _keys(names: list[str], sections: Sections) -> Iterator[str]:
    for name in names:
        if name.startswith("access/"):
            yield from sections(name)["keys"]


def _policies(_names: list[str], sections: Sections) -> Iterator[str]:
    yield from (policy["name"] for policy in sections("policies").get("policies", ()))


def _releases(names: list[str], sections: Sections) -> Iterator[str]:
    for name in names:
        if name.startswith("routes/"):
            route = sections(name)
            for release in (route["stable"], route.get("candidate"), *route.get("previous", ())):
                if release:
                    yield release["id"]


def _rollouts(names: list[str], sections: Sections) -> Iterator[str]:
    yield from (sections(name).get("rollout", "") for name in names if name.startswith("routes/"))


_READERS: Mapping[str, Callable[[list[str], Sections], Iterator[str]]] = {
    "apps": _of("apps", "apps"),
    "environments": _of("environments", "environments"),
    "keys": _keys,
    "model-versions": _of("catalogue", "versions"),
    "models": _models,
    "policies": _policies,
    "providers": _of("providers", "providers"),
    "releases": _releases,
    "rollouts": _rollouts,
    "routes": _routes,
    "teams": _teams,
}
"""The nouns that a snapshot has; the others are in control's database alone."""
