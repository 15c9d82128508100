#!/usr/bin/env bash
# A site of two boxes as viewers notice it: hls.js, dash.js and shaka-player in Chromium, with a buffer of 10 s, sent by the control
# endpoint. While they play, the box that they play from is drained: they must leave it in time, without a pause. Then it is killed: they
# must play on from the other one, without a pause. docs/players.md says what was seen.
#
#   site.sh            all runs, some ten minutes
#   site.sh WORD...    the runs whose names hold one of the words, as in drain or kill:shaka

. "$(dirname "$0")/fleet.sh"

# The longest that an answer of the control endpoint may be used: 10 s and a fifth.
ttl=12
# No router tells of 127.0.0.1: the players ask through a proxy that says this of them.
viewer=192.0.2.7
playlist=/title/segments/master.m3u8
control_more='
[steering]
ttl = "10 s"
trusted_proxies = ["127.0.0.1/32"]

[[operator]]
name = "demo.example"
sites = ["demo.example"]
prefixes = ["192.0.2.0/24"]
'
for box in first second; do more[$box]=$'[steering]\nhint_lifetime = "1 s"\n'; done

start_proxy() {
    start proxy node "$players/proxy.js" "$work/control/tls.pem" "$work/control/tls.key" "$work/ca.pem" "$control_address" $viewer "$work/proxy"
    await proxy 30 test -s "$work/proxy"
    steering_address=$(cat "$work/proxy")
}

# The playlists name the control endpoint, whose address the kernel has given.
name_the_control_endpoint() {
    local folder=$work/media/title asks="https://$steering_address/v1/content-steering?path="
    sed -i "1a #EXT-X-CONTENT-STEERING:SERVER-URI=\"$asks$playlist\"" "$folder/segments/master.m3u8"
    # Nobody is called so: the first answer says whom to ask.
    sed -E "s#^([[:space:]]*)<Period#\1<BaseURL serviceLocation=\"first\">https://title.invalid/title/</BaseURL>\n\1<ContentSteering defaultServiceLocation=\"first\" queryBeforeStart=\"true\">$asks/title/steered.mpd\&amp;base=first</ContentSteering>\n&#" \
        "$folder/on-demand.mpd" > "$folder/steered.mpd"
    grep -q ContentSteering "$folder/steered.mpd"
    control ingest "$folder" --prefix /title
}

both_serve() { await control 120 is_steered_to 2 $viewer $playlist; }

# act WORD ADDRESS: what is to happen to the box that serves there.
act() {
    local box=first
    [ "${https[$box]}" = "$2" ] || box=second
    [ "${https[$box]}" = "$2" ] || fail "no box serves at $2"
    case $1 in
        drain) ctl $box drain --reason "a trial" ;;
        kill)
            kill -KILL "${running[$box.daemon]}"
            wait "${running[$box.daemon]}" || true
            unset "running[$box.daemon]"
            ;;
        restore)
            if [ -n "${running[$box.daemon]:-}" ]; then ctl $box undrain; else start_daemon $box; fi
            both_serve
            ;;
    esac
}

play() {
    local player line word about
    coproc viewers { exec node "$players/site.js" "$work/ca.pem" "$steering_address" $ttl "$@"; }
    # bash forgets these when the process ends, and shellcheck does not know them.
    # shellcheck disable=SC2154
    player=$viewers_PID
    exec 3<&"${viewers[0]}" 4>&"${viewers[1]}"
    while IFS= read -r line <&3; do
        read -r word about <<< "$line"
        if [ "$word" = act ]; then
            # shellcheck disable=SC2086
            act $about
            echo "it is so" >&4
        else
            say "$line"
        fi
    done
    wait "$player"
}

step "packages" packages chromium curl ffmpeg jq libnss3-tools openssl
step "players" node_and_npm
step "set-up" "$project/scripts/setup.sh" build
step "build" build
step "title: 60 s" make_title
step "authority" make_authority
step "control endpoint" start_control
step "proxy" start_proxy
step "ingest" name_the_control_endpoint
for box in first second; do
    step "$box box" configure $box
    step "its daemon" start_daemon $box
    step "its manifest" sign_manifests $box
    step "it fills" fill $box
    step "its inventory" meet $box
done
step "the site" both_serve
step "playing" play "$@"
stop proxy || true
step "stopping" stop_all
say "ALL PLAYED"
