"""The running platform: whether it and its providers answer, what is not ready, how far the ledger is behind."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lineclear.cli.checkup.finding import Finding, Level, Scene
from lineclear.client.admin import AdminError, AdminUnreachable, path_of

CERTIFICATE_DAYS = 14
"""An end nearer than this is warned of."""
LAG_WARNING_S = 60.0
"""The ledger is read about once a second; a minute behind, usage and budgets shown are old."""
_LAG = re.compile(r"^lineclear_ledger_lag_seconds (\S+)$", re.MULTILINE)


def control(scene: Scene) -> Iterator[Finding]:
    """Whether the admin port answers and lets us in."""
    if scene.status is not None:
        url = scene.client.url if scene.client else ""
        yield Finding(
            "control", Level.OK, f"{url} answers: {scene.status['version']}, revision {scene.status['revision']}"
        )
    elif scene.holder is not None:
        yield Finding(
            "control", Level.FAILURE, f"process {scene.holder.pid} runs, and its admin port does not let us in",
            "inference goes on; nothing can be changed or seen",
            "its log says why; `lineclear doctor` needs --data of that server, or LINECLEAR_URL and LINECLEAR_TOKEN",
        )  # fmt: skip
    elif scene.kept_away:
        yield Finding("control", Level.FAILURE, scene.kept_away, "it was not asked", "give --token or LINECLEAR_TOKEN")
    elif scene.client is not None:
        yield Finding(
            "control", Level.FAILURE, f"{scene.client.url} does not answer, or does not let us in",
            "nothing can be changed or seen", "look at its address and its token, then at its log",
        )  # fmt: skip
    else:
        yield Finding("control", Level.SKIPPED, "nothing runs here", "", "lineclear up")


def processes(scene: Scene) -> Iterator[Finding]:
    """Places that nobody fills, and processes that are not ready."""
    if scene.status is None:
        yield Finding("processes", Level.SKIPPED, "the server does not answer")
        return
    listed: Any = scene.status["processes"]  # Any: the supervisor's file as control shows it
    parts = listed.get("parts", []) if isinstance(listed, dict) else []
    waiting = [part for part in parts if part.get("state") != "ready"]
    for part in waiting:
        reason = part.get("reason") or part.get("last_end") or "no reason was given"
        yield Finding(
            "processes", Level.FAILURE if part.get("failures") else Level.WARNING,
            f"{part.get('name')} is {part.get('state')}: {reason}", "what it does is not done", "lineclear ps",
        )  # fmt: skip
    silent = scene.status["gateways"]["silent"]
    if silent:
        yield Finding(
            "processes", Level.WARNING, f"{', '.join(silent)} did not take revision {scene.status['revision']} yet",
            "they go on with the one before", "lineclear restart",
        )  # fmt: skip
    if not waiting and not silent:
        yield Finding("processes", Level.OK, f"{len(parts)} processes are ready")


def certificate(scene: Scene) -> Iterator[Finding]:
    """The certificate of both ports: how long it is good for, and whether the one in the files is in force."""
    listed: Any = scene.status["processes"] if scene.status is not None else None  # Any: as above
    shown: Any = listed.get("certificate") if isinstance(listed, dict) else None
    if not isinstance(shown, dict):
        reason = "both ports speak without TLS" if isinstance(listed, dict) else "the server does not answer"
        yield Finding("certificate", Level.SKIPPED, reason)
        return
    if shown["error"]:
        yield Finding(
            "certificate", Level.FAILURE, str(shown["error"]), "callers are shown the one before, until that ends",
            "put a good pair in place, then `kill -HUP` the supervisor (`systemctl reload lineclear`)",
        )  # fmt: skip
    ends = datetime.fromisoformat(str(shown["expires_at"]))
    days = (ends - scene.clock.now()).days
    words = f"the certificate is good until {ends:%Y-%m-%d}"
    if days < CERTIFICATE_DAYS:
        level = Level.FAILURE if days < 0 else Level.WARNING
        why = "no caller connects any more" if days < 0 else "after that no caller connects any more"
        yield Finding("certificate", level, f"{words}, {days} days from now", why, "renew it")
    else:
        yield Finding("certificate", Level.OK, words)


def ledger(scene: Scene) -> Iterator[Finding]:
    """How far what gateways wrote is ahead of what usage shows."""
    text = _metrics(scene)
    found = _LAG.search(text) if text else None
    if found is None:
        yield Finding("ledger", Level.SKIPPED, "the server's metrics cannot be read")
        return
    lag_s = float(found.group(1))
    words = f"the ledger is {lag_s:.0f} s behind"
    if lag_s > LAG_WARNING_S:
        why = "usage, costs and logs are that old; budgets are not, they are counted elsewhere"
        yield Finding("ledger", Level.WARNING, words, why, "is the disk slow or full? control's log says what it reads")
    else:
        yield Finding("ledger", Level.OK, words)


def providers(scene: Scene) -> Iterator[Finding]:
    """With --online: each provider called with its credential of each environment."""
    if not scene.is_online:
        yield Finding("providers", Level.SKIPPED, "not called", "", "lineclear doctor --online calls each with its key")
        return
    client = scene.client
    if client is None or scene.status is None:
        yield Finding("providers", Level.SKIPPED, "the server does not answer, and it knows the credentials")
        return
    names = [item["name"] for item in client.get(path_of("providers"))["items"]]
    environments = [item["name"] for item in client.get(path_of("environments"))["items"]]
    if not names:
        yield Finding("providers", Level.OK, "there are none", "", "lineclear providers add NAME")
    for name in names:
        for environment in environments:
            trial = client.post(path_of("providers", name, "test"), {"environment": environment})
            words = f"{name} in {environment}: {trial['message']}"
            if trial["ok"]:
                yield Finding("providers", Level.OK, words, trial["hint"])
            else:
                level = Level.WARNING if trial["verdict"] == "unproven" else Level.FAILURE
                yield Finding("providers", level, words, "calls there fail or go to the fallback", trial["hint"])


def _metrics(scene: Scene) -> str | None:
    if scene.client is None or scene.status is None:
        return None
    try:
        return str(scene.client.get("/metrics"))
    except (AdminError, AdminUnreachable):
        return None
