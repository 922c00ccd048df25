"""How every place says that what it shows was made up by `lineclear demo`."""

from typing import Final

DEMO_WORDS: Final = "demo data: these teams, apps, requests and costs are simulated"
