"""Exit code 0 if the data port of the platform in LINECLEAR_DATA serves: the health check of the container image.

It asks the data port and not control, since inference goes on without control and nobody should restart it then.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from lineclear.base.certificate import pinned_context

DEADLINE_S = 5.0


def main() -> int:
    try:
        facts = json.loads((Path(os.environ["LINECLEAR_DATA"]) / "up.json").read_bytes())
        trust = pinned_context(facts["certificate"]) if facts["certificate"] else None
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            *([urllib.request.HTTPSHandler(context=trust)] if trust is not None else []),
        )
        with opener.open(f"{facts['gateway_url']}/readyz", timeout=DEADLINE_S) as answer:
            return 0 if answer.status == 200 else 1
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"not ready: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
