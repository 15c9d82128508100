#!/usr/bin/env bash
# From nothing to playing: builds the programs, makes two titles and gives them to a control endpoint; a first box fills itself from
# it, a second one from the first; HLS and DASH play from both. A router (BIRD) tells the boxes whom they serve, and the control endpoint
# sends that viewer to them, and around the one that is drained. Then something is taken down, and a manifest is held. All of it over https,
# with an authority that is made here.
#
#   demo.sh          runs until Ctrl-C
#   demo.sh --once   the same, then ends; 0 only if all of it worked
#
# Everything is made in a folder among the temporary files and removed at the end; all programs get their ports from the kernel.
# Root is needed only for Debian packages that are missing.

. "$(dirname "$0")/fleet.sh"

case "${1:-}" in
    '') once=no ;;
    --once) once=yes ;;
    *) fail "usage: $0 [--once]" ;;
esac

# For root alone in the PATH.
bird=/usr/sbin/bird

# Small things, so that there is something to lose.
clips=30
make_clips() {
    local clip
    mkdir "$work/media/clips"
    for ((clip = 1; clip <= clips; clip++)); do head -c 20000 /dev/urandom > "$work/media/clips/$clip.jpg"; done
}

ingest() {
    local what
    for what in title trailer clips; do control ingest "$work/media/$what" --prefix "/$what"; done
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

# The router: BIRD, which tells both boxes the prefix of one viewer when it is let. One session each, so each box has an end of its own.
router=127.0.0.9
router_port=$((20000 + RANDOM % 10000))
viewer=192.0.2.7
declare -A end=([first]=127.0.0.2 [second]=127.0.0.3)
control_more='
[[operator]]
name = "demo.example"
sites = ["demo.example"]
prefixes = ["192.0.2.0/24"]
'
for box in first second; do
    more[$box]="
[steering]
hint_lifetime = \"1 s\"

[bgp]
router_id = \"${end[$box]}\"

[[bgp.neighbor]]
address = \"$router\"
port = $router_port
local_address = \"${end[$box]}\"
local_as = 64512
remote_as = 64496
role = \"listen\"
"
done
has_session() { ctl "$1" bgp neighbors --json | jq -e '.neighbors[0].state == "established"' > "$work/session"; }
start_router() {
    local box
    {
        printf 'router id 192.0.2.254;\nprotocol device {}\nprotocol static viewers { disabled; ipv4; route 192.0.2.0/24 blackhole; }\n'
        for box in first second; do
            printf 'protocol bgp to_%s { local %s port %s as 64496; neighbor %s as 64512; multihop; passive; ipv4 { import none; export all; }; }\n' \
                $box $router $router_port "${end[$box]}"
        done
    } > "$work/bird.conf"
    start router "$bird" -f -c "$work/bird.conf" -s "$work/bird.ctl" -P "$work/bird.pid"
}
tell() {
    local box
    "${bird}c" -s "$work/bird.ctl" enable viewers
    for box in first second; do
        await router 60 has_session $box
        ctl $box bgp neighbors
    done
}
steers() {
    await control 60 is_steered_to "$1" $viewer /title/title.mpd
    jq -r '"\(.client): \(.why)", (.passed_over[] | "passed over: \(.id), \(.why)")' "$work/steered"
}
steer_around() {
    ctl first drain --reason "demo"
    steers 1
    jq -e '.choices[0].id == "second.demo.example"' "$work/steered" > "$work/named" || fail "the drained box is still named"
    ctl first undrain
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

step "packages" packages bird2 curl ffmpeg jq openssl
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
step "router" start_router
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
step "a viewer whom no router tells of" steers 0
step "the router tells" tell
step "its viewer" steers 2
step "around a drain" steer_around
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
  $programs/ocactl --config $work/first/oca.toml drain      and undrain; bgp neighbors, bgp routes
  curl --cacert $work/ca.pem 'https://$control_address/v1/steer?client=$viewer&path=/title/title.mpd'
  $programs/oca-control --config $work/control/oca-control.toml appliance ls
END
wait
