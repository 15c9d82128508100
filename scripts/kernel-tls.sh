#!/usr/bin/env bash
# TLS that the kernel seals, in a guest whose kernel can: bytes, suites, resumption, new keys, the end of a connection, and what is done
# where the kernel cannot. Prints a table; fails if any line of it does.
#
#   kernel-tls.sh               some ten minutes; the guest's image is made first if there is none (guest.sh)
#   kernel-tls.sh BACKEND...    of uring and epoll, as in kernel-tls.sh epoll
#
# Behaviour only: speed in this guest means nothing.

. "$(dirname "$0")/common.sh"

share=${TMPDIR:-/tmp}/oca-kernel-tls

# strip_to FOLDER FILE [NAME]: without what only a debugger wants, which is most of it.
strip_to() { strip -o "$1/${3:-${2##*/}}" "$2"; }

build() {
    local seam
    cd "$project"
    cargo build -q --locked --bin oca-daemon --bin ocactl
    seam=$(cargo test --locked -p oca-daemon --test kernel_tls --no-run 2>&1 | sed -n 's/.*Executable.*(\(.*\))$/\1/p')
    [ -n "$seam" ] || fail "the test of the seam was not built"
    strip_to "$share" "$target/debug/oca-daemon"
    strip_to "$share" "$target/debug/ocactl"
    strip_to "$share" "$seam" kernel_tls
}

[ "${1:-}" = inside ] || {
    share=$(mktemp -d "$share.XXXXXX")
    trap 'rm -rf "$share"' EXIT
    mkdir "$share/scripts"
    cp "$project/scripts/common.sh" "$project/scripts/kernel-tls.sh" "$share/scripts"
    step "build" build
    step "guest" "$project/scripts/guest.sh" --share "$share" --memory 1536 --seconds 1800 scripts/kernel-tls.sh inside "$@"
    exit 0
}

# From here on: in the guest, which has nothing else on these ports.
shift
[ $# -gt 0 ] || set -- uring epoll

https=127.0.0.1:8443 admin=127.0.0.1:9580 name=box.example
work=/root/kernel-tls
media=$work/media
daemon=''
failed=0

# row NAME COMMAND...: one line of the table. What a command that fails has said comes below it.
row() {
    if "${@:2}" > "$work/said" 2>&1; then
        printf '%-66s ok\n' "$scope$1"
    else
        failed=$((failed + 1))
        printf '%-66s FAILED\n' "$scope$1"
        { tail -n 15 "$work/said"; tail -n 3 "$work/daemon.log"; } 2> /dev/null | sed 's/^/    /'
    fi
}
scope=''

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    until "${@:2}" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { say "waited in vain: ${*:2}"; return 1; }
        sleep 0.2
    done
}

certificates() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
        -keyout "$work/authority.key" -out "$work/authority.pem"
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout "$work/key.pem" -out "$work/request.pem"
    openssl x509 -req -in "$work/request.pem" -CA "$work/authority.pem" -CAkey "$work/authority.key" -CAcreateserial -days 1 \
        -extfile <(printf 'subjectAltName=DNS:%s\n' "$name") -out "$work/chain.pem"
    chmod 600 "$work/key.pem"
}

# configure BACKEND KERNEL
configure() {
    cat > "$work/oca.toml" <<END
[appliance]
id = "kernel.local.example"
state_dir = "$work/state"
run_dir = "$work/run"

[listen]
http = ["127.0.0.1:8080"]
https = ["$https"]
admin = "$admin"

[tls]
kernel = "$2"
certificates = [{ cert = "$work/chain.pem", key = "$work/key.pem" }]

[workers]
backend = "$1"
memory = "128 MiB"

[serve]
pacing = { rate = "100 Mbit/s" }

[log]
access = { path = "$work/access.log" }

[[tier]]
name = "disks"
role = "hot"
shared_fs = true
devices = ["$work/disk0", "$work/disk1"]
END
}

make_content() {
    mkdir -p "$media" "$work/disk0" "$work/disk1"
    head -c 8388608 /dev/urandom > "$media/hot.bin"
    head -c 8388608 /dev/urandom > "$media/cold.bin"
    head -c 16777216 /dev/urandom > "$media/long.bin"
    head -c 20000 /dev/urandom > "$media/small.bin"
    ./ocactl --config "$work/oca.toml" device add "$work/disk0"
    ./ocactl --config "$work/oca.toml" device add "$work/disk1"
    ./ocactl --config "$work/oca.toml" content import "$media"
}

is_ready() { kill -0 "$daemon" && curl -fs -o /dev/null "http://$admin/readyz"; }

# start_daemon BACKEND KERNEL
start_daemon() {
    configure "$@"
    : > "$work/access.log"
    ./oca-daemon --config "$work/oca.toml" > "$work/daemon.log" 2>&1 &
    daemon=$!
    until_true 60 is_ready || { tail -n 20 "$work/daemon.log"; exit 1; }
}

stop_daemon() {
    kill -TERM "$daemon"
    wait "$daemon"
}

# metric WORD...: the sum of the samples that have all the words.
metric() {
    curl -fs "http://$admin/metrics" | awk -v words="$*" '
        BEGIN { n = split(words, word, " ") }
        /^#/ { next }
        { for (i = 1; i <= n; i++) if (!index($0, word[i])) next; sum += $2 }
        END { printf "%.0f\n", sum }'
}
sealed_by_kernel() { awk '$1 == "TlsTxSw" { print $2 }' /proc/net/tls_stat; }
by_kernel() { metric 'oca_tls_connections_total' 'path="kernel"'; }
by_user() { metric 'oca_tls_connections_total' 'path="user"'; }

get() { curl -fsS --max-time 120 --cacert "$work/authority.pem" --resolve "$name:8443:127.0.0.1" "$@"; }
url() { printf 'https://%s:8443/%s' "$name" "$1"; }

# whole FILE [CURL OPTION...]
whole() { get "${@:2}" "$(url "$1")" | cmp - "$media/$1"; }
# range FILE FIRST LAST [CURL OPTION...]
range() { get -r "$2-$3" "${@:4}" "$(url "$1")" | cmp - <(tail -c +$(($2 + 1)) "$media/$1" | head -c $(($3 - $2 + 1))); }
ranges() {
    range "$1" 0 0 "${@:2}" && range "$1" 1000 1999 "${@:2}" && range "$1" 65535 65537 "${@:2}" &&
        range "$1" 1048575 3145729 "${@:2}" && range "$1" 8388000 8388607 "${@:2}"
}

# counted COMMAND...: every connection of the command was the kernel's.
counted() {
    local kernel tx
    kernel=$(by_kernel) tx=$(sealed_by_kernel)
    "$@" || return 1
    kernel=$(($(by_kernel) - kernel)) tx=$(($(sealed_by_kernel) - tx))
    say "by the metrics $kernel, by /proc/net/tls_stat $tx"
    [ "$kernel" -gt 0 ] && [ "$kernel" -eq "$tx" ]
}

# Asked for again and again it comes from memory at last.
from_memory() {
    until_true 120 one_from_memory
}
one_from_memory() {
    local before after
    before=$(metric oca_sent_bytes_total 'source="memory"')
    whole hot.bin || return 1
    after=$(metric oca_sent_bytes_total 'source="memory"')
    [ $((after - before)) -ge 8388608 ]
}
from_device() {
    local before after
    before=$(metric oca_sent_bytes_total 'source="device"')
    whole cold.bin || return 1
    after=$(metric oca_sent_bytes_total 'source="device"')
    say "from devices: $((after - before))"
    [ $((after - before)) -ge 4194304 ]
}

# Many at once who take less than they could get, so that sockets are full and records wait in the kernel.
crowd() {
    local viewers=() viewer
    for viewer in 1 2 3 4 5 6; do
        whole hot.bin --limit-rate 2M &
        viewers+=($!)
    done
    for viewer in "${viewers[@]}"; do wait "$viewer" || return 1; done
}

# The end of a connection while its viewer does not read: all that was sealed arrives, and then close_notify.
slow_end() {
    request long.bin close | { session -quiet -msg -msgfile "$work/messages"; } | { sleep 3; cat; } > "$work/answer"
    answers "$work/answer" long.bin && says_close "$work/messages"
}

request() { printf 'GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n' "$1" "$name" "$2"; }
session() { openssl s_client -connect "$https" -servername "$name" -CAfile "$work/authority.pem" -verify_return_error "$@" 2> "$work/errors"; }
# What follows the first empty line of the answer.
answers() { sed '1,/^\r$/d' "$1" | cmp - "$media/$2"; }
says_close() {
    grep -q 'unexpected eof' "$work/errors" && { cat "$work/errors"; return 1; }
    grep -A1 '<<<.*Alert' "$1" | tail -n 2
    grep -q '<<<.*Alert.*close_notify' "$1"
}

# ends VERSION: an answer with Connection: close, and close_notify behind it.
ends() {
    request small.bin close | session "-$1" -quiet -msg -msgfile "$work/messages" > "$work/answer" || return 1
    answers "$work/answer" small.bin && says_close "$work/messages"
}

# resumes VERSION
resumes() {
    request small.bin close | session "-$1" -ign_eof -sess_out "$work/ticket" > "$work/first" || return 1
    request small.bin close | session "-$1" -ign_eof -sess_in "$work/ticket" > "$work/second" || return 1
    grep -aq '^New, ' "$work/first" && grep -aq '^Reused, ' "$work/second"
}

has_bytes() { [ "$(stat -c %s "$1")" -ge "$2" ]; }
gone() { ! kill -0 "$1"; }
has_sent() { [ "$(metric oca_sent_bytes_total)" -ge "$1" ]; }

# A new key of the client's that asks for none: heard, and nothing else changes.
new_key_of_client() {
    local client
    rm -f "$work/keys"
    mkfifo "$work/keys"
    session -tls1_3 -quiet -no_ign_eof -msg -msgfile "$work/messages" < "$work/keys" > "$work/answer" &
    client=$!
    exec 7> "$work/keys"
    request small.bin keep-alive >&7
    until_true 30 has_bytes "$work/answer" 20000 || return 1
    echo k >&7
    until_true 30 grep -q '>>>.*KeyUpdate' "$work/messages" || return 1
    : > "$work/answer"
    request small.bin close >&7
    until_true 30 gone "$client" || return 1
    exec 7>&-
    answers "$work/answer" small.bin && says_close "$work/messages"
}

# A new key that asks for ours, while an answer is under way: the answer is whole, and then the connection ends or goes on with a new key.
new_key_wanted() {
    local client reader stale sent
    stale=$(metric oca_tls_kernel_stale_keys_total)
    sent=$(metric oca_sent_bytes_total)
    rm -f "$work/keys" "$work/slow"
    mkfifo "$work/keys" "$work/slow"
    session -tls1_3 -quiet -no_ign_eof -msg -msgfile "$work/messages" < "$work/keys" > "$work/slow" &
    client=$!
    exec 7> "$work/keys" 8< "$work/slow"
    request long.bin keep-alive >&7
    # The client cannot go on until somebody reads from it, and finds this when it can.
    until_true 30 has_sent $((sent + 65536)) || return 1
    echo K >&7
    cat <&8 > "$work/answer" &
    reader=$!
    until_true 60 grep -q '>>>.*KeyUpdate' "$work/messages" || return 1
    say "the client had $(stat -c %s "$work/answer") bytes of the answer"
    until_true 60 gone "$client" || return 1
    exec 7>&- 8<&-
    wait "$reader"
    answers "$work/answer" long.bin || return 1
    says_close "$work/messages" || return 1
    say "connections ended for it: $(($(metric oca_tls_kernel_stale_keys_total) - stale))"
    [ "$(metric oca_tls_kernel_stale_keys_total)" -eq $((stale + 1)) ]
}

# What the workers ask of the kernel for a connection: its keys are two calls and its last words one; content leaves by sendfile.
# (A debug build asks by fcntl before it closes.)
calls() {
    local workers tracer
    workers=$(grep -l '^oca-worker-' "/proc/$daemon"/task/*/comm | cut -d / -f 5)
    mapfile -t workers <<< "$workers"
    strace -qq -s 0 -o "$work/calls" "${workers[@]/#/-p}" &
    tracer=$!
    until_true 30 grep -q 'TracerPid:.*[1-9]' "/proc/$daemon/task/${workers[-1]}/status" || return 1
    whole hot.bin || return 1
    kill -INT "$tracer"
    wait "$tracer"
    grep -v resumed "$work/calls" | sed -E 's/^[0-9]+ +//; s/\(.*//' | sort | uniq -c | sort -rn > "$work/names"
    cat "$work/names"
    for call in sendfile sendmsg setsockopt; do grep -qw "$call" "$work/names" || { say "no $call"; return 1; }; done
    ! grep -vwE 'accept4|clock_gettime|close|epoll_ctl|epoll_wait|epoll_pwait2?|fcntl|futex|getpeername|io_uring_enter|read|recvfrom|sched_yield|sendfile|sendmsg|sendto|setsockopt|shutdown|write' "$work/names" &&
        ! grep setsockopt "$work/calls" | grep -vE 'TCP_ULP|SOL_TLS|SO_MAX_PACING_RATE'
}

# What the log and the metrics say.
log_says() { until_true 30 grep -q "\"path\":\"$1\"" "$work/access.log"; }
# Linux takes no connection whose viewer has closed already.
nobody_else() {
    local gone
    curl -fs "http://$admin/metrics" | grep -E '^oca_tls_(connections|kernel)'
    gone=$(metric oca_tls_kernel_fallbacks_total 'reason="peer_closed"')
    [ "$(by_user)" -eq "$gone" ] && [ "$(metric oca_tls_kernel_fallbacks_total)" -eq "$gone" ]
}

run_backend() {
    local version suite
    start_daemon "$1" on
    scope="$1: "
    row "whole object from memory" counted from_memory
    row "ranges from memory" counted ranges hot.bin
    row "whole object from devices" counted from_device
    row "ranges from devices" counted ranges cold.bin
    for suite in TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256; do
        row "TLS 1.3 $suite" counted ranges hot.bin --tlsv1.3 --tls13-ciphers "$suite"
    done
    for suite in AES128-GCM-SHA256 AES256-GCM-SHA384 CHACHA20-POLY1305; do
        row "TLS 1.2 ECDHE-ECDSA-$suite" counted ranges hot.bin --tls-max 1.2 --ciphers "ECDHE-ECDSA-$suite"
    done
    row "six slow viewers" counted crowd
    for version in tls1_2 tls1_3; do
        row "close_notify, openssl -$version" counted ends "$version"
        row "resumption, openssl -$version" counted resumes "$version"
    done
    row "close_notify behind a viewer who does not read" counted slow_end
    row "a client's new key" counted new_key_of_client
    row "a client's new key that asks for ours" counted new_key_wanted
    row "what a worker asks of the kernel" calls
    row "access log: path" log_says kernel
    row "metrics: nobody fell back" nobody_else
    row "stops" stop_daemon
    scope=''
}

refuses_to_start() {
    configure epoll on
    ! timeout 60 ./oca-daemon --config "$work/oca.toml" > "$work/refusal" 2>&1 || return 1
    cat "$work/refusal"
    grep -q 'no kernel TLS' "$work/refusal"
}
falls_back() {
    whole hot.bin && ranges cold.bin && ends tls1_3 && [ "$(by_kernel)" -eq 0 ] &&
        [ "$(metric oca_tls_kernel_fallbacks_total 'reason="unavailable"')" -eq "$(by_user)" ] && log_says user
}

mkdir -p "$work"
certificates > /dev/null 2>&1
say "kernel $(uname -r), $(openssl version), $(curl --version | head -n 1 | cut -d ' ' -f 1,2)"
row "module tls" modprobe tls
configure epoll on
row "content" make_content
row "the seam: records opened by another library" env OCA_KERNEL_TLS=required ./kernel_tls --nocapture
for backend in "$@"; do run_backend "$backend"; done
rmmod tls
echo 'install tls /bin/false' > /etc/modprobe.d/no-tls.conf
scope='without the module: '
row 'kernel = "on" refuses to start and says why' refuses_to_start
start_daemon uring auto
row 'kernel = "auto" serves, and counts it' falls_back
row "stops" stop_daemon
scope=''
[ "$failed" -eq 0 ] || fail "$failed FAILED"
say "ALL HELD"
