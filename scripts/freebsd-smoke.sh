#!/bin/sh
# A short trial on a FreeBSD host, in two minutes at most: a box of two folders serves what it was given, is asked and told all that an
# operator asks and tells, and ends; then, as root and with the packages installed, the same through rc.d. Send what it prints to the developers.
#
#   freebsd-smoke.sh [FOLDER]     where the programs are (default: /usr/local/bin). Needs curl (pkg install curl)
#
# It writes below one folder of its own in /var/tmp and nowhere else, and listens on 127.0.0.1, ports $OCA_PORT (18080) and the next.

set -eu
programs=${1:-/usr/local/bin}
port=${OCA_PORT:-18080}
admin=$((port + 1))
work=$(mktemp -d /var/tmp/oca-smoke.XXXXXX)
daemon=

fail() { printf 'FAILED: %s\n' "$*"; [ ! -f "$work/log" ] || tail -n 20 "$work/log"; exit 1; }
say() { printf 'ok  %s\n' "$*"; }
# await SECONDS COMMAND...: until it succeeds.
await() {
    left=$(($1 * 5))
    shift
    until "$@" > "$work/said" 2>&1; do
        left=$((left - 1))
        [ $left -gt 0 ] || { cat "$work/said"; fail "waited in vain: $*"; }
        sleep 0.2
    done
}
# shellcheck disable=SC2317 # called by the trap
clean_up() {
    [ -z "$daemon" ] || kill "$daemon" 2> /dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM
ctl() { "$programs/ocactl" --config "$work/oca.toml" "$@"; }
get() { curl -fsS --max-time 10 "$@"; }

configure() {
    mkdir "$work/a" "$work/b" "$work/state" "$work/run" "$work/media"
    cat > "$work/oca.toml" <<END
[appliance]
id = "c001.smoke.example"
state_dir = "$work/state"
run_dir = "$work/run"
[listen]
http = ["127.0.0.1:$port"]
admin = "127.0.0.1:$admin"
[workers]
count = 2
memory = "4 MiB"
[[tier]]
name = "nvme"
role = "hot"
devices = ["$work/a", "$work/b"]
shared_fs = true
END
    dd if=/dev/urandom of="$work/media/film.mp4" bs=1048576 count=9 2> "$work/said"
    for device in a b; do ctl device add "$work/$device"; done
    ctl content import "$work/media" --prefix /vod
}

# What comes is what was put there: whole, a range from its middle, and only if it has changed.
plays() {
    get -o "$work/whole" "http://127.0.0.1:$port/vod/film.mp4"
    cmp "$work/whole" "$work/media/film.mp4" || return 1
    get -r 1048575-3145729 -o "$work/part" "http://127.0.0.1:$port/vod/film.mp4"
    dd if="$work/media/film.mp4" of="$work/expected" bs=1 skip=1048575 count=2097155 2> "$work/said"
    cmp "$work/part" "$work/expected" || return 1
    [ "$(curl -s -o "$work/said" -w '%{http_code}' "http://127.0.0.1:$port/not-here")" = 404 ]
}
many_play() {
    at=0
    while [ $at -lt 64 ]; do
        curl -fsS --max-time 30 -o /dev/null "http://127.0.0.1:$port/vod/film.mp4" &
        players="${players:-} $!"
        at=$((at + 1))
    done
    # shellcheck disable=SC2086 # many
    for player in $players; do wait "$player" || return 1; done
}
from_memory() { plays && get "http://127.0.0.1:$admin/metrics" | grep '^oca_sent_bytes_total{.*source="memory".*} [1-9]'; }

by_hand() {
    OCA_LOG_FORMAT=syslog "$programs/oca-daemon" --config "$work/oca.toml" 2> "$work/log" &
    daemon=$!
    await 30 get "http://127.0.0.1:$admin/readyz"
    say "ready: $(ctl status --json | grep -o '"backend": *"[a-z]*"' | sort | uniq -c | tr -s ' ')"
    plays || fail "what was served is not what was put there"
    say "whole, ranges, 404"
    many_play || fail "64 players at once"
    say "64 players at once"
    await 30 from_memory
    say "sent from memory: sendfile(2) with SF_NODISKIO"
    ctl selftest
    ctl doctor || true
    ctl log-level debug --for 1min --of daemon
    kill -HUP $daemon
    await 10 grep -q 'the configuration was reloaded' "$work/log"
    say "reload"
    ctl drain --force
    ctl undrain
    get "http://127.0.0.1:$admin/metrics" | grep -E '^oca_(open_descriptors|tls_kernel|worker_stuck)|^process_' || true
    kill $daemon
    wait $daemon || fail "it ended with status $?"
    daemon=
    say "stop"
}

by_rc() {
    for name in oca_daemon oca_fill_agent; do service "$name" rcvar; done
    chown -R oca:oca "$work"
    chmod 755 "$work"
    set -- service -E oca_daemon_config="$work/oca.toml" oca_daemon
    "$@" onecheck || fail "check"
    "$@" onestart || fail "start"
    await 30 get "http://127.0.0.1:$admin/readyz"
    "$@" onestatus || fail "status"
    plays || fail "what was served is not what was put there"
    "$@" onereload || fail "reload"
    "$@" onestop || fail "stop"
    ! "$@" onestatus || fail "it runs on"
    say "rc.d: check, start, status, reload, stop"
    newsyslog -n -f /usr/local/etc/newsyslog.conf.d/oca.conf && say "newsyslog"
}

command -v curl > /dev/null || fail "no curl: pkg install curl"
uname -a
"$programs/oca-daemon" --version
configure
by_hand
if [ "$(id -u)" -eq 0 ] && [ -x /usr/local/etc/rc.d/oca_daemon ]; then
    by_rc
else
    echo "NOT TRIED: rc.d (as root, with the package oca-appliance)"
fi
echo "ALL SEEN"
