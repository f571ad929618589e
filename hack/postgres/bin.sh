#!/usr/bin/env bash
# Prints the folder of PostgreSQL's server programs (initdb, postgres, psql …);
# installs Debian's package first when there is none (that needs root).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib/base.sh"
. "$LIB/packages.sh"

# The newest that is there; 15 on Debian 12.
newest() { compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -t/ -k5 -n | tail -n 1; }
if [ -z "$(newest)" ]; then
	as_root
	install_packages postgresql >&2
fi
initdb=$(newest)
[ -n "$initdb" ] || die "no PostgreSQL server under /usr/lib/postgresql: install the package postgresql"
dirname "$initdb"
