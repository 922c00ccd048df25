"""One file per page: what it asks of the endpoints and the value it shows."""

from collections.abc import Sequence

from lineclear.console.page import Feed, Page
from lineclear.console.pages.home import HOME
from lineclear.console.pages.requests import LIVE_REQUESTS, REQUESTS

PAGES: Sequence[Page] = (HOME, REQUESTS)
"""Every page of the console."""

FEEDS: Sequence[Feed] = (LIVE_REQUESTS,)
"""Everything that pages follow."""
