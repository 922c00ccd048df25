#!/bin/sh
# The programs beside Python that tests and benchmarks use: nginx, wrk, systemd-analyze, a PostgreSQL server, and what people call with
# and look with: curl, node, Chromium.
# Installs what is missing where this is root on Debian or Ubuntu, else says what to install.
# With --full also what builds and runs the container image; without that, its test is skipped and says so.
set -eu

missing=""
PATH="$PATH:/usr/sbin:/sbin"
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v wrk >/dev/null || missing="$missing wrk"
command -v systemd-analyze >/dev/null || missing="$missing systemd"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing="$missing postgresql"
command -v curl >/dev/null || missing="$missing curl"
command -v node >/dev/null || missing="$missing nodejs"
command -v chromium >/dev/null || missing="$missing chromium"

if [ "${1:-}" = --full ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
    command -v podman >/dev/null || missing="$missing podman"
    command -v runc >/dev/null || missing="$missing runc"
fi

[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "These programs are missing, and this user cannot install them:$missing" >&2
    echo "Install them and run this again, for example: sudo apt-get install$missing" >&2
    exit 1
fi
