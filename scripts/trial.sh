# shellcheck shell=bash disable=SC2034
# What the scripts share that make a title, start a box and play from it; to be sourced. Everything is made in one folder, $work, and
# removed at the end; what was started ends with the script.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

programs=$target/release
frames_per_second=25
work=$(mktemp -d "${TMPDIR:-/tmp}/oca-${0##*/}.XXXXXX")
declare -A running=()

# start NAME COMMAND...: in the background, its words in NAME.log.
start() {
    local name=$1
    shift
    "$@" 2> "$work/$name.log" &
    running[$name]=$!
}

# stop NAME: 0 if it ends as it should.
stop() {
    local process=${running[$1]}
    unset "running[$1]"
    kill -TERM "$process" 2>/dev/null || true
    wait "$process"
}
stop_all() {
    local name
    for name in "${!running[@]}"; do stop "$name"; done
}
trap 'stop_all || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# await NAME SECONDS COMMAND...: until the command succeeds; the program NAME must live on meanwhile.
await() {
    local name=$1 end=$((SECONDS + $2))
    shift 2
    until "$@"; do
        if [ $SECONDS -ge $end ] || ! kill -0 "${running[$name]}" 2>/dev/null; then
            tail -n 20 "$work/$name.log"
            fail "waited in vain: $*"
        fi
        sleep 0.2
    done
}

# ctl BOX ARGUMENT...
ctl() { "$programs/ocactl" --config "$work/$1/oca.toml" "${@:2}"; }

# make_authority: one that signs for this trial alone, ca.pem.
make_authority() {
    printf '[req]\ndistinguished_name = name\n[name]\n' > "$work/openssl.cnf"
    key_pair -subj "/CN=OCA trial" -days 2 -keyout "$work/ca.key" -out "$work/ca.pem" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
}
key_pair() { openssl req -config "$work/openssl.cnf" -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@" 2> "$work/openssl.log"; }

# certify FILE NAME [DAYS [ADDRESS]]: FILE.pem and FILE.key for what is called so, at this machine; for a day.
certify() {
    key_pair -CA "$work/ca.pem" -CAkey "$work/ca.key" -subj "/CN=$2" -days "${3:-1}" -keyout "$1.key" -out "$1.pem" \
        -addext "subjectAltName=DNS:$2,DNS:localhost,IP:${4:-127.0.0.1}" -addext basicConstraints=critical,CA:FALSE
}

# ask ARGUMENT...: curl, which believes that authority alone.
ask() { curl -s --cacert "$work/ca.pem" "$@"; }

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

# on_demand NAME: beside the manifest with a list of segments, one that names the `sidx` of each file alone (DASH-IF's on-demand profile):
# the player asks for that range, and makes the list itself.
on_demand() {
    awk '
        { sub(/isoff-live/, "isoff-on-demand") }
        /<SegmentList/ || /<\/SegmentList/ { next }
        /<Initialization/ { split($0, range, /["-]/); initialization = range[3]; listed = 0; next }
        /<SegmentURL/ {
            if (listed++) next
            split($0, range, /["-]/)
            printf "<SegmentBase indexRange=\"%d-%d\"><Initialization range=\"0-%d\"/></SegmentBase>\n", initialization + 1, range[2] - 1, initialization
            next
        }
        { print }' "$work/media/$1/$1.mpd" > "$work/media/$1/on-demand.mpd"
}

# cut_segments NAME: HLS with a file for each segment, of the same packets.
cut_segments() {
    local folder=$work/media/$1/segments
    mkdir -p "$folder"
    ffmpeg -nostdin -v error \
        -i "$work/media/$1/$1-stream0.mp4" -i "$work/media/$1/$1-stream1.mp4" -i "$work/media/$1/$1-stream2.mp4" -i "$work/media/$1/$1-stream3.mp4" \
        -map 0 -map 1 -map 2 -map 3 -c copy -f hls -hls_playlist_type vod -hls_segment_type fmp4 -hls_time 4 \
        -hls_segment_filename "$folder/%v-%03d.m4s" -hls_fmp4_init_filename '%v-init.mp4' \
        -var_stream_map 'v:0,agroup:sound v:1,agroup:sound v:2,agroup:sound a:0,agroup:sound,default:yes' "$folder/%v.m3u8"
    # ffmpeg does not know the bit rates of copied packets; they are as there.
    sed 's/media_//' "$work/media/$1/master.m3u8" > "$folder/master.m3u8"
}

# make_title: 60 s, in all forms that players get.
make_title() {
    encode title 60
    on_demand title
    cut_segments title
}

# frames URL...: one line for every picture and every piece of sound decoded from the inputs, whatever the order of their streams.
# Streams are played one by one: of all at once from DASH, ffmpeg 5.1 drops a sound.
frames() {
    local url stream streams trust
    for url in "$@"; do
        trust=()
        [[ $url != https:* ]] || trust=(-tls_verify 1 -ca_file "$work/ca.pem")
        streams=$(ffprobe -v error "${trust[@]}" -show_entries stream=index -of csv=p=0 "$url" | sort -un)
        for stream in $streams; do
            timeout -k 5 300 ffmpeg -nostdin -v error "${trust[@]}" -i "$url" -map "0:$stream" -f framehash -hash murmur3 - | grep -v '^#' | cut -d , -f 5-
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

# address_of BOX PURPOSE
address_of() { ctl "$1" status --json 2>/dev/null | jq -er --arg purpose "$2" 'first(.listeners[] | select(.purpose == $purpose) | .address)'; }
is_ready() { address=$(address_of "$1" admin) && curl -fs -o "$work/ready" "http://$address/readyz"; }

# Addresses, empty where a box does not listen so.
declare -A http=()
declare -A https=()
declare -A admin=()
start_daemon() {
    start "$1.daemon" "$programs/oca-daemon" --config "$work/$1/oca.toml"
    await "$1.daemon" 30 is_ready "$1"
    http[$1]=$(address_of "$1" http || true)
    https[$1]=$(address_of "$1" https || true)
    admin[$1]=$(address_of "$1" admin)
}

# The players in a browser, and what drives them.
players=$project/benches/players
node_and_npm() {
    have node || packages nodejs
    have npm || packages npm
    npm ci --prefix "$players" --no-audit --no-fund --ignore-scripts --loglevel error
}
