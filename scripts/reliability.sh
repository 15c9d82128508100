#!/usr/bin/env bash
# Power cuts, failing calls and full disks, for as long as is wished; docs/reliability.md says what is tried, and what came of it.
#
#   reliability.sh [SECONDS [SEED]]    600 seconds, after the build, from a random seed
#
# Half of the time goes to calls that fail, a quarter to power cuts of the named plans, the rest to power cuts of random histories, two
# at a time. In each, faults come in an order that the seed gives: the figures at the end say how many of all there was time for. What is
# not survived is printed with its seed, and the same seed finds it again; so does the number of a history, as the seed. The file systems
# that are filled are ext4 on loop devices where this runs as root, and otherwise in memory.

. "$(dirname "$0")/common.sh"
cd "$project"

seconds=${1:-600}
seed=${2:-$((RANDOM << 15 | RANDOM))}
[[ $seconds =~ ^[1-9][0-9]*$ && $seed =~ ^[0-9]+$ ]] || fail "usage: $0 [SECONDS [SEED]]"
for program in strace unshare; do
    have "$program" || fail "missing $program: apt-get install --no-install-recommends strace util-linux"
done
say "seed $seed"
# In memory where there is such a place: a disk takes minutes for so many syncs.
if [ -d /dev/shm ]; then work=$(mktemp -d -p /dev/shm); else work=$(mktemp -d); fi
trap 'umount "$work"/*.d 2>/dev/null; rm -rf "$work"' EXIT

# build: the test programs, whose paths cargo says; as scripts/test.sh builds them.
build() {
    program=$(built crash_replay)
    accounts=$(built space)
}

built() {
    local path
    path=$(cargo test -q --locked --workspace --all-features --test "$1" --no-run --message-format=json \
        | sed -n 's/.*"executable":"\([^"]*'"$1"'-[^"]*\)".*/\1/p')
    [ -x "$path" ] || fail "cargo has built no test program $1"
    printf '%s' "$path"
}

# run PATTERN SECONDS: the tests of that name, each in a process of its own, two at a time, all in so many seconds. Says their figures; what
# they said last if one fails.
run() {
    local log=$work/log tests
    mapfile -t tests < <("$program" --list | sed -n 's/: test$//p' | grep -E "$1")
    [ ${#tests[@]} -gt 0 ] || fail "no test is called $1"
    export OCA_CRASH_SEED=$seed OCA_CRASH_SECONDS=$(($2 / ((${#tests[@]} + 1) / 2)))
    if ! printf '%s\n' "${tests[@]}" | xargs -P 2 -n 1 "$program" --nocapture --exact >"$log" 2>&1; then
        grep -Ev '^(history|test) ' "$log" | tail -n 60
        fail "not survived; again: $0 $seconds $seed"
    fi
    grep -E 'survived|refused' "$log" | awk '
        / power cuts survived/ { tried += $2; prefixes += $4; cuts += $6; next }
        / faults injected/ { faults += $2; all += $4; next }
        { print }
        END {
            if (cuts) print tried " of " prefixes " prefixes, " cuts " power cuts survived"
            if (faults) print faults " of " all " failed calls survived"
        }'
}

# full_ext4 OPTION..: a file system of 96 MiB, made with these options, is filled.
full_ext4() {
    on_ext4 96M "$@" -N 160
    for driver in full_driver reserve_driver files_driver; do
        OCA_OWN_FILE_SYSTEM=$work/ext4.d "$program" --nocapture --exact "$driver" | grep refused
        rm -rf "$work"/ext4.d/*
    done
    umount "$work/ext4.d"
}

# accounts_ext4: what the store accounts for, beside what statvfs(2) says of a file system that nobody else uses.
accounts_ext4() {
    on_ext4 2G
    OCA_OWN_FILE_SYSTEM=$work/ext4.d "$accounts" --nocapture --exact accounts_driver | grep ' apart'
    umount "$work/ext4.d"
}

# on_ext4 SIZE OPTION..: a new and empty file system in $work/ext4.d.
on_ext4() {
    local image=$work/ext4 size=$1
    shift
    rm -f "$image"
    truncate -s "$size" "$image"
    mkfs.ext4 -q -F "$@" "$image"
    mkdir -p "$work/ext4.d"
    mount -o loop "$image" "$work/ext4.d"
    rmdir "$work/ext4.d/lost+found"
}

step "build" build
begun=$SECONDS
step "failing calls" run calls_fail $((seconds / 2))
step "full file system in memory" run 'a_full_file_system|what_is_kept_back' "$seconds"
if [ "$(id -u)" -eq 0 ] && [ -e /dev/loop-control ]; then
    step "full ext4" full_ext4
    step "full ext4 without a reserve for root" full_ext4 -m 0
    step "accounts on ext4" accounts_ext4
else
    say "NOT RUN: full ext4, which needs root and loop devices"
fi
step "power cuts" run 'power_fails_(during|while|after)' $((seconds / 4))
left=$((seconds - SECONDS + begun))
step "power cuts in random histories" run power_fails_in_random_histories $((left > 1 ? left : 1))
say "ALL SURVIVED in $SECONDS s, seed $seed"
