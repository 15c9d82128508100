#!/usr/bin/env bash
# Power cuts, failing calls and full disks, for as long as is wished; docs/reliability.md says what is tried, and what came of it.
#
#   reliability.sh [SECONDS [SEED]]    600 seconds of random histories, from a random seed; before them every fault of every named one
#
# Ends with the figures. What is not survived is printed with its seed, and the same seed finds it again. The file systems that are
# filled are ext4 on loop devices where this runs as root, and otherwise in memory.

. "$(dirname "$0")/common.sh"
cd "$project"

seconds=${1:-600}
seed=${2:-$((RANDOM << 15 | RANDOM))}
[[ $seconds =~ ^[1-9][0-9]*$ && $seed =~ ^[0-9]+$ ]] || fail "usage: $0 [SECONDS [SEED]]"
for program in strace unshare; do
    have "$program" || fail "missing $program: apt-get install --no-install-recommends strace util-linux"
done
say "seed $seed"
work=$(mktemp -d)
trap 'umount "$work"/*.d 2>/dev/null; rm -rf "$work"' EXIT

# build: the test program, whose path cargo says.
build() {
    program=$(cargo test -q --locked -p content-store --test crash_replay --no-run --message-format=json \
        | sed -n 's/.*"executable":"\([^"]*crash_replay-[^"]*\)".*/\1/p')
    [ -x "$program" ] || fail "cargo has built no test program"
}

# run PATTERN: the tests of that name, each in a process of its own, two at a time. Says their figures; what they said last if one fails.
run() {
    local log=$work/log
    export OCA_CRASH_SECONDS=$seconds OCA_CRASH_SEED=$seed
    if ! "$program" --list | sed -n 's/: test$//p' | grep -E "$1" | xargs -P 2 -n 1 "$program" --nocapture --exact >"$log" 2>&1; then
        grep -Ev '^(history|test) ' "$log" | tail -n 60
        fail "not survived; again: $0 $seconds $seed"
    fi
    grep -E 'survived|refused' "$log" | awk '
        / power cuts survived/ { prefixes += $2; cuts += $4; next }
        / faults injected/ { faults += $2; next }
        { print }
        END { if (cuts) print prefixes " prefixes, " cuts " power cuts survived"; if (faults) print faults " failed calls survived" }'
}

# full_ext4 OPTION..: a file system of 96 MiB, made with these options, is filled.
full_ext4() {
    local image=$work/ext4
    truncate -s 96M "$image"
    mkfs.ext4 -q -F "$@" "$image"
    mkdir -p "$work/ext4.d"
    mount -o loop "$image" "$work/ext4.d"
    rmdir "$work/ext4.d/lost+found"
    for driver in full_driver reserve_driver; do
        OCA_CRASH_FULL=$work/ext4.d "$program" --nocapture --exact "$driver" | grep refused
        rm -rf "$work"/ext4.d/*
    done
    umount "$work/ext4.d"
}

step "build" build
step "failing calls" run calls_fail
step "full file system in memory" run 'a_full_file_system|what_is_kept_back'
if [ "$(id -u)" -eq 0 ] && [ -e /dev/loop-control ]; then
    step "full ext4" full_ext4 -N 160
    step "full ext4 without a reserve for root" full_ext4 -N 160 -m 0
else
    say "NOT RUN: full ext4, which needs root and loop devices"
fi
step "power cuts" run power_fails
say "ALL SURVIVED in $SECONDS s, seed $seed"
