#!/usr/bin/env bash
# Whether a slow, frozen or failing disk is felt by viewers of another one: ours beside nginx and lighttpd, on disks that are made ill.
# docs/isolation.md says what is emulated, how that is proved, and what the figures mean.
#
#   isolation.sh [OPTION...]     about 25 minutes; options as of `oca-bench isolation`, as in
#                                isolation.sh --cases slow --clients 512 --servers oca-uring --pairs 3
#
# Needs root and two idle cores. Installs nothing: says what is missing. Ends with an error if ours is hurt, and says by what.

. "$(dirname "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || fail "needs root: it mounts file systems and holds back block devices"

declare -A package=(
    [fio]=fio [nginx]=nginx-light [lighttpd]=lighttpd [perf]=linux-perf [mkfs.ext4]=e2fsprogs
    [losetup]=mount [unshare]=util-linux [setpriv]=util-linux [taskset]=util-linux
)
missing=()
for program in "${!package[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin have "$program" || missing+=("${package[$program]}")
done
[ ${#missing[@]} -eq 0 ] || fail "missing: apt-get install --no-install-recommends ${missing[*]}"
[ -e /dev/fuse ] || fail "missing: /dev/fuse (modprobe fuse)"
[ -e /dev/loop-control ] || fail "missing: /dev/loop-control (modprobe loop)"

build() { (cd "$project" && cargo build -q --locked --release --bin oca-bench --bin oca-daemon --bin ocactl); }
step "build" build

# The program cleans up after itself, also when it is told to end; after kill -9 the kernel does, but for this.
child=
leftovers() {
    local group
    [ -n "$child" ] || return 0
    for group in /sys/fs/cgroup/blkio/oca-bench-"$child" /sys/fs/cgroup/oca-bench-"$child"; do
        [ -d "$group" ] || continue
        for rules in "$group"/io.max "$group"/blkio.throttle.{read,write}_{bps,iops}_device; do
            [ -e "$rules" ] || continue
            case $rules in
                */io.max) awk '{ print $1, "rbps=max wbps=max riops=max wiops=max" }' "$rules" ;;
                *) awk '$1 ~ /:/ { print $1, 0 }' "$rules" ;;
            esac | while read -r line; do echo "$line" > "$rules"; done
        done
        while read -r process; do echo "$process" > "$group/../cgroup.procs" || true; done < "$group/cgroup.procs"
        rmdir "$group"
    done
    rm -rf "${TMPDIR:-/tmp}/oca-bench-$child"
}
trap '[ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true; [ -z "$child" ] || wait "$child" 2>/dev/null || true; leftovers' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$target/release/oca-bench" isolation "$@" &
child=$!
wait "$child"
