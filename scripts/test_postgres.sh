#!/bin/sh
# Starts a throw-away PostgreSQL on loopback for the tests marked `postgres` and prints its URL:
#
#     export VOICEGUARD_TEST_POSTGRES_URL=$(scripts/test_postgres.sh start)
#     pytest -m postgres
#     scripts/test_postgres.sh stop
#
# On a bare Debian machine it installs the package, as root; as another user the package must be there.
set -eu

folder=${VOICEGUARD_TEST_POSTGRES_DIR:-/tmp/voiceguard-test-postgres}
port=${VOICEGUARD_TEST_POSTGRES_PORT:-54329}

find_bin() { ls -d /usr/lib/postgresql/*/bin "$(command -v initdb 2>/dev/null | xargs -r dirname)" 2>/dev/null | sort -V | tail -n 1; }

# initdb and postgres refuse to run as root
as_user() {
    if [ "$(id -u)" = 0 ]; then
        su -s /bin/sh postgres -c "$1"
    else
        sh -c "$1"
    fi
}

start() {
    bin=$(find_bin)
    if [ -z "$bin" ]; then
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql; } >&2
        bin=$(find_bin)
    fi
    if ! as_user "'$bin/pg_ctl' -D '$folder/data' status" >/dev/null 2>&1; then
        rm -rf "$folder"
        mkdir -p "$folder"
        [ "$(id -u)" = 0 ] && chown postgres "$folder"
        as_user "'$bin/initdb' -D '$folder/data' -U voiceguard --auth=trust --encoding=UTF8 --locale=C" >&2
        # No fsync: what is in there need not outlive the machine.
        as_user "'$bin/pg_ctl' -D '$folder/data' -l '$folder/log' -w start -o '-h 127.0.0.1 -p $port -k $folder -c max_connections=200 -c fsync=off'" >&2
    fi
    echo "postgresql://voiceguard@127.0.0.1:$port/postgres"
}

stop() {
    bin=$(find_bin)
    as_user "'$bin/pg_ctl' -D '$folder/data' -m immediate stop" >&2
    rm -rf "$folder"
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
