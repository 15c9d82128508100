#!/usr/bin/env bash
# Real browser players against the real daemon: hls.js, dash.js and shaka-player in Chromium, on a title of 60 s as HLS (a file per
# segment; byte ranges) and DASH (sidx), over https and in clear, from another origin, with CMCD in the query and in headers. Any
# stall, error event or failed request fails it. docs/players.md says what was seen.
#
#   players.sh            all runs, some minutes
#   players.sh WORD...    the runs whose names hold one of the words, as in shaka:ranges or whole
#
# curl, aria2c and ffmpeg are tested by oca-daemon/tests/clients.rs.

. "$(dirname "$0")/trial.sh"


build() { (cd "$project" && cargo build -q --locked --release --bin oca-daemon --bin ocactl); }

# Two devices, a memory tier that has room for half of it all, so that players get bytes from both, and the rate that they ask for.
configure() {
    local folder=$work/box device
    mkdir "$folder"
    certify "$folder/tls" players.local.example
    cat > "$folder/oca.toml" <<END
[appliance]
id = "players.local.example"
state_dir = "$folder/state"
run_dir = "$folder/run"

[listen]
http = ["127.0.0.1:0"]
https = ["127.0.0.1:0"]
admin = "127.0.0.1:0"

[tls]
certificates = [{ cert = "$folder/tls.pem", key = "$folder/tls.key" }]

[workers]
memory = "32 MiB"

[serve]
pacing = { rate = "60 Mbit/s", cmcd = true }

[log]
access = { path = "$folder/access.log" }

[[tier]]
name = "nvme"
role = "hot"
shared_fs = true
devices = ["$folder/nvme0", "$folder/nvme1"]
END
    for device in nvme0 nvme1; do
        mkdir "$folder/$device"
        ctl box device add "$folder/$device"
    done
    ctl box content import "$work/media"
}

play() { node "$players/play.js" "$work/ca.pem" "http://${http[box]}/title" "https://${https[box]}/title" "$@" | tee "$work/played"; }

# counted METRIC LABEL: the sum of its samples.
counted() { awk -v metric="$1" -v label="$2" 'index($1, metric) == 1 && index($1, label) { sum += $2 } END { printf "%.0f", sum }' "$work/metrics"; }

# count [WORD...]: the daemon's side of it.
count() {
    curl -fs "http://${admin[box]}/metrics" > "$work/metrics"
    local refused malformed memory device
    refused=$(($(counted oca_http_requests_total 4xx) + $(counted oca_http_requests_total 5xx)))
    malformed=$(counted oca_cmcd_malformed_total '')
    memory=$(counted oca_sent_bytes_total 'source="memory"')
    device=$(counted oca_sent_bytes_total 'source="device"')
    say "the daemon sent $memory bytes from memory and $device from devices; refused $refused requests; could not read CMCD of $malformed"
    [ "$refused" -eq 0 ]
    [ "$malformed" -eq 0 ]
    [ "$device" -gt 0 ]
    # What is asked for once is not hot.
    [ $# -gt 0 ] || [ "$memory" -gt 0 ]
}

# Each run, also a void one, is a session of its own: what the player said of it must be in the access log.
sessions() {
    local runs sessions
    runs=$(grep -cE ': (clean$|void: )' "$work/played")
    sessions=$(jq -r '.cmcd.sid // empty' "$work/box/access.log" | sort -u | wc -l)
    say "the access log knows $sessions sessions of $runs"
    [ "$sessions" -eq "$runs" ]
}

step "packages" packages chromium curl ffmpeg jq libnss3-tools openssl
step "players" node_and_npm
step "set-up" "$project/scripts/setup.sh" build
step "build" build
step "title: 60 s" make_title
step "authority" make_authority
step "box" configure
step "daemon" start_daemon box
step "playing" play "$@"
step "count" count "$@"
step "stopping" stop_all
step "access log" sessions
say "ALL PLAYED"
