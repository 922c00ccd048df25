"""The `lineclear` command: one table of commands, each imported when it is called."""

import importlib
import sys

import click

import lineclear
from lineclear.cli.table import CommandRow, LazyGroup

INTERRUPTED = 130
"""`ExitCode.INTERRUPTED`, which `--help` need not load."""

COMMANDS = {
    "init": CommandRow("lineclear.cli.init:init", "Write a first manifest and its schema."),
    "up": CommandRow("lineclear.cli.up:up", "Start the platform on this machine."),
    "demo": CommandRow("lineclear.cli.demo:demo", "Serve an invented company with a month of requests."),
    "down": CommandRow("lineclear.cli.down:down", "Stop the platform of a data directory."),
    "restart": CommandRow("lineclear.cli.restart:restart", "Restart every process without refusing a request."),
    "status": CommandRow("lineclear.cli.status:status", "Show processes, their states and the revision in force."),
    "ps": CommandRow("lineclear.cli.ps:ps", "List the processes with memory and uptime."),
    "doctor": CommandRow("lineclear.cli.doctor:doctor", "Look for what keeps the platform from working."),
    "validate": CommandRow("lineclear.cli.validate:validate", "Check manifest files without a server."),
    "plan": CommandRow("lineclear.cli.plan:plan", "Show what applying manifest files would change."),
    "apply": CommandRow("lineclear.cli.apply:apply", "Apply manifest files, or an approved change."),
    "approve": CommandRow("lineclear.cli.changes:approve", "Approve a change of somebody else."),
    "changes": CommandRow("lineclear.cli.changes:changes", "List, show, reject, withdraw and rebase changes."),
    "drift": CommandRow("lineclear.cli.plan:drift", "List what stands otherwise than files say."),
    "export": CommandRow("lineclear.cli.export:export", "Write what stands as manifests."),
    "schema": CommandRow("lineclear.cli.validate:schema", "Print the JSON Schema of manifests."),
    "ask": CommandRow("lineclear.cli.ask:ask", "Send one test message to a route."),
    "console": CommandRow("lineclear.cli.console:console", "Print a link that opens the console."),
    "login": CommandRow("lineclear.cli.login:login", "Sign in with a password; prints a token for the day."),
    "access": CommandRow("lineclear.cli.access:access", "Give, list and take roles; members and their tokens."),
    "can": CommandRow("lineclear.cli.can:can", "Tell whether somebody may do something, and why."),
    "break-glass": CommandRow("lineclear.cli.break_glass:break_glass", "Open a sealed role in an emergency."),
    "sessions": CommandRow("lineclear.cli.sessions:sessions", "List and end sessions of the console."),
    "providers": CommandRow("lineclear.cli.providers:providers", "List, add and test vendors and hosts."),
    "secrets": CommandRow("lineclear.cli.secrets:secrets", "Set, list and remove credentials that manifests name."),
    "keys": CommandRow("lineclear.cli.keys:keys", "Create, list and revoke API keys."),
    "apps": CommandRow("lineclear.cli.apps:apps", "List the applications that may call."),
    "models": CommandRow("lineclear.cli.models:models", "List models, fetch bundled ones."),
    "routes": CommandRow("lineclear.cli.routes:routes", "List, show, explain and simulate routes."),
    "policies": CommandRow("lineclear.cli.policies:policies", "List and show policies, with hits of their rules."),
    "releases": CommandRow("lineclear.cli.releases:releases", "List, show and compare the releases of routes."),
    "promote": CommandRow("lineclear.cli.promote:promote", "Carry a route's release to another environment."),
    "history": CommandRow("lineclear.cli.history:history", "Tell which release was in force when, and who changed it."),
    "prompts": CommandRow("lineclear.cli.prompts:prompts", "List, show and compare versions of prompts."),
    "rollback": CommandRow("lineclear.cli.rollback:rollback", "Let a route serve an earlier release, at once."),
    "drills": CommandRow("lineclear.cli.drills:drills", "Tell what could go back at once, and how drills went."),
    "block": CommandRow("lineclear.cli.block:block", "Let a model version be called no more."),
    "stop": CommandRow("lineclear.cli.stop:stop", "Stop AI for an app, a route, a provider or everybody."),
    "start": CommandRow("lineclear.cli.stop:start", "Lift a stop."),
    "evals": CommandRow("lineclear.cli.evals:evals", "Hold releases to what their answers should be."),
    "rollouts": CommandRow("lineclear.cli.rollouts:rollouts", "Follow, hold, advance and take back rollouts."),
    "datasets": CommandRow("lineclear.cli.datasets:datasets", "Keep, list and remove cases to ask releases."),
    "replays": CommandRow("lineclear.cli.replays:replays", "Ask a dataset of two releases, and compare."),
    "notices": CommandRow("lineclear.cli.notices:notices", "Read notices, take note, try channels."),
    "usage": CommandRow("lineclear.cli.usage:usage", "Sum requests, tokens and cost."),
    "logs": CommandRow("lineclear.cli.logs:logs", "List exchanges."),
    "explain": CommandRow("lineclear.cli.explain:explain", "Tell what happened to one request and why."),
    "ledger": CommandRow("lineclear.cli.ledger:ledger", "Check that no record is lost or doubled."),
    "audit": CommandRow("lineclear.cli.audit:audit", "List and verify the audit trail."),
    "completion": CommandRow("lineclear.cli.completion:completion", "Print the completion script of a shell."),
    "version": CommandRow("lineclear.cli.version:version", "Print versions."),
}


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(lineclear.__version__, prog_name="lineclear")
def root() -> None:
    """Lineclear: the layer between applications and AI models.

    Commands find the server by --url/--token, given behind the command, LINECLEAR_URL/LINECLEAR_TOKEN, or the data
    directory.
    """


def main() -> None:
    """Run the command line; exits 130 when interrupted, and with a line instead of a traceback when it breaks."""
    try:
        # click gives the code of an Exit back instead of raising it; a command that ends well gives None.
        sys.exit(root.main(prog_name="lineclear", standalone_mode=False))
    except click.ClickException as error:
        importlib.import_module("lineclear.cli.wrong_call").show_error(error, sys.argv[1:])
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except Exception as error:  # noqa: BLE001 - the edge of the process: what nobody foresaw is told, not shown raw
        sys.exit(importlib.import_module("lineclear.cli.defect").show_defect(error, sys.argv[1:]))
