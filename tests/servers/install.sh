#!/bin/sh
# Installs what the tests start for themselves: MariaDB, RabbitMQ, Chromium and Prometheus, from
# Debian.
# Does nothing when they are there.  Starts no service and stops none.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=
for pair in mariadbd:mariadb-server rabbitmq-server:rabbitmq-server chromium:chromium \
    prometheus:prometheus promtool:prometheus; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
# Playwright brings a Node.js that leans on this library.
ls /usr/lib/*/libatomic.so.1 >/dev/null 2>&1 || missing="$missing libatomic1"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    if command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
        exec sudo -n "$0"
    fi
    echo "The tests need these packages: sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

# Debian starts a service as soon as it is installed.  This file says no (101) for as long as
# we install; one that is there already is put back as it was.
policy=/usr/sbin/policy-rc.d
aside=$policy.before-bookstore
log=$(mktemp)
restore() {
    rm -f "$policy" "$log"
    if [ -e "$aside" ]; then mv "$aside" "$policy"; fi
}
trap restore EXIT
trap 'exit 130' INT TERM HUP
# An earlier run that was killed has left the real one aside.
if [ -e "$policy" ] && [ ! -e "$aside" ]; then mv "$policy" "$aside"; fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

echo "Installing$missing ..."
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # a list of packages
if ! { apt-get -q update && apt-get -q -y -o DPkg::Lock::Timeout=300 \
    install --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    exit 1
fi
