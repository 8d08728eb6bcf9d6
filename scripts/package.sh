#!/usr/bin/env bash
# Packs a built binary for Debian and its relatives, and as an archive for everything else:
#
#   scripts/package.sh target/release/gatepost target/package
#
# Both hold the binary, the systemd unit with its drop-ins, an example of the configuration, completions and licences.
# The package makes no user (the unit has a dynamic one), enables nothing and starts nothing: a gateway without a
# configuration that somebody wrote is not what a network team wants to find.
set -euo pipefail
binary=$(realpath "${1:?the binary}")
mkdir -p "${2:?the folder to write to}"
folder=$(realpath "$2")
cd "$(dirname "$0")/.."

version=$("$binary" --version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/gatepost_${version}_$architecture

install -D -m 0755 "$binary" "$root/usr/bin/gatepost"
unit=$root/usr/lib/systemd/system/gatepost.service
install -d "$(dirname "$unit")" "$root/DEBIAN"
sed 's|/usr/local/bin/|/usr/bin/|g' deploy/systemd/gatepost.service >"$unit"
chmod 0644 "$unit"
documents=$root/usr/share/doc/gatepost
install -D -m 0644 -t "$documents" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE docs/gatepost.example.toml
install -D -m 0644 -t "$documents/drop-ins" deploy/systemd/gatepost.service.d/*.conf deploy/systemd/gatepost.socket
install -D -m 0644 -t "$documents/prometheus" deploy/prometheus/alerts.yml deploy/prometheus/prometheus.yml
install -D -m 0644 -t "$documents/dashboards" dashboards/*.json
completions=$root/usr/share/bash-completion/completions
install -d "$completions"
"$root/usr/bin/gatepost" completions bash >"$completions/gatepost"

cat >"$root/DEBIAN/control" <<END
Package: gatepost
Version: $version
Architecture: $architecture
Maintainer: Gatepost <gatepost@gatepost.invalid>
Installed-Size: $(du -sk "$root/usr" | cut -f 1)
Depends: libc6 (>= 2.31), libgcc-s1
Section: net
Priority: optional
Homepage: https://github.com/gatepost/gatepost
Description: event-forwarding gateway for isolated Windows servers
 Windows servers that may not reach the internet upload their events to Gatepost; it forwards each one, once, to
 Microsoft Sentinel or another collector. It is also a CONNECT proxy with an allow-list for agents that cannot be
 told another address.
END
# gzip: read by every dpkg, and a tenth of the time that xz takes.
dpkg-deb --root-owner-group -Zgzip --build "$root" "$folder" >/dev/null
rm -r "$root/DEBIAN"
tar -C "$work" --owner=0 --group=0 -czf "$folder/gatepost_${version}_$architecture.tar.gz" "$(basename "$root")"
ls "$folder"/gatepost_"${version}_$architecture".*
