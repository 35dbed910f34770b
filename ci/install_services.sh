#!/bin/sh
# Installs the servers that the memory tests start: PostgreSQL, MariaDB, Redis. Quick when they are there.
# Needs root on Debian or Ubuntu. The packages' own services are not started; the tests start their own.
set -eu

missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v mariadbd >/dev/null 2>&1 || missing="$missing mariadb-server"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"
if [ -z "$missing" ]; then
    echo "services: PostgreSQL, MariaDB and Redis are installed"
    exit 0
fi

# Packages start their services at installation unless this hook refuses.
hook=/usr/sbin/policy-rc.d
made_hook=""
if [ ! -e "$hook" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$hook"
    chmod 755 "$hook"
    made_hook=yes
fi
cleanup() {
    if [ -n "$made_hook" ]; then
        rm -f "$hook"
    fi
}
trap cleanup EXIT

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of package names
apt-get install -q -y --no-install-recommends $missing
