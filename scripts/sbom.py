"""Writes a bill of materials: every distribution that an installation of Lineclear brings, and every file taken over.

In: the installed distributions (of this interpreter, or of `--path`), extras. Out: CycloneDX 1.6 as JSON.
Source: cyclonedx.org/docs/1.6/json; github.com/package-url/purl-spec for `pkg:pypi/…`.
"""

import argparse
import hashlib
import importlib.metadata
import json
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
OURS = "lineclear"
VENDORED = ("src/lineclear/serving/vendor/sources.json", "src/lineclear/console/static/vendor/sources.json")
"""Lists of files that others wrote and we ship, with their source, licence and sha256."""
Component = dict[str, Any]  # Any: JSON of the format


def installed(path: Sequence[str] | None) -> Mapping[str, importlib.metadata.Distribution]:
    """Every distribution by its canonical name."""
    found = importlib.metadata.distributions(path=list(path)) if path else importlib.metadata.distributions()
    return {canonicalize_name(item.metadata["Name"]): item for item in found if item.metadata["Name"]}


def needed_by(item: importlib.metadata.Distribution, extras: Iterable[str]) -> dict[str, set[str]]:
    """Names of what a distribution needs here with these extras, each with the extras that it is needed with."""
    wanted: dict[str, set[str]] = {}
    for text in item.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            wanted.setdefault(canonicalize_name(requirement.name), set()).update(requirement.extras)
    return wanted


def closure(
    known: Mapping[str, importlib.metadata.Distribution], extras: Sequence[str]
) -> dict[str, tuple[importlib.metadata.Distribution, tuple[str, ...]]]:
    """Ours and all that it leads to, each with the names of what it needs itself.

    Raises:
        SystemExit: something that is needed is not installed.
    """
    found: dict[str, tuple[importlib.metadata.Distribution, tuple[str, ...]]] = {}
    asked: dict[str, set[str]] = {}
    waiting: list[tuple[str, set[str]]] = [(OURS, set(extras))]
    while waiting:
        name, wanted = waiting.pop()
        if name in found and wanted <= asked[name]:
            continue
        if name not in known:
            raise SystemExit(f"sbom: {name} is needed and is not installed; install the wheel first")
        asked[name] = asked.get(name, set()) | wanted
        needs = needed_by(known[name], asked[name])
        found[name] = (known[name], tuple(sorted(needs)))
        waiting.extend(needs.items())
    return found


def licences(item: importlib.metadata.Distribution) -> list[Component]:
    """What the distribution says of its licence: an expression, else classifiers, else its own short words."""
    expression = item.metadata["License-Expression"]
    if expression:
        return [{"expression": expression}]
    named = [
        text.rpartition(" :: ")[2]
        for text in item.metadata.get_all("Classifier") or ()
        if text.startswith("License :: ") and text != "License :: OSI Approved"
    ]
    short = (item.metadata["License"] or "").strip()
    words = named or ([short] if short and "\n" not in short else [])
    return [{"license": {"name": word}} for word in words]


def component(item: importlib.metadata.Distribution) -> Component:
    """One distribution."""
    name, version = canonicalize_name(item.metadata["Name"]), item.version
    reference = f"pkg:pypi/{name}@{version}"
    made: Component = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
        "licenses": licences(item),
    }
    summary = item.metadata["Summary"]
    return {**made, "description": summary} if summary else made


def vendored(root: Path) -> list[Component]:
    """The files of others that stand in our own tree.

    Raises:
        SystemExit: one differs from what its list says.
    """
    found: list[Component] = []
    for listed in VENDORED:
        path = root / listed
        for row in json.loads(path.read_text(encoding="utf-8")) if path.exists() else ():
            content = (path.parent / row["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != row["sha256"]:
                raise SystemExit(f"sbom: {path.parent / row['file']} is not the file that {listed} describes")
            found.append(
                {
                    "type": "file",
                    "bom-ref": f"file:{Path(listed).parent}/{row['file']}",
                    "name": row["file"],
                    "description": f"from {row['source']}",
                    "hashes": [{"alg": "SHA-256", "content": row["sha256"]}],
                    "licenses": [{"license": {"id": row["licence"]}}],
                }
            )
    return found


def bill(known: Mapping[str, importlib.metadata.Distribution], extras: Sequence[str], root: Path) -> Component:
    """The whole document. The same installation gives the same bytes."""
    found = closure(known, extras)
    ours = component(found[OURS][0])
    files = vendored(root)
    libraries = [component(item) for name, (item, _) in sorted(found.items()) if name != OURS]
    references = {name: f"pkg:pypi/{name}@{item.version}" for name, (item, _) in found.items()}
    dependencies = [
        {"ref": references[name], "dependsOn": [references[need] for need in needs]}
        for name, (_, needs) in sorted(found.items())
    ]
    body: Component = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {**ours, "type": "application"},
            "properties": [
                {"name": "lineclear:python", "value": f"{sys.version_info.major}.{sys.version_info.minor}"},
                {"name": "lineclear:extras", "value": ",".join(sorted(extras)) or "none"},
            ],
        },
        "components": libraries + files,
        "dependencies": dependencies,
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    return {"serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}", **body}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", action="append", default=[], help="an extra to count in; may be repeated")
    parser.add_argument("--path", action="append", help="folder of installed packages; else this interpreter's own")
    parser.add_argument("--output", type=Path, default=None, help="file to write; else standard output")
    arguments = parser.parse_args()
    made = bill(installed(arguments.path), arguments.extra, ROOT)
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{arguments.output}: {len(made['components'])} components\n")


if __name__ == "__main__":
    main()
