"""One file per page: what it asks of the endpoints and the value it shows."""

from collections.abc import Sequence

from lineclear.console.page import Action, Feed, Page
from lineclear.console.pages.access import ACCESS, ACCESS_ACTIONS, MEMBER
from lineclear.console.pages.catalogue import CATALOGUE
from lineclear.console.pages.change import CHANGE, CHANGE_ACTIONS
from lineclear.console.pages.changes import CHANGES, EXPORT_TRAIL, VERIFY_TRAIL
from lineclear.console.pages.cost import COST
from lineclear.console.pages.emergency import EMERGENCY, OVERRIDES
from lineclear.console.pages.evals import EVAL_RUN, EVALS, STOP_EVAL_RUN, WATCH_EVAL_RUN
from lineclear.console.pages.home import HOME
from lineclear.console.pages.keys import CREATE_KEY, KEY, KEYS, REVOKE_KEY
from lineclear.console.pages.model import MODEL, MOVE_VERSION, REPLACE_VERSION
from lineclear.console.pages.model_access import MODEL_ACCESS
from lineclear.console.pages.models import MODELS
from lineclear.console.pages.notices import NOTICE_ACTIONS, NOTICES
from lineclear.console.pages.policies import EXPLANATION, POLICIES
from lineclear.console.pages.propose import PROPOSE, PROPOSE_ACTIONS
from lineclear.console.pages.providers import PROVIDERS, TEST_PROVIDER
from lineclear.console.pages.release import RELEASE
from lineclear.console.pages.replay_cases import REPLAY_CASE
from lineclear.console.pages.replays import REPLAY, REPLAYS, STOP_REPLAY, WATCH_REPLAY
from lineclear.console.pages.request import REQUEST
from lineclear.console.pages.requests import LIVE_REQUESTS, REQUESTS
from lineclear.console.pages.rollouts import ROLLOUT, ROLLOUT_ACTIONS, ROLLOUTS, WATCH_ROLLOUT
from lineclear.console.pages.routes import ROUTE, ROUTES
from lineclear.console.pages.sessions import END_ALL_SESSIONS, END_SESSION, SESSIONS
from lineclear.console.pages.start import FIRST_REQUEST, SEND, START

PAGES: Sequence[Page] = (
    CHANGES, PROPOSE, CHANGE, RELEASE,
    HOME, START, REQUESTS, REQUEST, ROUTES, ROUTE, MODELS, COST, CATALOGUE, MODEL, PROVIDERS, KEYS, KEY,
    SESSIONS, ROLLOUTS, ROLLOUT, EMERGENCY, ACCESS, MEMBER, MODEL_ACCESS, NOTICES,
    EVALS, EVAL_RUN, REPLAYS, REPLAY_CASE, REPLAY, POLICIES, EXPLANATION,
)  # fmt: skip
"""Every page of the console."""
ACTIONS: Sequence[Action] = (
    VERIFY_TRAIL, EXPORT_TRAIL, *PROPOSE_ACTIONS, *CHANGE_ACTIONS, MOVE_VERSION, REPLACE_VERSION,
    SEND, CREATE_KEY, REVOKE_KEY, TEST_PROVIDER, END_ALL_SESSIONS, END_SESSION,
    *NOTICE_ACTIONS, *ROLLOUT_ACTIONS, STOP_EVAL_RUN, STOP_REPLAY, *OVERRIDES, *ACCESS_ACTIONS,
)  # fmt: skip
"""Everything that forms do."""
FEEDS: Sequence[Feed] = (LIVE_REQUESTS, FIRST_REQUEST, WATCH_ROLLOUT, WATCH_EVAL_RUN, WATCH_REPLAY)
"""Everything that pages follow."""
