"""The control process: database, changes, keys, ledger and the admin port, until the life socket ends.

In: the boot message. Out: status lines with the ready facts. The only place that knows all of control's rooms.
"""

import asyncio
import fcntl
import gc
import logging
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import uvloop

from lineclear.api.application import build_application
from lineclear.api.callers import CallersDoor, callers_listener
from lineclear.api.prefix import under_prefix
from lineclear.api.proxies import behind_proxies
from lineclear.api.server import AdminServer
from lineclear.base.certificate import Certificate, pinned_context
from lineclear.base.clock import Clock, SystemClock
from lineclear.base.log import configure_log
from lineclear.base.seal import Keys as MasterKeys
from lineclear.base.seal import SealBroken
from lineclear.base.secret import Secret
from lineclear.compose.datadir import CONTROL_SOCKET
from lineclear.compose.life import DRAINING, FAILED, READY, STARTING, Boot, Life, life_fd, read_boot
from lineclear.config.manifest import InvalidManifest, ManifestFile, in_order, parse_manifests, read_file
from lineclear.config.settings import process_variables, read_settings
from lineclear.console.application import Console, ConsoleParts
from lineclear.control import audit_http
from lineclear.control.access.identity_provider import IdentityProvider, IdentityProviderSettings
from lineclear.control.access.service import ADMIN, Access
from lineclear.control.audit_checkpoints import Checkpoints, Housekeeper
from lineclear.control.bootstrap import DEFAULT, bootstrap, make_first_keys
from lineclear.control.catalogue import http as catalogue_http
from lineclear.control.changes import http as changes_http
from lineclear.control.changes import promotion_http
from lineclear.control.changes.apply import Author, Changes, refusal
from lineclear.control.changes.behind import refuse_follow_up
from lineclear.control.changes.owners import OWNERS_OF_THE_SERVER
from lineclear.control.changes.recorded import LedgerRecorded
from lineclear.control.changes.requests import ChangeRequests
from lineclear.control.deployments import http as deployments_http
from lineclear.control.deployments import model_access_http, prompts_http
from lineclear.control.endpoint import Endpoint, Refused
from lineclear.control.evals import http as evals_http
from lineclear.control.evals.gates import EvalGates
from lineclear.control.evals.runs import EvalRuns
from lineclear.control.folding import Overrides
from lineclear.control.keys import http as keys_http
from lineclear.control.keys.keys import Keys
from lineclear.control.ledger.service import LedgerService
from lineclear.control.lifecycle import cards_http
from lineclear.control.lifecycle import http as lifecycle_http
from lineclear.control.lifecycle.callers import Callers
from lineclear.control.notices.mail import mail_server
from lineclear.control.notices.room import NoticeRoom
from lineclear.control.notices.sending import Ways
from lineclear.control.overrides import http as overrides_http
from lineclear.control.overrides.drills import Drills
from lineclear.control.policies import http as policies_http
from lineclear.control.prices.book import committed_prices
from lineclear.control.providers import http as providers_http
from lineclear.control.providers.trial import ProviderTrials
from lineclear.control.publish import Directories, Publisher
from lineclear.control.replays import http as replays_http
from lineclear.control.replays.door import InnerDoor
from lineclear.control.replays.service import Replays
from lineclear.control.rollouts import http as rollouts_http
from lineclear.control.rollouts.service import Rollouts
from lineclear.control.rollouts.watch import RolloutWatch
from lineclear.control.secrets import http as secrets_http
from lineclear.control.secrets.secrets import Secrets
from lineclear.control.sessions import http as sessions_http
from lineclear.control.sessions.sessions import Sessions
from lineclear.control.status import http as status_http
from lineclear.control.trials import http as trials_http
from lineclear.domain.access import Principal
from lineclear.domain.change_request import ChangeState
from lineclear.domain.errors import LineclearError
from lineclear.domain.findings import Finding
from lineclear.domain.permissions import Permission
from lineclear.domain.rollout import StepKind
from lineclear.handover.demo_mark import is_demo
from lineclear.handover.lease import LeaseWriter, lease_path
from lineclear.handover.override_desk import OverrideDesk
from lineclear.handover.overrides import journal_path
from lineclear.net.limits import ServerLimits
from lineclear.net.server import HTTPServer
from lineclear.net.tls import ServerContext, server_context
from lineclear.serving.bundled import bundled_documents
from lineclear.store.database import Database
from lineclear.store.migrate import Lineage, migrate

_log = logging.getLogger(__name__)

LOCK_WAIT_S = 20.0
"""How long a new control waits for the one before it to let go of control.lock."""
LOCK_LOOK_S = 0.05
CALLERS_DRAIN_S = 1.0
"""Longest wait at the end for callers' questions; a gateway answers 503 to what is cut."""
DATABASE_FILE = "lineclear.db"
SIGN_IN_CALLBACK = "/console/oidc/callback"
"""Where an identity provider sends browsers back to."""
UP = Author("up", owners=OWNERS_OF_THE_SERVER)
"""Who applies the files of `up -f`."""


class StartRefused(Exception):
    """Control cannot start; the message says why and what to do."""


@dataclass(frozen=True)
class Core:
    """The parts that endpoints are made of."""

    database: Database
    publisher: Publisher
    changes: Changes
    keys: Keys
    ledger: LedgerService
    sessions: Sessions
    access: Access
    checkpoints: Checkpoints
    overrides: Overrides
    drills: Drills
    rollouts: Rollouts
    watch: RolloutWatch
    replays: Replays
    notices: NoticeRoom
    evals: EvalRuns


@dataclass(frozen=True)
class FirstState:
    """What the start led to."""

    keys: dict[str, str] | None
    """Texts of the first keys by environment, at the first start only."""
    refused: str
    """Why the files of `up -f` were not applied, which credential variables are left aside; empty if all is well."""


def main() -> None:
    """Run control until the supervisor closes the life socket."""
    fd = life_fd(sys.argv[1:])
    boot = read_boot(fd)
    life = Life(fd)
    configure_log("control", boot.log)
    # They tell every step of every migration and start, which our own lines say better.
    for chatty in ("alembic", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        uvloop.run(_run(boot, life))
    except (StartRefused, LineclearError, Refused, SealBroken) as error:
        reason = reason_of(error, "\n  ")
        _log.error("control cannot start: %s", reason)
        life.report(FAILED, reason)
        sys.exit(1)
    except Exception as error:
        life.report(FAILED, f"control failed: {type(error).__name__}: {error}")
        raise


def reason_of(error: Exception, between: str = "; ") -> str:
    """Why control cannot start, with every finding of a refused manifest; `between` stands between them."""
    findings = error.findings if isinstance(error, Refused) else ()
    places = [f"{item.file}:{item.line}:{item.column}: {item.message}" for item in findings]
    hint = getattr(error, "hint", "")
    return between.join([str(error), *places, *([hint] if hint else [])])


async def _run(boot: Boot, life: Life) -> None:
    life.report(STARTING, "opening the database")
    lock_fd = hold_lock(boot.data_dir / "control.lock")
    core = open_core(boot)
    first = first_state(core, boot)
    tls = None if boot.certificate is None else server_context(boot.certificate)
    served, known = endpoints(core, boot, tls), authenticator(boot.data_dir, core.access)
    admin_url, root_path = str(boot.options.get("admin_url", "")), str(boot.options.get("root_path", ""))
    provider = identity_provider(core, f"{shown_admin_url(boot)}{root_path}{SIGN_IN_CALLBACK}")
    parts = ConsoleParts(
        served, core.sessions, known, SystemClock(), admin_url, core.access.passwords, provider, root_path
    )
    console = Console(parts)
    calls_at = str(boot.options.get("public_url", "")) or str(boot.options.get("gateway_url", ""))
    application = under_prefix(build_application(served, known, console.routes(), calls_at), root_path)
    server = AdminServer(behind_proxies(application, read_settings().trusted_proxies), tls)
    listeners = [socket.socket(fileno=listen_fd) for listen_fd in boot.listen_fds]
    facts: dict[str, object] = {
        "admin_url": boot.options.get("admin_url"),
        "keys": first.keys,
        "revision": core.publisher.revision(),
        "console_url": sessions_http.link_facts(core.sessions, ADMIN.name, shown_admin_url(boot), root_path).url,
    }
    if boot.certificate is not None:
        facts["certificate"] = boot.certificate.facts()
    follower = asyncio.create_task(_follow_life(server, tls, console, life, facts, first.refused))
    # What the start built lives to the end.
    gc.collect()
    gc.freeze()
    core.ledger.start()
    housekeeper = Housekeeper(
        core.checkpoints, SystemClock(), ChangeRequests(core.changes, core.access.principal_in).sweep
    )
    housekeeper.start()
    core.overrides.start()
    core.drills.start()
    core.watch.start()
    core.replays.open()
    core.evals.open()
    core.notices.watch.start()
    callers = CallersDoor(core.ledger.explain_own)
    callers_server = HTTPServer(callers, clock=SystemClock(), limits=ServerLimits(), refuse=callers.refuse)
    callers_server.serve(callers_listener(boot.run_dir / CONTROL_SOCKET))
    try:
        await server.serve(sockets=listeners)
    finally:
        follower.cancel()
        await callers_server.drain(CALLERS_DRAIN_S)
        callers.close()
        core.notices.watch.close()
        core.watch.close()
        core.evals.close()
        core.replays.close()
        core.drills.close()
        core.overrides.close()
        housekeeper.close()
        core.ledger.close()
        core.database.close()
        os.close(lock_fd)


async def _follow_life(
    server: AdminServer, tls: ServerContext | None, console: Console, life: Life, facts: dict[str, object], reason: str
) -> None:
    """Report ready as soon as the server answers, and end it when the supervisor says so or dies."""

    def show(certificate: Certificate) -> None:
        if tls is not None:
            tls.use(certificate)
            facts["certificate"] = certificate.facts()
            life.report(READY, reason, facts)

    await server.is_up.wait()
    life.report(READY, reason, facts)
    await life.wait_eof(show)
    life.report(DRAINING)
    # Open pages follow streams that end only when told to; the server would wait for them.
    console.close()
    server.stop()


def hold_lock(path: Path, wait_s: float = LOCK_WAIT_S) -> int:
    """Take control.lock for the life of this process.

    Raises:
        StartRefused: if another control still holds it after `wait_s`.
    """
    lock_fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    deadline_ns = SystemClock().monotonic_ns() + int(wait_s * 1e9)
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if SystemClock().monotonic_ns() >= deadline_ns:
                os.close(lock_fd)
                raise StartRefused(f"{path} is held by another control process; end that one first") from error
            time.sleep(LOCK_LOOK_S)
        else:
            return lock_fd


def open_core(boot: Boot, clock: Clock | None = None) -> Core:
    """Open and migrate the database and build what works on it."""
    clock = clock or SystemClock()
    database = Database.open(read_settings().database_url or boot.data_dir / DATABASE_FILE)
    migrate(database, Lineage.CONTROL)
    data = boot.data_dir
    directories = Directories(data / "snapshot", data / "acks", boot.run_dir, data / "spool", journal_path(data))
    publisher = Publisher(database, clock, MasterKeys(boot.master_key), directories, committed_prices())
    desk = OverrideDesk(boot.data_dir, boot.run_dir, MasterKeys(boot.master_key), clock)
    overrides = Overrides(publisher, desk)
    drills = Drills(overrides, database, clock)
    ledger = LedgerService(
        boot.data_dir,
        database,
        clock,
        price_of=publisher.price_of,
        revision=publisher.revision,
        drill_ages=drills.ages_s,
    )
    recorded = LedgerRecorded(ledger.ledger, clock, ledger.ingest.catch_up)
    changes = Changes(publisher, process_variables(), recorded)
    keys = Keys(publisher, overrides)
    access = Access(database, clock, publisher.vault)
    sessions = Sessions(database, clock, access.principal)
    checkpoints = Checkpoints(database, clock, MasterKeys(boot.master_key), data)
    replays = Replays(publisher, InnerDoor(boot.run_dir, MasterKeys(boot.master_key), clock))
    evals = EvalRuns(publisher, replays, process_variables())
    gates = dict.fromkeys((StepKind.EVAL, StepKind.REPLAY), EvalGates(evals))
    rollouts = Rollouts(publisher, ledger.ledger, ledger.signals, overrides, gates)
    watch = RolloutWatch(rollouts, ledger.ingest.catch_up, LeaseWriter(lease_path(data)))
    notices = NoticeRoom(database, clock, publisher.vault, recorded.callers, ledger.ledger, notice_ways(boot))
    return Core(
        database, publisher, changes, keys, ledger, sessions, access, checkpoints, overrides, drills, rollouts, watch,
        replays, notices, evals,
    )  # fmt: skip


def first_state(core: Core, boot: Boot) -> FirstState:
    """Bring the snapshot directory up to date, bootstrap, apply the files of `up -f`, make the first keys.

    Raises:
        Refused: at the very first start, if a file is not accepted: there is nothing to go on with then.
    """
    variables = {name: Secret(value) for name, value in process_variables().items()}
    is_first = core.publisher.catch_up(variables) == 0
    bootstrap(core.publisher, core.changes, bundled_documents(read_settings().model_store))
    complaints = list(core.publisher.unusable_variables(variables))
    try:
        apply_files(core, [Path(name) for name in boot.options.get("files", ())])
    except Refused as error:
        if is_first:
            raise
        complaints.append(f"the files of `up -f` were not applied: {reason_of(error)}")
    for complaint in complaints:
        _log.error(complaint)
    # The apps of a demo have keys from its making on; a person's own first ones are still to be made.
    of_app = DEFAULT if is_demo(boot.data_dir) else None
    return FirstState(make_first_keys(core.publisher, core.keys, of_app), "; ".join(complaints))


def apply_files(core: Core, paths: Sequence[Path]) -> None:
    """Apply manifest files of the server's own machine, all or nothing; what was changed elsewhere stays, and is told.

    Raises:
        Refused: with every finding.
    """
    if not paths:
        return
    files: list[ManifestFile] = []
    unreadable: list[Finding] = []
    for path in paths:
        try:
            files.append(read_file(path))
        except InvalidManifest as error:
            unreadable += error.findings
    if unreadable:
        # Together with what is wrong in the others, so that one look at the log finds all of it.
        reading = parse_manifests(files)
        raise refusal(InvalidManifest([*unreadable, *in_order(reading.findings, reading.files)]))
    applied = core.changes.apply(core.changes.read(files), {}, UP, note="files of this server's start")
    if applied.state is ChangeState.OPEN:
        _log.warning("the files of `up -f` wait for approval as %s: `lineclear approve %s`", *[applied.change] * 2)
    for drift in applied.plan.drift:
        _log.warning("%s was changed elsewhere and stays as it is; see `lineclear drift`", drift.object)


def endpoints(core: Core, boot: Boot, tls: ServerContext | None = None) -> tuple[Endpoint, ...]:
    """Every endpoint of the admin port; `tls` is what the data port shows too."""

    def own_trust() -> ssl.SSLContext | None:
        # The name in the certificate is for callers; here it is the certificate itself that is known.
        return None if tls is None else pinned_context(tls.certificate.leaf_pem)

    gateway_url = str(boot.options.get("gateway_url", ""))
    shown_url = str(boot.options.get("public_url", "")) or gateway_url
    ledger = core.ledger.endpoints()
    callers = Callers(core.ledger.ledger, SystemClock(), core.ledger.ingest.catch_up)
    if not (boot.options.get("behind_proxy") or boot.options.get("is_admin_shared")):
        # On loopback a scraper needs no token; behind a proxy every caller looks local, so there it does.
        ledger = tuple(replace(e, permission=Permission.PUBLIC) if e.path == "/metrics" else e for e in ledger)
    return (
        *status_http.endpoints(
            core.publisher,
            boot.run_dir / "state.json",
            shown_url,
            core.drills.state,
            core.access.emergencies.announced,
            is_demo=is_demo(boot.data_dir),
            unwatched=core.watch.problems,
        ),
        *(changes := changes_http.endpoints(core.changes, core.database, core.access.principal_in)),
        *promotion_http.endpoints(core.database, changes),
        *keys_http.endpoints(core.keys),
        *providers_http.endpoints(ProviderTrials(core.publisher)),
        *secrets_http.endpoints(Secrets(core.publisher)),
        *deployments_http.endpoints(core.database, core.publisher.clock),
        *model_access_http.endpoints(core.database, core.publisher.clock),
        *prompts_http.endpoints(core.database),
        *catalogue_http.endpoints(core.database, core.publisher.prices),
        *lifecycle_http.endpoints(core.changes, core.publisher, callers, SystemClock()),
        *cards_http.endpoints(core.database, SystemClock()),
        *policies_http.endpoints(core.publisher, core.ledger.ledger, SystemClock(), core.ledger.ingest.catch_up),
        *audit_http.endpoints(core.database, SystemClock(), core.checkpoints),
        *overrides_http.endpoints(core.overrides, core.drills, core.database, SystemClock()),
        *replays_http.endpoints(core.replays),
        *evals_http.endpoints(core.evals, core.replays),
        *core.notices.endpoints(),
        *rollouts_http.endpoints(core.rollouts, partial(refuse_follow_up, core.database), core.ledger.ingest.catch_up),
        *trials_http.endpoints(core.keys, core.database, SystemClock(), gateway_url, own_trust),
        *sessions_http.endpoints(
            core.sessions,
            shown_admin_url(boot),
            str(boot.options.get("root_path", "")),
            is_public=bool(boot.options.get("public_admin_url")),
        ),
        *core.access.endpoints(str(boot.options.get("admin_url", "")), str(boot.options.get("root_path", ""))),
        *ledger,
    )


def notice_ways(boot: Boot) -> Ways:
    """How notices leave this server.

    Raises:
        StartRefused: if what the environment says of the mail server cannot be used.
    """
    said = read_settings().notices
    try:
        server = None if said.smtp_url is None else mail_server(said.smtp_url, said.smtp_from)
    except ValueError as error:
        raise StartRefused(str(error)) from error
    return Ways(server, said.private_network, f"{shown_admin_url(boot)}{boot.options.get('root_path', '')}")


def shown_admin_url(boot: Boot) -> str:
    """Where people reach the admin port, which a proxy or a certificate's name may tell apart from where it listens."""
    return str(boot.options.get("public_admin_url", "") or boot.options.get("admin_url", ""))


def identity_provider(core: Core, redirect_uri: str) -> IdentityProvider | None:
    """The provider that people sign in through, as the environment says it; None if it says nothing.

    Raises:
        StartRefused: if what it says cannot be used.
    """
    said = read_settings().oidc
    if said is None:
        return None
    secret = None if said.client_secret is None else Secret(said.client_secret)
    try:
        settings = IdentityProviderSettings(
            said.issuer, said.client_id, secret, said.algorithm, said.groups_claim, said.scopes, said.private_network
        )
    except ValueError as error:
        raise StartRefused(str(error)) from error
    return IdentityProvider(settings, redirect_uri, core.database, SystemClock())


def authenticator(data_dir: Path, access: Access) -> Callable[[str], Principal | None]:
    """Knows the token in the data directory, whose holder may do everything, and every token that was made here."""
    return access.authenticator(Secret((data_dir / "admin.token").read_text(encoding="ascii").strip()))


if __name__ == "__main__":
    main()
