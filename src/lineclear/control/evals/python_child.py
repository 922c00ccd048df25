"""A process of its own for a check in Python: one entry point, asked about one answer after the other.

In: its name as the only argument; lines of JSON with a case and an answer. Out: a line of JSON for each, with a score
or what went wrong. What the check prints goes to standard error. It gets no environment of the server's.
"""

import json
import os
import sys
from importlib.metadata import entry_points

from lineclear.domain.evals import ENTRY_POINT_GROUP


def main() -> None:
    """Answer until the input ends."""
    (name,) = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    found = next(iter(entry_points(group=ENTRY_POINT_GROUP, name=name)), None)
    check = None if found is None else found.load()
    for line in sys.stdin:
        asked = json.loads(line)
        said: dict[str, float | str] = {"error": f"there is no entry point {name!r} in the group {ENTRY_POINT_GROUP!r}"}
        try:
            if check is not None:
                said = {"score": float(check(asked["case"], asked["answer"]))}
        except Exception as error:  # noqa: BLE001 - whatever somebody else's code raises is told as what it is
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
