"""Control without its process, for tests: database, publisher, changes, keys and a served admin port in a directory.

In: a directory. Out: the real parts on real files and a real loopback socket; `close()` ends everything.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from lineclear.api.application import Authenticate, Routes, build_application
from lineclear.api.proxies import behind_proxies
from lineclear.api.server import AdminServer
from lineclear.base.clock import Clock, SystemClock
from lineclear.base.seal import Keys as MasterKeys
from lineclear.base.secret import Secret
from lineclear.client.admin import AdminClient, Server
from lineclear.config.manifest import ManifestFile
from lineclear.config.settings import Network
from lineclear.control import audit_http
from lineclear.control.access.service import Access
from lineclear.control.audit_checkpoints import Checkpoints
from lineclear.control.bootstrap import bootstrap
from lineclear.control.catalogue import http as catalogue_http
from lineclear.control.changes import http as changes_http
from lineclear.control.changes import promotion_http
from lineclear.control.changes.apply import Applied, Author, Changes
from lineclear.control.changes.plan import Plan
from lineclear.control.deployments import http as deployments_http
from lineclear.control.deployments import model_access_http, prompts_http
from lineclear.control.endpoint import Endpoint
from lineclear.control.evals import http as evals_http
from lineclear.control.evals.runs import EvalRuns
from lineclear.control.folding import Overrides
from lineclear.control.keys import http as keys_http
from lineclear.control.keys.keys import Keys
from lineclear.control.overrides import http as overrides_http
from lineclear.control.overrides.drills import Drills
from lineclear.control.prices.book import committed_prices
from lineclear.control.providers import http as providers_http
from lineclear.control.providers.trial import ProviderTrials
from lineclear.control.publish import Directories, Publisher
from lineclear.control.replays import http as replays_http
from lineclear.control.replays.door import InnerDoor
from lineclear.control.replays.service import Replays
from lineclear.control.secrets import http as secrets_http
from lineclear.control.secrets.secrets import Secrets
from lineclear.control.sessions import http as sessions_http
from lineclear.control.sessions.sessions import Sessions
from lineclear.control.status import http as status_http
from lineclear.control.trials import http as trials_http
from lineclear.domain.access import Principal, PrincipalKind, with_every_role
from lineclear.handover.override_desk import OverrideDesk
from lineclear.handover.overrides import journal_path
from lineclear.handover.snapshot_dir import LoadedSnapshot, SnapshotReader
from lineclear.store.database import Database
from lineclear.store.migrate import Lineage, migrate

MASTER_KEY = bytes(range(32))
TOKEN = "token-of-tests"
START_S = 10.0
AUTHOR = Author("tester")
TESTER = with_every_role("tester", PrincipalKind.ADMIN_TOKEN)


class ControlPlane:
    """The parts of control on one directory; several may follow each other on it, as restarts."""

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
        master_key: bytes = MASTER_KEY,
        database_url: str | None = None,
    ) -> None:
        """Open or create the database in `directory`; nothing is published yet."""
        self.directory = directory
        self.clock = clock or SystemClock()
        self.environment = dict(environment or {})
        self.keys_of_master = MasterKeys(master_key)
        self.database = Database.open(database_url or directory / "lineclear.db")
        migrate(self.database, Lineage.CONTROL)
        self.run_dir = directory / "run"
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        directories = Directories(
            directory / "snapshot", directory / "acks", self.run_dir, directory / "spool", journal_path(directory)
        )
        self.publisher = Publisher(self.database, self.clock, self.keys_of_master, directories, committed_prices())
        self.checkpoints = Checkpoints(self.database, self.clock, self.keys_of_master, directory)
        self.changes = Changes(self.publisher, self.environment)
        desk = OverrideDesk(directory, self.run_dir, self.keys_of_master, self.clock)
        self.overrides = Overrides(self.publisher, desk)
        self.drills = Drills(self.overrides, self.database, self.clock)
        self.keys = Keys(self.publisher, self.overrides)
        self.secrets = Secrets(self.publisher)
        self.replays = Replays(self.publisher, InnerDoor(self.run_dir, self.keys_of_master, self.clock))
        self.evals = EvalRuns(self.publisher, self.replays, self.environment)
        self.access = Access(self.database, self.clock, self.publisher.vault)
        self.sessions = Sessions(
            self.database, self.clock, lambda name: TESTER if name == TESTER.name else self.access.principal(name)
        )

    def start(self, bundled: Sequence[Mapping[str, Any]] = ()) -> "ControlPlane":
        """What control does first: catch up, bootstrap."""
        self.publisher.catch_up({name: Secret(value) for name, value in self.environment.items()})
        bootstrap(self.publisher, self.changes, bundled)
        self.overrides.start()
        return self

    def apply(self, text: str, *, file: str = "m.yaml", **variables: str) -> Applied:
        """Apply one file's text."""
        documents = self.changes.read([ManifestFile(file, text, str(self.directory))])
        return self.changes.apply(documents, {name: Secret(value) for name, value in variables.items()}, AUTHOR)

    def plan(self, text: str, *, file: str = "m.yaml", **variables: str) -> Plan:
        """Plan one file's text."""
        documents = self.changes.read([ManifestFile(file, text, str(self.directory))])
        return self.changes.plan(documents, {name: Secret(value) for name, value in variables.items()})

    def load(self) -> LoadedSnapshot:
        """What a gateway would read now."""
        return SnapshotReader(self.directory / "snapshot", self.keys_of_master).load()

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The admin API without the ledger's part."""
        return (
            *status_http.endpoints(
                self.publisher,
                self.run_dir / "state.json",
                "http://127.0.0.1:4100",
                self.drills.state,
                self.access.emergencies.announced,
            ),
            *(changes := changes_http.endpoints(self.changes, self.database, self.named)),
            *promotion_http.endpoints(self.database, changes),
            *keys_http.endpoints(self.keys),
            *providers_http.endpoints(ProviderTrials(self.publisher)),
            *secrets_http.endpoints(self.secrets),
            *deployments_http.endpoints(self.database, self.clock),
            *model_access_http.endpoints(self.database, self.clock),
            *prompts_http.endpoints(self.database),
            *catalogue_http.endpoints(self.database, self.publisher.prices),
            *audit_http.endpoints(self.database, self.clock, self.checkpoints),
            *overrides_http.endpoints(self.overrides, self.drills, self.database, self.clock),
            *replays_http.endpoints(self.replays),
            *evals_http.endpoints(self.evals, self.replays),
            *trials_http.endpoints(self.keys, self.database, self.clock, "http://127.0.0.1:4100"),
            *sessions_http.endpoints(self.sessions, "http://127.0.0.1:4101", ""),
            *self.access.endpoints("http://127.0.0.1:4101", ""),
        )

    def named(self, tx: Connection, name: str) -> Principal | None:
        """Who a name is now; the holder of TOKEN is no member."""
        return TESTER if name == TESTER.name else self.access.principal_in(tx, name)

    def authenticate(self, token: str) -> Principal | None:
        """Who a token of tests or a token made here belongs to."""
        return authenticate_tests(token) or self.access.tokens.find(token)

    def close(self) -> None:
        """End the thread and close the database."""
        self.evals.close()
        self.replays.close()
        self.overrides.close()
        self.database.close()


def authenticate_tests(token: str) -> Principal | None:
    """Knows TOKEN, who may do everything, and `nobody`, who may do nothing."""
    if token == TOKEN:
        return TESTER
    return Principal("nobody") if token == "nobody" else None


class ServedAPI:
    """Endpoints on a real loopback port, served from a thread."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        authenticate: Authenticate = authenticate_tests,
        routes: Routes = (),
        trusted_proxies: Sequence[Network] = (),
        gateway_url: str = "",
    ) -> None:
        """Serve at once; returns when the port answers.

        Raises:
            TimeoutError: if the server does not come up.
        """
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        application = build_application(endpoints, authenticate, routes, gateway_url)
        self._application = behind_proxies(application, trusted_proxies)
        self._up = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        if not self._up.wait(START_S):
            raise TimeoutError("the admin port of the test did not come up")

    async def _serve(self) -> None:
        server = AdminServer(self._application)
        self._stop = server.stop
        serving = asyncio.create_task(server.serve(sockets=[self._listener]))
        await server.is_up.wait()
        self._up.set()
        await serving

    def client(self, token: str = TOKEN) -> AdminClient:
        """A client with this token."""
        return AdminClient(Server(self.url, Secret(token)))

    def close(self) -> None:
        """End the server and its thread."""
        self._stop()
        self._thread.join(START_S)
