"""Tells the outside that the platform runs: the ready file, or the same facts for a person; up.json for the CLI.

In: the parts and what they last said. Out: files and a screen of text. Standard library only.
"""

import json
import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from lineclear.base.certificate import Certificate
from lineclear.compose.datadir import DataDirectory, write_atomically
from lineclear.compose.detach import LOG_FILE
from lineclear.compose.part import Part
from lineclear.compose.up import DEMO_FILE, UpConfig

DEGRADED_S = 30.0
"""Parts silent for so long are listed as degraded instead of waited for."""


def is_settled(parts: Collection[Part], uptime_s: float) -> bool:
    """All gateways serve, and every other part answers, is known to fail, or was silent for DEGRADED_S."""
    if not all(part.is_ready for part in parts if part.role == "gateway"):
        return False
    return uptime_s >= DEGRADED_S or all(part.is_settled for part in parts)


def ready_facts(config: UpConfig, data: DataDirectory, parts: Iterable[Part], gateway_url: str) -> dict[str, object]:
    """The content of the ready file; its shape is part of the outside contract."""
    by_name = {part.name: part for part in parts}
    control = by_name["control"]
    said = control.current.facts if control.is_ready and control.current is not None else {}
    return {
        "gateway_url": gateway_url,
        "admin_url": said.get("admin_url"),
        "admin_token": data.admin_token,
        "keys": said.get("keys"),
        "console_url": said.get("console_url"),
        "pid": os.getpid(),
        "data_dir": str(config.data_dir),
        "demo": (config.data_dir / DEMO_FILE).exists(),
        "degraded": sorted(part.name for part in by_name.values() if not part.is_ready),
        # Control says with its `ready` what it could not do, such as applying a file.
        "warnings": [control.current.reason] if said and control.current is not None and control.current.reason else [],
    }


def announce(config: UpConfig, facts: dict[str, object]) -> None:
    """Writes the ready file if one was asked for, else tells a person."""
    if config.ready_file is not None:
        write_atomically(config.ready_file, facts)
        return
    shown = {
        **facts,
        "gateway_url": config.public_url or facts["gateway_url"],
        "admin_url": facts["admin_url"] and (config.public_admin_url or facts["admin_url"]),
    }
    sys.stdout.write(ready_text(shown, config.data_dir / LOG_FILE if config.is_detached else None))
    sys.stdout.flush()


def ready_text(facts: dict[str, object], log_file: Path | None = None) -> str:
    """The ready facts as a screen of text.

    Args:
        facts: of `ready_facts`, with the addresses that people are to use.
        log_file: where one in the background writes to.
    """
    keys = facts["keys"]
    data_dir = facts["data_dir"]
    lines = [
        "",
        "Lineclear is ready.",
        f"  data port   {facts['gateway_url']}",
        f"  admin port  {facts['admin_url'] or 'down'}",
    ]
    if facts["console_url"]:
        lines.append(f"  console     {facts['console_url']}  (opens once, within ten minutes)")
    lines.append(f"  admin token in {Path(str(data_dir)) / 'admin.token'}")
    if isinstance(keys, dict):
        lines += ["  keys of app `default`, shown this once:"]
        lines += [f"    {environment:<5} {key}" for environment, key in keys.items()]
    else:
        lines += ["  keys were shown at the first start; make more with `lineclear keys create`"]
    if facts["demo"]:
        lines.append("  demo data: the teams, apps, requests and costs in here are simulated")
    if facts["degraded"]:
        lines.append(f"  not answering: {', '.join(_list_of(facts['degraded']))}")
    lines += [f"  {warning}" for warning in _list_of(facts["warnings"])]
    if isinstance(keys, dict) and "test" in keys:
        lines += [
            "",
            "Try it:",
            f"  curl {facts['gateway_url']}/v1/chat/completions -H 'authorization: Bearer {keys['test']}' \\",
            "    -H 'content-type: application/json' \\",
            """    -d '{"model": "simulated", "messages": [{"role": "user", "content": "Hello"}]}'""",
        ]
    down = f"`lineclear down --data {data_dir}`"
    end = f"Stop with Ctrl-C or {down}." if log_file is None else f"Stop with {down}. Its log is {log_file}."
    return "\n".join([*lines, "", end, ""])


def _list_of(value: object) -> list[str]:
    return list(map(str, value)) if isinstance(value, list) else []


def write_up_file(data: DataDirectory, gateway_url: str, admin_url: str, certificate: Certificate | None) -> None:
    """up.json: how the CLI finds this server from the data directory alone, and which certificate it has to show."""
    facts: dict[str, object] = {"pid": os.getpid(), "gateway_url": gateway_url, "admin_url": admin_url}
    shown = None if certificate is None else certificate.leaf_pem
    write_atomically(data.path / "up.json", {**facts, "run_dir": str(data.run_dir), "certificate": shown})


def withdraw(config: UpConfig, data: DataDirectory) -> None:
    """Removes the files that say that a server runs."""
    (data.path / "up.json").unlink(missing_ok=True)
    if config.ready_file is not None and _is_ours(config.ready_file):
        config.ready_file.unlink(missing_ok=True)


def _is_ours(ready_file: Path) -> bool:
    try:
        return bool(json.loads(ready_file.read_bytes())["pid"] == os.getpid())
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def complain(message: str) -> None:
    """A refusal to start, for the person who typed the command."""
    sys.stderr.write(f"lineclear: {message}\n")
    sys.stderr.flush()
