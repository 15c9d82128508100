#!/usr/bin/env bash
# From nothing to playing: builds the appliance, makes two titles, imports them, starts the daemon, plays HLS and DASH through it.
#
#   demo.sh          runs until Ctrl-C
#   demo.sh --once   the same, then ends; 0 only if all of it worked
#
# Everything is made in a folder among the temporary files and removed at the end; the daemon gets its ports from the kernel.
# Root is needed only for Debian packages that are missing.

. "$(dirname "$0")/common.sh"

frames_per_second=25
case "${1:-}" in
    '') once=no ;;
    --once) once=yes ;;
    *) fail "usage: $0 [--once]" ;;
esac

work=$(mktemp -d "${TMPDIR:-/tmp}/oca-demo.XXXXXX")
daemon=
stop_daemon() {
    local process=$daemon
    daemon=
    [ -n "$process" ] || return 0
    kill -TERM "$process" 2>/dev/null || true
    wait "$process"
}
trap 'stop_daemon || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

build() {
    (cd "$project" && cargo build -q --locked --release --bin oca-daemon --bin ocactl)
}
programs=$target/release
ctl() { "$programs/ocactl" --config "$work/oca.toml" "$@"; }

# encode NAME SECONDS: three renditions of a moving picture and one of a tone. Each is one fragmented MP4 with a `sidx`; HLS
# (EXT-X-BYTERANGE) and DASH name the same byte ranges of the same files. A key frame every 2 s: players may switch there.
encode() {
    local folder=$work/media/$1
    mkdir -p "$folder"
    ffmpeg -nostdin -v error \
        -f lavfi -i "testsrc2=size=1280x720:rate=$frames_per_second:duration=$2" \
        -f lavfi -i "sine=frequency=440:sample_rate=48000:duration=$2" \
        -filter_complex '[0:v]split=3[large][b][c];[b]scale=960:540[middle];[c]scale=640:360[small]' \
        -map '[large]' -map '[middle]' -map '[small]' -map 1:a \
        -c:v libx264 -preset ultrafast -pix_fmt yuv420p \
        -g $((2 * frames_per_second)) -keyint_min $((2 * frames_per_second)) -sc_threshold 0 \
        -b:v:0 3M -b:v:1 1500k -b:v:2 800k -c:a aac -b:a 128k \
        -f dash -single_file 1 -global_sidx 1 -hls_playlist 1 -seg_duration 4 \
        -adaptation_sets 'id=0,streams=v id=1,streams=a' "$folder/$1.mpd"
    mend_manifest "$folder/$1.mpd"
}

# number FILE OFFSET: 32 bits, as MP4 writes the lengths of its boxes.
number() { od -An -t u4 --endian=big -j "$2" -N 4 "$1" | tr -d ' '; }

# Two things that ffmpeg writes and cannot play itself (5.1; others can): startNumber, which says nothing in a list of segments, makes
# it skip the first one; and a `sidx` in the range of the initialization, where only `ftyp` and `moov` belong, makes it spin.
mend_manifest() {
    local file type
    sed -i 's/ startNumber="1"//' "$1"
    for file in "${1%/*}"/*.mp4; do
        type=$(number "$file" 0)
        sed -i -E "/<BaseURL>${file##*/}</,/<Initialization/ s/(range=\"0-)[0-9]+/\1$((type + $(number "$file" "$type") - 1))/" "$1"
    done
}

# frames URL...: one line for every picture and every piece of sound decoded from the inputs, whatever the order of their streams.
# Streams are played one by one: of all at once from DASH, ffmpeg 5.1 drops a sound.
frames() {
    local url stream streams
    for url in "$@"; do
        streams=$(ffprobe -v error -show_entries stream=index -of csv=p=0 "$url" | sort -un)
        for stream in $streams; do
            timeout -k 5 300 ffmpeg -nostdin -v error -i "$url" -map "0:$stream" -f framehash -hash murmur3 - | grep -v '^#' | cut -d , -f 5-
        done
    done | sort
}

# decode_locally NAME SECONDS: what every player must see.
decode_locally() {
    frames "$work/media/$1"/*.mp4 > "$work/$1.frames"
    local pictures
    # A decoded picture is 3/2 bytes per pixel; all else is sound.
    pictures=$(grep -cE '^ *(1382400|777600|345600),' "$work/$1.frames")
    [ "$pictures" -eq $((3 * frames_per_second * $2)) ] || fail "$1 has $pictures pictures"
}

configure() {
    local device
    cat > "$work/oca.toml" <<END
[appliance]
id = "demo.local.example"
state_dir = "$work/state"
run_dir = "$work/run"

[listen]
http = ["127.0.0.1:0"]
admin = "127.0.0.1:0"

[[tier]]
name = "nvme"
role = "hot"
shared_fs = true
devices = ["$work/nvme0", "$work/nvme1"]

[[tier]]
name = "hdd"
role = "capacity"
shared_fs = true
devices = ["$work/hdd0", "$work/hdd1"]
END
    for device in nvme0 nvme1 hdd0 hdd1; do
        mkdir "$work/$device"
        ctl device add "$work/$device"
    done
}

import() {
    ctl content import "$work/media/title" --prefix /title
    ctl content import "$work/media/trailer" --prefix /trailer --tier hdd
}

address_for() { ctl status --json 2>/dev/null | jq -er --arg purpose "$1" 'first(.listeners[] | select(.purpose == $purpose) | .address)'; }

start_daemon() {
    "$programs/oca-daemon" --config "$work/oca.toml" 2> "$work/daemon.log" &
    daemon=$!
    local tries=300
    while [ $((tries -= 1)) -gt 0 ]; do
        if http=$(address_for http) && admin=$(address_for admin) && curl -fs -o "$work/ready" "http://$admin/readyz"; then return 0; fi
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/daemon.log"
    fail "the daemon is not ready"
}

# play NAME: both ways, through the daemon. ffmpeg takes all renditions; each frame must come out as from the files themselves.
play() {
    local url
    for url in "http://$http/$1/master.m3u8" "http://$http/$1/$1.mpd"; do
        frames "$url" > "$work/played"
        cmp "$work/$1.frames" "$work/played" || fail "$url does not play as the files do"
        say "played $url: all $(wc -l < "$work/played") pictures and sounds are right"
    done
}

# What was played must have come from this daemon: its own count says so.
count() {
    local sent least
    sent=$(curl -fs "http://$admin/metrics" | awk '/^oca_sent_bytes_total[{ ]/ { sum += $NF } END { printf "%.0f", sum }')
    least=$(find "$work/media" -name '*.mp4' -printf '%s\n' | awk '{ sum += 2 * $1 } END { printf "%.0f", sum }')
    [ "$sent" -ge "$least" ] || fail "the daemon counts $sent bytes sent, at least $least were played"
    say "the daemon has sent $sent bytes"
}

step "packages" packages curl ffmpeg jq
step "set-up" "$project/scripts/setup.sh" build
step "build" build
step "title: 60 s" encode title 60
step "trailer: 10 s" encode trailer 10
step "decoding the files" decode_locally title 60
step "decoding the files" decode_locally trailer 10
step "devices" configure
step "import" import
step "daemon" start_daemon
step "playing the title, from nvme" play title
step "playing the trailer, from hdd" play trailer
step "count" count
ctl status

if [ $once = yes ]; then
    step "stopping" stop_daemon
    say "ALL WORKED"
    exit 0
fi
cat <<END

Serving until Ctrl-C. To try next:
  ffplay http://$http/title/master.m3u8         or title/title.mpd, trailer/master.m3u8, trailer/trailer.mpd; VLC and mpv take them too
  curl -r 1000000-1999999 -o /dev/null -v http://$http/title/title-stream0.mp4
  curl http://$admin/metrics                    also /status, /steering, /healthz, /readyz
  $programs/ocactl --config $work/oca.toml status
  $programs/ocactl --config $work/oca.toml content ls
  $programs/ocactl --config $work/oca.toml drain      and undrain
END
wait "$daemon"
