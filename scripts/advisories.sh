#!/usr/bin/env bash
# Holds every dependency against RustSec's advisories, with a copy of the database at ADVISORY_DB, or beside the
# checkout in shared/data/advisory-db. Where there is none it says so, and that nothing was checked.
set -euo pipefail
cd "$(dirname "$0")/.."

database=${ADVISORY_DB:-../shared/data/advisory-db}
if [ ! -d "$database/crates" ]; then
    echo "advisories: NOT CHECKED, there is no database at $database; set ADVISORY_DB to a copy of https://github.com/RustSec/advisory-db"
    exit 0
fi
scripts/tools.sh deny
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# cargo-deny wants a git checkout in a folder whose name is made of the address of the database.
checkout="$work/db/advisory-db-3157b0e258782691"
mkdir -p "$checkout"
cp -r "$database/." "$checkout"
git -C "$checkout" init -q
git -C "$checkout" add -A
git -C "$checkout" -c user.name=advisories -c user.email=advisories@localhost commit -qm "the copy"
sed "s|^\\[advisories\\]|&\ndb-path = \"$work/db\"|" deny.toml >"$work/deny.toml"
newest=$(grep -rhoE '^date = "[0-9-]+"' "$database/crates" | cut -d '"' -f 2 | sort | tail -1)
echo "advisories: the newest in $database is of $newest; what was found since is not in it"
# All targets of deny.toml are looked at, not only what this machine builds.
cargo fetch --quiet --locked
cargo deny --offline --config "$work/deny.toml" check advisories
