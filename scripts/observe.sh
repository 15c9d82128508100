#!/usr/bin/env bash
# What an operator watches an appliance with, tried on a running one: a control endpoint, a box that fills itself and serves, a real
# Prometheus with the rules and the dashboard of docs/examples/prometheus, and the status page in Chromium. Each metric that rules and
# panels name must be told by a program; each panel's query must have an answer; alerts must come with real faults and go with them.
#
#   observe.sh [PROFILE]     four minutes; programs of cargo's profile (default: release). Keeps a picture of the status page in the build folder
#
# As root: the box stands on a small file system of its own, in a namespace of mounts, and what the kernel says of its clock is changed for
# a while.

if [ "${1:-}" != --apart ]; then
    exec unshare --mount "$0" --apart "$@"
fi
shift

. "$(dirname "$0")/watched.sh"

use_profile "${1:-release}"

make_media() {
    local at
    mkdir -p "$work/media"
    for at in 1 2 3 4 5 6 7 8; do head -c 3000000 /dev/urandom > "$work/media/$at.bin"; done
}

# Every part that has metrics of its own: both ports, a router (that nobody plays), a service address, the access log, a capacity.
# One that the box could tell a router of, which loopback's are not.
service=$(hostname -I | cut -d ' ' -f 1)
[ -n "$service" ] || fail "this machine has no address but those of loopback"
more[box]="
[log]
access = { path = \"$work/box/access.log\" }

[steering]
capacity = \"1 Gbit/s\"
hint_lifetime = \"1 s\"
drain_bound = \"2 s\"
service_addresses = [\"$service\"]

[bgp]
router_id = \"192.0.2.1\"

[[bgp.neighbor]]
address = \"127.0.0.1\"
port = 1
local_as = 64512
remote_as = 64496
role = \"listen\"
"
fill_window=00:00-24:00
# What smartctl would have said of the disk below, which is a virtual one here.
tell_wear() {
    local below disk
    below=$(findmnt -no SOURCE --target "$work/box")
    disk=$(lsblk -ndo PKNAME "$below")
    disk=${disk:-${below##*/}}
    mkdir "$work/box/run-smart"
    printf '{"device": {"name": "/dev/%s"}, "local_time": {"time_t": %s}, "smart_status": {"passed": true}, "nvme_smart_health_information_log": {"percentage_used": 12}}' \
        "$disk" "$(date +%s)" > "$work/box/run-smart/$disk.json"
}
# A disk of 192 MiB and 1500 inodes.
make_disk() {
    truncate -s 192M "$work/disk"
    mkfs.ext4 -q -m 0 -N 1500 "$work/disk"
    mkdir "$work/box"
    mount -o loop "$work/disk" "$work/box"
}
# It starts again in the midst of the trial, where Prometheus looks for it.
configure_box() {
    fill_metrics=127.0.0.1:$(free_port)
    listen[box]=127.0.0.1:$(free_port)
    listen_more="http = [\"127.0.0.1:$(free_port)\", \"$service:$(free_port)\"]"
    make_disk
    configure box
    sed -i "s/^admin = .*/admin = \"127.0.0.1:$(free_port)\"/; /^require_synchronised_clock/d" "$work/box/oca.toml"
    tell_wear
}

# clock WORD [STATUS]: what the kernel says of its clock (adjtimex(2)): status, synchronised, unsynchronised, or `restore STATUS`.
clock() {
    python3 - "$@" <<'END'
import ctypes, struct, sys
STATUS, MAXERROR, UNSYNCHRONISED = 0x10, 0x4, 0x40
timex = ctypes.create_string_buffer(208)
def call(modes=0, status=0):
    struct.pack_into("=I36xi", timex, 0, modes, status)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        sys.exit("adjtimex: " + str(ctypes.get_errno()))
    return struct.unpack_from("=i", timex, 40)[0]
status = call()
match sys.argv[1]:
    case "status": print(status)
    case "synchronised": call(STATUS | MAXERROR, status & ~UNSYNCHRONISED)
    case "unsynchronised": call(STATUS, status | UNSYNCHRONISED)
    case "restore": call(STATUS, int(sys.argv[2]))
END
}

# What is counted before Prometheus has looked for the first time has no rate.
are_looked_at() { query 'count(up == 1)' | jq -e '.data.result[0].value[1] == "2"' > "$work/up"; }
has_told_daemon() { ctl box status --json | jq -e '.fill.activity == "complete"' > "$work/told"; }
fill_box() {
    sign_manifests box
    await prometheus 30 are_looked_at
    start_agent box
    await box.agent 120 is_full box
    await box.agent 30 has_told_daemon
}

# Viewers of all paths, over both ports, until the script ends, whatever the box does; now and then of one that is not there.
viewers() {
    set +e
    local at=0
    while sleep 0.2; do
        at=$((at % 8 + 1))
        # Slowly enough to be seen.
        ask --limit-rate 2M -o /dev/null "http://${http[box]}/vod/$at.bin"
        ask -o /dev/null -r 0-99999 --resolve "box.demo.example:${https[box]##*:}:127.0.0.1" "https://box.demo.example:${https[box]##*:}/vod/$at.bin"
        ask -o /dev/null "http://${http[box]}/not-here"
    done
}

# What rules and panels name, but for what rules record.
named() {
    {
        cat "$examples/oca.rules.yml"
        jq -r '.panels[].targets[]?.expr' "$examples/grafana-dashboard.json"
    } | grep -oE '\b(oca|process)_[a-z0-9_]+' | sort -u
}
told() {
    curl -fs "http://${admin[box]}/metrics" > "$work/oca-daemon"
    curl -fs "http://$fill_metrics/metrics" > "$work/oca-fill-agent"
    ask -f "https://$control_address/metrics" > "$work/oca-control"
    grep -ohE '^(oca|process)_[a-z0-9_]+' "$work"/oca-{daemon,fill-agent,control} | sort -u
}
names_are_told() {
    local missing
    told > "$work/names"
    missing=$(named | comm -23 - "$work/names")
    say "$(named | wc -l) metrics are named, $(wc -l < "$work/names") are told"
    [ -z "$missing" ] || fail "no program tells: $missing"
}

# The reference is the programs' own words.
reference() {
    local program
    {
        # shellcheck disable=SC2016 # backquotes are Markdown's
        printf '# Metrics\n\nWhat each program says at `/metrics`, in its own words: written by `scripts/observe.sh`. Units are seconds and bytes.\n'
        for program in oca-daemon oca-fill-agent oca-control; do
            printf '\n## %s\n\n| metric | type | labels | what |\n|---|---|---|---|\n' "$program"
            described "$work/$program"
        done
    } > "$project/docs/metrics.md"
    (cd "$project" && git diff --stat -- docs/metrics.md)
}
described() {
    awk '
        /^# HELP / { help = $0; sub(/^# HELP [^ ]+ /, "", help); gsub(/\|/, "\\|", help); next }
        /^# TYPE / { type[$3] = $4; names[++count] = $3; words[$3] = help; next }
        {
            name = $0; sub(/[{ ].*/, "", name)
            base = name; sub(/_(bucket|sum|count)$/, "", base)
            if (!(base in type)) base = name
            if (base in labels) next
            found = match($0, /\{.*\}/) ? substr($0, RSTART + 1, RLENGTH - 2) : ""
            gsub(/="[^"]*"/, "", found); sub(/,?le$/, "", found); gsub(/,/, ", ", found)
            labels[base] = found
        }
        END { for (at = 1; at <= count; at++) { name = names[at]; printf "| `%s` | %s | %s | %s |\n", name, type[name], labels[name], words[name] } }' "$1"
}

# A series that is not zero everywhere.
answered() { query "$1" | jq -e '[.data.result[].value[1] | select(. != "0" and . != "NaN")] | length > 0' > "$work/shown"; }
panels_are_answered() {
    local title expression
    jq -r '.panels[] | .title as $title | .targets[]? | [$title, .expr] | @tsv' "$examples/grafana-dashboard.json" > "$work/panels"
    while IFS=$'\t' read -r title expression; do
        expression=${expression//\$site/.*}
        expression=${expression//\$instance/.*}
        # shellcheck disable=SC1003 # @tsv doubles what it escapes
        expression=${expression//'\\'/'\'}
        await prometheus 60 answered "$expression"
        say "  $title"
    done < "$work/panels"
}

edit_configuration() {
    cp "$work/box/oca.toml" "$work/box/right.toml"
    sed -i "$1" "$work/box/oca.toml"
    kill -HUP "${running[box.daemon]}"
}
lower_capacity() { edit_configuration 's/^capacity = "1 Gbit/capacity = "1 Mbit/'; }
drain() { ctl box drain --force; }
undrain() { ctl box undrain; }
fill_log() { ln -sf /dev/full "$work/box/access.log" && kill -USR1 "${running[box.daemon]}"; }
empty_log() { rm "$work/box/access.log" && kill -USR1 "${running[box.daemon]}"; }
hide_catalog() { mv "$work/box/state/catalog" "$work/box/state/hidden"; }
show_catalog() { mv "$work/box/state/hidden" "$work/box/state/catalog"; }
close_early() {
    ctl box fill-window override closed --for 1h
    ingest 9 3000000
}
open_again() {
    ctl box fill-window override clear
    await box.agent 60 is_full box
}
# ingest NUMBER BYTES
ingest() {
    head -c "$2" /dev/urandom > "$work/media/$1.bin"
    control ingest "$work/media" --prefix /vod
    control build
}
# A byte of what no viewer has asked for yet, so that it is not in memory, and nobody may fetch it anew.
rot() {
    local column
    ctl box fill pause
    column=$(find "$work"/box/{nvme,hdd}[01] -type f -size +1M -newer "$work/media/9.bin" | head -n 1)
    printf X | dd of="$column" bs=1 seek=70000 conv=notrunc status=none
    if ask -f -o "$work/rotten" "http://${http[box]}/vod/9.bin"; then cmp "$work/rotten" "$work/media/9.bin"; fi
}
go_on_filling() { ctl box fill resume; }
ask_for_the_lost() {
    lose_all_devices
    while sleep 0.1; do ask -o /dev/null "http://${http[box]}/vod/9.bin"; done &
    running[lost]=$!
}
give_it_back() {
    stop lost || true
    find_all_devices
}
want_too_much() { ingest 10 250000000; }
want_less() {
    control rm /vod/10.bin
    control build --allow-shrink
}
# As many files as it takes.
use_inodes() {
    mkdir "$work/box/small"
    seq "$(($(stat -fc %d "$work/box") - 10))" | (cd "$work/box/small" && xargs touch)
}
free_inodes() { rm -r "$work/box/small"; }
end_soon() { lifetime '1 h'; }
end_later() { lifetime '48 h'; }
lifetime() {
    sed -i '/^manifest_lifetime/d' "$work/control/oca-control.toml"
    sed -i "1i manifest_lifetime = \"$1\"" "$work/control/oca-control.toml"
    control build
}
# One worker stands still in the kernel, as no signal can make it.
hold_worker() {
    local thread
    thread=$(grep -lx oca-worker-0 "/proc/${running[box.daemon]}"/task/*/comm | cut -d / -f 5)
    start held strace -qq -p "$thread" -e trace=all -e inject=all:delay_enter=600000000 -o /dev/null
}
let_worker_go() { stop held || true; }
# As a service that may lock little.
limit_memory() {
    stop box.daemon
    start box.daemon prlimit --memlock=4194304 setpriv --bounding-set=-ipc_lock "$programs/oca-daemon" --config "$work/box/oca.toml"
}
raise_limit() {
    stop box.daemon
    start_daemon box
}
lose_synchronisation() { clock unsynchronised; }
synchronise() { clock synchronised; }
lose_device() { mv "$work/box/nvme1" "$work/box/pulled"; }
find_device() { mv "$work/box/pulled" "$work/box/nvme1"; }
stop_agent() { stop box.agent; }
go_on() { start_agent box; }
spoil_configuration() { edit_configuration '1i nonsense = 1'; }
mend_configuration() {
    cp "$work/box/right.toml" "$work/box/oca.toml"
    kill -HUP "${running[box.daemon]}"
}
freeze_daemon() { kill -STOP "${running[box.daemon]}"; }
thaw_daemon() { kill -CONT "${running[box.daemon]}"; }
freeze_control() { kill -STOP "${running[control]}"; }
thaw_control() { kill -CONT "${running[control]}"; }
lose_all_devices() { for name in nvme0 nvme1 hdd0 hdd1; do mv "$work/box/$name" "$work/box/$name.pulled"; done; }
find_all_devices() { for name in nvme0 nvme1 hdd0 hdd1; do mv "$work/box/$name.pulled" "$work/box/$name"; done; }
# What a trial is certified for ends tomorrow.
end_certificate() { certify "$work/box/tls" box.demo.example; }
renew_certificate() { certify "$work/box/tls" box.demo.example 60; }
spoil_certificate() { echo 'no certificate' > "$work/box/tls.pem"; }
# Most titles are taken away at once, while the control endpoint cannot make a manifest of the first of them; the box asks whether that is
# meant. It takes the content, so it comes last.
shrink() {
    local at
    freeze_control
    for at in 1 2 3 4 5; do control rm "/vod/$at.bin"; done
    control build --allow-shrink
    thaw_control
    await box.agent 30 is_held
}
is_held() { fill_facts box '.held.serial | select(.) | "\(.epoch).\(.number)"' > "$work/held"; }
accept() { ctl box fill accept "$(cat "$work/held")"; }
# What needs routers and a fleet: observe-routers.sh.
alerts() {
    renew_certificate
    await prometheus 90 clears OcaCertificateEnds
    fault lose_device find_device OcaDeviceLost OcaDegraded
    fault lose_all_devices find_all_devices OcaDown OcaSteeringPanics
    fault stop_agent go_on OcaFillAgentDown
    fault spoil_configuration mend_configuration OcaConfigurationNotReloaded
    fault lower_capacity mend_configuration OcaCapacityUsed
    fault drain undrain OcaDrainForgotten
    fault lose_synchronisation synchronise OcaClockNotSynchronised OcaFillBlocked
    fault hold_worker let_worker_go OcaWorkerStuck
    fault use_inodes free_inodes OcaInodesShort
    fault end_soon end_later OcaManifestEnds
    fault fill_log empty_log OcaAccessLogDropped
    fault hide_catalog show_catalog OcaCatalogProblem
    fault close_early open_again OcaFillIncomplete
    fault ask_for_the_lost give_it_back OcaAnswersFail
    fault rot go_on_filling OcaBadColumns OcaDeviceReadErrors
    fault want_too_much want_less OcaWithoutRoom
    fault limit_memory raise_limit OcaMemoryTierLimited
    fault end_certificate renew_certificate OcaCertificateEnds OcaCertificateEnded
    fault spoil_certificate renew_certificate OcaCertificateNotReloaded
    fault freeze_control thaw_control OcaControlUnreachable OcaReportsUnanswered
    fault freeze_daemon thaw_daemon OcaUnreachable OcaSiteDown
    fault shrink accept OcaManifestHeld
}

# As a telephone shows it.
browse() {
    HOME=$work chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --window-size=412,1400 \
        --user-data-dir="$work/chromium" --virtual-time-budget=5000 "$@" "http://${admin[box]}/" 2> "$work/chromium.log"
}
status_page() {
    local word
    browse --dump-dom > "$work/page"
    for word in box.demo.example 'sent to viewers' nvme0 hdd1 'complete:' 'wanted: 8 objects' 'as of' 127.0.0.1; do
        grep -qF "$word" "$work/page" || { tail -n 40 "$work/page"; fail "the status page does not say: $word"; }
    done
    ! grep -qE '(src|href)=' "$work/page" || fail "the status page asks for other files"
    browse --screenshot="$target/status-page.png"
    say "  $target/status-page.png"
}

step "packages" packages chromium curl e2fsprogs jq openssl prometheus python3 strace util-linux
clock_status=$(clock status)
trap 'stop_all || true; umount "$work/box" || true; clock restore "$clock_status"; rm -rf "$work"' EXIT
step "clock" clock synchronised
step "rules" promtool check rules "$examples/oca.rules.yml"
step "tests of the rules" promtool test rules "$examples/oca.rules.test.yml"
step "build" build
step "media" make_media
step "authority" make_authority
step "control endpoint" start_control
step "ingest" control ingest "$work/media" --prefix /vod
step "box" configure_box
step "daemon" start_daemon box
step "Prometheus" start_prometheus "$fill_metrics"
step "fill" fill_box
viewers &
running[viewers]=$!
step "names" names_are_told
step "reference" reference
step "panels" panels_are_answered
step "status page" status_page
step "alerts" alerts
kill "${running[viewers]}"
wait "${running[viewers]}" || true
unset "running[viewers]"
step "stopping" stop_all
say "ALL SEEN"
