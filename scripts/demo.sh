#!/usr/bin/env bash
# From nothing to playing: builds the programs, makes two titles and gives them to a control endpoint; a first box fills itself from
# it, a second one from the first; HLS and DASH play from both. Then something is taken down, and a manifest is held. All of it over
# https, with an authority that is made here.
#
#   demo.sh          runs until Ctrl-C
#   demo.sh --once   the same, then ends; 0 only if all of it worked
#
# Everything is made in a folder among the temporary files and removed at the end; all programs get their ports from the kernel.
# Root is needed only for Debian packages that are missing.

. "$(dirname "$0")/trial.sh"

case "${1:-}" in
    '') once=no ;;
    --once) once=yes ;;
    *) fail "usage: $0 [--once]" ;;
esac

build() {
    (cd "$project" && cargo build -q --locked --release --bin oca-control --bin oca-daemon --bin oca-fill-agent --bin ocactl)
}
control() { "$programs/oca-control" --config "$work/control/oca-control.toml" "$@"; }

# Small things, so that there is something to lose.
clips=30
make_clips() {
    local clip
    mkdir "$work/media/clips"
    for ((clip = 1; clip <= clips; clip++)); do head -c 20000 /dev/urandom > "$work/media/clips/$clip.jpg"; done
}

start_control() {
    mkdir "$work/control"
    certify "$work/control/tls" control.demo.example
    cat > "$work/control/oca-control.toml" <<END
listen = ["127.0.0.1:0"]
state_dir = "$work/control/state"
signing_keys = ["$work/control/control-1.key"]

[tls]
cert = "$work/control/tls.pem"
key = "$work/control/tls.key"
END
    control keygen "$work/control"
    control check
    start control "$programs/oca-control" --config "$work/control/oca-control.toml" serve
    await control 30 test -s "$work/control/state/address"
    control_address=$(head -n 1 "$work/control/state/address")
}

ingest() {
    local what
    for what in title trailer clips; do control ingest "$work/media/$what" --prefix "/$what"; done
}

# configure BOX: two tiers of two devices. A machine for trials may have no synchronised clock.
configure() {
    local folder=$work/$1 device
    mkdir "$folder"
    certify "$folder/tls" "$1.demo.example"
    control appliance add "$1.demo.example" --site demo.example --cluster demo --tier hot=16MB --tier capacity=1GB > "$folder/token"
    cat > "$folder/oca.toml" <<END
[appliance]
id = "$1.demo.example"
state_dir = "$folder/state"
run_dir = "$folder/run"

[listen]
https = ["127.0.0.1:0"]
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
window = "02:00-14:00"
rate = "30 Mbit/s"
manifest_interval = "2 s"
metrics = "127.0.0.1:0"
require_synchronised_clock = false
# A trial on a disk that is nearly full.
high_watermark = "99 %"
low_watermark = "98 %"
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
has_socket() { [ -S "$work/$1/run/fill.sock" ]; }
fill() {
    start "$1.agent" "$programs/oca-fill-agent" --config "$work/$1/oca.toml" run
    await "$1.agent" 30 has_socket "$1"
    ctl "$1" fill-window override open --for 2h
    await "$1.agent" 120 show_progress "$1"
    [ "$(sort -u "$work/$1.progress" | grep -c '^filling')" -ge 2 ] || fail "$1: no progress was to be seen"
    ctl "$1" fill status
}

# Bytes of objects that have left the control endpoint: what goes over the long line.
long_line() { ask -f "https://$control_address/metrics" | awk '/^oca_control_sent_bytes_total{what="bytes"}/ { printf "%.0f", $2 }'; }
published() { find "$work/media" -type f -exec sha256sum {} + | sort -u -k 1,1 | awk '{ print $2 }' | xargs stat -c %s | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
check_long_line() {
    local sent wanted
    sent=$(long_line)
    wanted=$(published)
    say "the control endpoint has sent $sent bytes of objects; all objects have $wanted bytes"
    [ "$sent" -eq "$wanted" ] || fail "each object was to be sent once"
}
holds_all() { ctl "$1" status --json | jq -e --argjson objects "$(control ls | awk '{ print $1 }' | sort -u | wc -l)" '.catalog.objects == $objects' > "$work/all"; }
knows_what_is_held() { control appliance ls | awk -v id="$1.demo.example" -v objects="$(control ls | awk '{ print $1 }' | sort -u | wc -l)" '$1 == id && $(NF - 1) == objects { found = 1 } END { exit !found }'; }
# What the first box holds is known before the second one's manifest is built: it names the first as the source.
meet() {
    await "$1.daemon" 30 holds_all "$1"
    await control 30 knows_what_is_held "$1"
    control appliance ls
}
check_peer() {
    local sent
    sent=$(curl -fs "http://${admin[first]}/metrics" | awk '/^oca_fill_sent_bytes_total / { printf "%.0f", $2 }')
    say "the first box has sent $sent bytes to the second"
    [ "$sent" -ge "$(published)" ] || fail "the second box was to fill from the first"
}

# play BOX NAME: both ways, through the daemon. ffmpeg takes all renditions; each frame must come out as from the files themselves.
play() {
    local url
    for url in "https://${https[$1]}/$2/master.m3u8" "https://${https[$1]}/$2/$2.mpd"; do
        frames "$url" > "$work/played"
        cmp "$work/$2.frames" "$work/played" || fail "$url does not play as the files do"
        say "played $url: all $(wc -l < "$work/played") pictures and sounds are right"
    done
}

# What was played must have come from this daemon: its own count says so.
count() {
    local sent least
    sent=$(curl -fs "http://${admin[$1]}/metrics" | awk '/^oca_sent_bytes_total[{ ]/ { sum += $NF } END { printf "%.0f", sum }')
    least=$(find "$work/media" -name '*.mp4' -printf '%s\n' | awk '{ sum += 2 * $1 } END { printf "%.0f", sum }')
    [ "$sent" -ge "$least" ] || fail "the daemon of $1 counts $sent bytes sent, at least $least were played"
    say "the daemon of $1 has sent $sent bytes"
}

# status_of BOX PATH: of an answer.
status_of() { ask -o "$work/body" -w '%{http_code}' "https://${https[$1]}$2"; }
# is_gone NAME: no path of it is served any more, by either box.
is_gone() {
    local box file
    for box in first second; do
        for file in "$work/media/$1"/*; do [ "$(status_of "$box" "/$1/${file##*/}")" = 404 ] || return 1; done
    done
}
# paths NAME
paths() { find "$work/media/$1" -type f -printf "/$1/%f\n"; }

take_down() {
    local begun=$SECONDS
    paths "$1" | xargs "$programs/oca-control" --config "$work/control/oca-control.toml" rm > "$work/taken-down"
    await control 60 is_gone "$1"
    say "$(wc -l < "$work/taken-down") paths are gone from both boxes after $((SECONDS - begun)) s"
}

# Most of what there was is no longer wanted: the control endpoint does not sign that unless it is told to, and the boxes wait for
# their operator's word.
shrink() {
    paths clips | xargs "$programs/oca-control" --config "$work/control/oca-control.toml" rm > "$work/taken-down"
    if control build; then fail "the control endpoint has signed a manifest with fewer than half the objects"; fi
    control build --allow-shrink
}
is_held() { fill_facts "$1" .held.serial > "$work/held" 2>/dev/null; }
accept() {
    await "$1.agent" 30 is_held "$1"
    fill_facts "$1" '"held: \(.held.why)"'
    [ "$(status_of "$1" /title/title.mpd)" = 200 ] || fail "what is wanted is not served while a manifest is held"
    ctl "$1" fill accept "$(fill_facts "$1" '"\(.held.serial.epoch).\(.held.serial.number)"')"
    await "$1.agent" 30 fill_facts "$1" 'select(.held == null) | "in force: \(.manifest.objects) objects"'
}

step "packages" packages curl ffmpeg jq openssl
step "set-up" "$project/scripts/setup.sh" build
step "build" build
step "title: 40 s" encode title 40
step "trailer: 10 s" encode trailer 10
step "clips" make_clips
step "decoding the files" decode_locally title 40
step "decoding the files" decode_locally trailer 10
step "authority" make_authority
step "control endpoint" start_control
step "ingest" ingest
step "first box" configure first
step "its daemon" start_daemon first
step "its manifest" sign_manifests first
step "it fills from the control endpoint" fill first
step "the long line" check_long_line
step "its inventory" meet first
step "second box" configure second
step "its daemon" start_daemon second
step "its manifest" sign_manifests second
step "it fills from the first" fill second
step "between the boxes" check_peer
step "the long line" check_long_line
for box in first second; do
    step "playing the title from the $box" play $box title
    step "playing the trailer from the $box" play $box trailer
    step "count" count $box
done
step "takedown of the trailer" take_down trailer
step "a manifest with few objects" shrink
step "held at the first, accepted" accept first
step "held at the second, accepted" accept second
ctl first status
ctl first fill status

if [ $once = yes ]; then
    step "stopping" stop_all
    say "ALL WORKED"
    exit 0
fi
cat <<END

Serving until Ctrl-C. To try next:
  ffplay -ca_file $work/ca.pem https://${https[first]}/title/master.m3u8         or title/title.mpd; also from https://${https[second]}/
  curl --cacert $work/ca.pem -r 1000000-1999999 -o /dev/null -v https://${https[second]}/title/title-stream0.mp4
  openssl s_client -connect ${https[first]} -CAfile $work/ca.pem -verify_return_error < /dev/null
  curl http://${admin[first]}/metrics                    also /status, /steering, /healthz, /readyz
  $programs/ocactl --config $work/first/oca.toml status
  $programs/ocactl --config $work/first/oca.toml fill status --watch      also fill plan, fill-window show
  $programs/ocactl --config $work/first/oca.toml drain      and undrain
  $programs/oca-control --config $work/control/oca-control.toml appliance ls
END
wait
