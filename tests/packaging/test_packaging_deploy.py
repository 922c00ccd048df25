"""What lies in `deploy`: linted, and as much of it run as can be without a container engine or systemd as the init.

The image itself is built and run by test_packaging_image.py.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineclear.config.settings import SETTINGS
from lineclear.testing.authority import Authority
from lineclear.testing.platform import Platform

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE_LINES_MAX = 25
UID_MIN = 10_000
INSTRUCTIONS = frozenset(
    {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "STOPSIGNAL", "USER", "VOLUME"}
    | {"WORKDIR"}
)
"""What our Dockerfile uses. ADD fetches and unpacks unasked, and is not among them."""
BUILD_TOOLS = re.compile(r"\b(pip|apt|apt-get|gcc|make|curl|git)\b")


def instructions() -> list[tuple[str, str]]:
    """Name and words of each instruction of the Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    rows = [line.strip().partition(" ") for line in text.splitlines() if line.strip()]
    return [(name, " ".join(words.split())) for name, _, words in rows]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, FROM first; what stands before the first is left out."""
    found: list[list[tuple[str, str]]] = []
    for row in instructions():
        if row[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(row)
    return found


def words_of(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [words for instruction, words in stage if instruction == name]


def test_the_image_is_built_from_a_base_of_choice_and_ends_without_tools_and_without_root() -> None:
    rows = instructions()
    assert {name for name, _ in rows} <= INSTRUCTIONS
    assert rows[0][0] == "ARG"
    assert re.fullmatch(r"BASE=[a-z0-9./-]+:[0-9][a-z0-9.-]*", rows[0][1]), "a base with a version, not `latest`"
    first, *others = stages()
    assert first[0][1] == "${BASE} AS base"
    assert all(stage[0][1].split()[0] == "base" for stage in others)
    last = others[-1]
    assert not [words for words in words_of(last, "RUN") if BUILD_TOOLS.search(words)]
    (user,) = words_of(last, "USER")
    assert min(map(int, user.split(":"))) >= UID_MIN
    assert [name for name, _ in last].index("USER") > max(
        at for at, (name, _) in enumerate(last) if name in ("RUN", "COPY")
    )
    assert words_of(last, "VOLUME") == ["/data"]
    assert words_of(last, "EXPOSE") == ["4100 4101"]
    for name in ("ENTRYPOINT", "CMD"):
        (words,) = words_of(last, name)
        assert json.loads(words), "the exec form: a shell would keep SIGTERM for itself"
    assert json.loads(words_of(last, "HEALTHCHECK")[0].partition("CMD ")[2])[-1] == "/opt/lineclear/ready.py"


def test_the_image_s_settings_are_settings_and_its_files_exist() -> None:
    *builds, last = stages()
    known = {setting.name for setting in SETTINGS} | {"PATH", "PYTHONDONTWRITEBYTECODE"}
    (variables,) = words_of(last, "ENV")
    assert {word.partition("=")[0] for word in variables.split()} <= known
    copied = [words for stage in (*builds, last) for words in words_of(stage, "COPY") if not words.startswith("--from")]
    sources = [source for words in copied for source in words.split()[:-1]]
    assert sources
    assert not [source for source in sources if not (ROOT / source.removeprefix("./")).exists()]
    # Nothing else of a working tree is sent to whoever builds.
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in sent
    assert {line.removeprefix("!") for line in sent if line.startswith("!")} == set(sources)


def test_the_compose_file_publishes_on_loopback_only_and_takes_everything_away_that_is_not_needed() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert len(text.splitlines()) <= COMPOSE_LINES_MAX
    found: dict[str, Any] = yaml.safe_load(text)
    service = found["services"]["lineclear"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert set(service["environment"]) <= {setting.name for setting in SETTINGS}
    # It says that something in front does TLS, which is true only as long as nobody else gets in.
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert set(found["volumes"]) == {"data"}


def unit_at(folder: Path, program: str) -> Path:
    """The unit with a program that exists here, since the checker looks for it."""
    unit = folder / "lineclear.service"
    text = (DEPLOY / "lineclear.service").read_text()
    assert "/opt/lineclear/bin/lineclear " in text
    unit.write_text(text.replace("/opt/lineclear/bin/lineclear", program))
    return unit


def test_the_systemd_unit_is_one_for_systemd_itself(tmp_path: Path) -> None:
    checker = shutil.which("systemd-analyze")
    if checker is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd), so nobody checks deploy/lineclear.service")
    unit = unit_at(tmp_path, str(Path(sys.executable).parent / "lineclear"))
    done = subprocess.run([checker, "verify", unit], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    broken = unit.read_text().replace("Type=notify", "Type=notified").replace("KillMode=mixed", "KilMode=mixed")
    unit.write_text(broken)
    told = subprocess.run([checker, "verify", unit], capture_output=True, text=True, check=False, timeout=60)
    assert "notified" in told.stderr
    assert "KilMode" in told.stderr


def test_the_unit_s_times_fit_the_platform_s_own() -> None:
    rows = (DEPLOY / "lineclear.service").read_text().splitlines()
    given = dict(row.partition("=")[::2] for row in rows if "=" in row and not row.startswith("#"))
    # Longest drain of a gateway and the three stages after it would be 700 s; running streams are what takes long.
    assert int(given["TimeoutStopSec"]) > 600
    assert given["Type"] == "notify"
    assert given["ExecReload"] == "/bin/kill -HUP $MAINPID"


def ready(environment: Mapping[str, str], data_dir: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DEPLOY / "ready.py")]
    variables = {**environment, "LINECLEAR_DATA": str(data_dir)}
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_the_health_check_asks_the_data_port_alone(
    tmp_path: Path, child_environment: Mapping[str, str], is_encrypted: bool
) -> None:
    cert, key = Authority(tmp_path).files("elsewhere.example")
    flags = ["--tls-cert", str(cert), "--tls-key", str(key)] if is_encrypted else []
    with Platform(tmp_path, environment=child_environment, arguments=flags) as platform:
        healthy = ready({**child_environment, "HTTP_PROXY": "http://127.0.0.1:1"}, platform.data_dir)
        assert healthy.returncode == 0, healthy.stderr
        (control,) = platform.processes("control")
        os.kill(control, signal.SIGSTOP)
        assert ready(child_environment, platform.data_dir).returncode == 0
        os.kill(control, signal.SIGCONT)
    gone = ready(child_environment, platform.data_dir)
    assert (gone.returncode, "not ready" in gone.stderr) == (1, True)


SCENE = """
set -e
mount --make-rprivate /
mount --bind "$DATA" "$DATA"
mount -o remount,ro,bind /
if touch /opt/written 2>/dev/null; then echo "the root can be written to"; exit 99; fi
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all \
  "$PROGRAM" -P -m lineclear up --data "$DATA" --port 0 --admin-port 0 --ready-file "$DATA/ready.json"
"""
"""As the image is run: nothing can be written but the volume, no capability is left."""


def test_it_runs_on_a_read_only_root_with_one_volume_and_no_capabilities(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not make a mount namespace, so nothing shows here that a read-only root is enough")
    # A short path, as in the image: sockets lie in the volume then.
    with tempfile.TemporaryDirectory(prefix="lc-", ignore_cleanup_errors=True) as volume:
        variables = {**child_environment, "DATA": volume, "PROGRAM": sys.executable, "XDG_DATA_HOME": volume}
        command = ["unshare", "--mount", "sh", "-c", SCENE]
        ready_file = Path(volume) / "ready.json"
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not ready_file.exists():
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
            assert json.loads(ready_file.read_text())["degraded"] == []
        finally:
            process.terminate()
            process.wait(60)
