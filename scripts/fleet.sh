# shellcheck shell=bash disable=SC2034
# What the scripts share that run a control endpoint and boxes that fill themselves from it, all over https; to be sourced.

. "$(dirname "${BASH_SOURCE[0]}")/trial.sh"

# Where they listen, and where the control endpoint does for others than boxes; more of its configuration, of each box's, and of its
# addresses; and the keys of an agent that differ.
control_listen=127.0.0.1:0
control_aside=
declare -A listen=()
control_more=
declare -A more=()
listen_more=
fill_window=02:00-14:00
fill_metrics=127.0.0.1:0

# use_profile NAME: the programs as cargo builds them by that profile; OCA_PROFILE may name another than release.
use_profile() {
    profile=$1
    programs=$target/${1/#dev/debug}
}
use_profile "${OCA_PROFILE:-release}"
build() {
    (cd "$project" && cargo build -q --locked --profile "$profile" --bin oca-control --bin oca-daemon --bin oca-fill-agent --bin ocactl)
}
list() { printf '"%s", ' "$@"; }
control() { "$programs/oca-control" --config "$work/control/oca-control.toml" "$@"; }

start_control() {
    mkdir "$work/control"
    certify "$work/control/tls" control.demo.example 1 "${control_listen%:*}"
    cat > "$work/control/oca-control.toml" <<END
listen = [$(list "$control_listen" ${control_aside:+"$control_aside"})]
state_dir = "$work/control/state"
signing_keys = ["$work/control/control-1.key"]

[tls]
cert = "$work/control/tls.pem"
key = "$work/control/tls.key"
$control_more
END
    control keygen "$work/control"
    control check
    start control "$programs/oca-control" --config "$work/control/oca-control.toml" serve
    await control 30 test -s "$work/control/state/address"
    control_address=$(head -n 1 "$work/control/state/address")
}

# configure BOX: two tiers of two devices. A machine for trials may have no synchronised clock.
configure() {
    local folder=$work/$1 address=${listen[$1]:-127.0.0.1:0} device
    mkdir -p "$folder"
    certify "$folder/tls" "$1.demo.example" 1 "${address%:*}"
    control appliance add "$1.demo.example" --site demo.example --cluster demo --tier hot=16MB --tier capacity=1GB > "$folder/token"
    cat > "$folder/oca.toml" <<END
[appliance]
id = "$1.demo.example"
state_dir = "$folder/state"
run_dir = "$folder/run"

[listen]
https = ["$address"]
$listen_more
admin = "127.0.0.1:0"

[tls]
certificates = [{ cert = "$folder/tls.pem", key = "$folder/tls.key" }]

[workers]
memory = "64 MiB"

[[tier]]
name = "nvme"
role = "hot"
shared_fs = true
devices = ["$folder/nvme0", "$folder/nvme1"]

[[tier]]
name = "hdd"
role = "capacity"
shared_fs = true
devices = ["$folder/hdd0", "$folder/hdd1"]

[control]
url = "https://$control_address/"
ca = "$work/ca.pem"
keys = ["$work/control/control-1.pub"]
token_file = "$folder/token"

[fill]
window = "$fill_window"
rate = "30 Mbit/s"
manifest_interval = "2 s"
metrics = "$fill_metrics"
require_synchronised_clock = false
# A trial on a disk that is nearly full.
high_watermark = "99 %"
low_watermark = "98 %"
${more[$1]:-}
END
    for device in nvme0 nvme1 hdd0 hdd1; do
        mkdir "$folder/$device"
        ctl "$1" device add "$folder/$device"
    done
}

# The control endpoint knows the box from its first report on.
has_reported() { ctl "$1" status --json | jq -e '.report.answered' > "$work/answered"; }
sign_manifests() {
    await "$1.daemon" 30 has_reported "$1"
    control build
}

# fill_facts BOX FILTER: what the agent says of itself, through jq.
fill_facts() { ctl "$1" fill status --json | jq -er "$2"; }
is_full() { fill_facts "$1" '.manifest | . != null and .objects > 0 and .objects == .objects_held' > "$work/full" 2>&1; }
mib='def mib: . * 10 / 1048576 | round / 10;'
show_progress() {
    if is_full "$1"; then return 0; fi
    # Before the agent answers, and before it has a plan, there is nothing to show.
    fill_facts "$1" "$mib"' select(.progress.bytes > 0) | "\(.activity): \(.progress.bytes_done | mib) of \(.progress.bytes | mib) MiB at \(.rate_now / 100000 | round / 10) Mbit/s from \([.transfers[].source] | unique | join(", "))"' \
        2>/dev/null | tee -a "$work/$1.progress" || true
    sleep 0.8
    return 1
}
start_agent() { start "$1.agent" "$programs/oca-fill-agent" --config "$work/$1/oca.toml" run; }
has_socket() { [ -S "$work/$1/run/fill.sock" ]; }
fill() {
    start_agent "$1"
    await "$1.agent" 30 has_socket "$1"
    ctl "$1" fill-window override open --for 2h
    await "$1.agent" 120 show_progress "$1"
    [ "$(sort -u "$work/$1.progress" | grep -c '^filling')" -ge 2 ] || fail "$1: no progress was to be seen"
    ctl "$1" fill status
}

holds_all() { ctl "$1" status --json | jq -e --argjson objects "$(control ls | awk '{ print $1 }' | sort -u | wc -l)" '.catalog.objects == $objects' > "$work/all"; }
knows_what_is_held() { control appliance ls | awk -v id="$1.demo.example" -v objects="$(control ls | awk '{ print $1 }' | sort -u | wc -l)" '$1 == id && $(NF - 1) == objects { found = 1 } END { exit !found }'; }
# What the first box holds is known before the second one's manifest is built: it names the first as the source.
meet() {
    await "$1.daemon" 30 holds_all "$1"
    await control 30 knows_what_is_held "$1"
    control appliance ls
}

# steer CLIENT PATH: whom the control endpoint names.
steer() { ask -f "https://$control_address/v1/steer?client=$1&path=$2"; }
# is_steered_to COUNT CLIENT PATH: so many boxes are named, all of them well.
is_steered_to() { steer "${@:2}" > "$work/steered" && jq -e --argjson count "$1" '[.choices[].rank | select(.standing == "well")] | length == $count' "$work/steered" > "$work/count"; }
