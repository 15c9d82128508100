#!/usr/bin/env bash
# A site of two boxes as viewers notice it: hls.js, dash.js and shaka-player in Chromium, with a buffer of 10 s, sent by the control
# endpoint. While they play, the box that they play from is drained: they must leave it in time, without a pause. Then it is killed: they
# must play on from the other one, without a pause. docs/players.md says what was seen.
#
#   site.sh            all runs, some ten minutes; needs root
#   site.sh WORD...    the runs whose names hold one of the words, as in drain or kill:shaka

. "$(dirname "$0")/fleet.sh"

if [ "${1:-}" != --apart ]; then
    [ "$(id -u)" -eq 0 ] || fail "needs root: it makes a network of its own"
    step "packages" packages chromium curl ffmpeg iproute2 jq libnss3-tools openssl
    step "players" node_and_npm
    step "set-up" "$project/scripts/setup.sh" build
    step "build" build
    # Players are told hosts, not ports: each box has an address of its own, and the port of https, in a network where nobody else is.
    rm -r "$work"
    exec unshare --net "$0" --apart "$@"
fi
shift

# The longest that an answer of the control endpoint may be used: 10 s and a fifth.
ttl=12
# Whoever asks at an address of this machine asks from there: so this is the viewers' address as well.
control_host=192.0.2.1
control_listen=$control_host:443
listen=([first]=192.0.2.11:443 [second]=192.0.2.12:443)
control_more='
[steering]
ttl = "10 s"

[[operator]]
name = "demo.example"
sites = ["demo.example"]
prefixes = ["192.0.2.0/24"]
'
for box in first second; do more[$box]=$'[steering]\nhint_lifetime = "1 s"\n'; done

# A browser that has but the loopback interface believes that it is offline.
make_network() {
    local address
    ip link set lo up
    ip link add site type veth peer name viewers
    for address in "$control_listen" "${listen[@]}"; do ip addr add "${address%:*}/24" dev site; done
    ip link set site up
    ip link set viewers up
}

# pathway ID BASE < PLAYLIST: what the playlist leads to, as a pathway of its own that is asked for below BASE.
pathway() {
    sed -nE "
        /^#EXT-X-MEDIA:/ { s/GROUP-ID=\"/&$1-/; s#URI=\"#&$2#; p }
        /^#EXT-X-STREAM-INF:/ { s/AUDIO=\"/&$1-/; s/\$/,PATHWAY-ID=\"$1\"/; p; n; s#^#$2#; p }"
}

# The playlists name the control endpoint. Of HLS there are two, as docs/steering.md has them: master.m3u8 has one pathway, which answers clone
# for each box; pathways.m3u8 has more, called as the boxes are.
name_the_control_endpoint() {
    local folder=$work/media/title asks="https://$control_host/v1/content-steering?path=/title" box
    {
        sed "1a #EXT-X-CONTENT-STEERING:SERVER-URI=\"$asks/segments/pathways.m3u8\",PATHWAY-ID=\"here\"
            /^#EXT-X-STREAM-INF:/s/\$/,PATHWAY-ID=\"here\"/" "$folder/segments/master.m3u8"
        for box in first second; do
            pathway $box.demo.example "https://${listen[$box]%:*}/title/segments/" < "$folder/segments/master.m3u8"
        done
    } > "$folder/segments/pathways.m3u8"
    sed -i "1a #EXT-X-CONTENT-STEERING:SERVER-URI=\"$asks/segments/master.m3u8\"" "$folder/segments/master.m3u8"
    # Nobody is called so: the first answer says whom to ask.
    sed -E "s#^([[:space:]]*)<Period#\1<BaseURL serviceLocation=\"title\">https://title.invalid/title/</BaseURL>\n\1<ContentSteering defaultServiceLocation=\"title\" queryBeforeStart=\"true\">$asks/steered.mpd\&amp;base=title</ContentSteering>\n&#" \
        "$folder/on-demand.mpd" > "$folder/steered.mpd"
    grep -q ContentSteering "$folder/steered.mpd"
    control ingest "$folder" --prefix /title
}

both_serve() { await control 120 is_steered_to 2 $control_host /title/steered.mpd; }

# act WORD HOST: what is to happen to the box that serves there.
act() {
    local box=first
    [ "${listen[$box]%:*}" = "$2" ] || box=second
    [ "${listen[$box]%:*}" = "$2" ] || fail "no box serves at $2"
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
    coproc viewers { exec node "$players/site.js" "$work/ca.pem" "$control_host" $ttl "$@"; }
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

step "network" make_network
step "title: 60 s" make_title
step "authority" make_authority
step "control endpoint" start_control
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
step "stopping" stop_all
say "ALL PLAYED"
