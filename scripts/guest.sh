#!/usr/bin/env bash
# Runs a command as root in a Debian guest with systemd and a kernel that has all its modules, for what a container or a small machine
# lacks: kernel TLS, device-mapper, disks that can be pulled out. For behaviour, never for speed: without KVM it is ten times slower.
#
#   guest.sh [OPTION...] COMMAND [ARGUMENT...]
#
#   --share FOLDER     what the guest sees as /share, and where COMMAND begins; it may write there (default: an empty one)
#   --memory MIB       (1024)
#   --cpus N           (2)
#   --seconds N        the guest is stopped after that, and it counts as failed (600)
#   --reboots yes      COMMAND may reboot the guest, which keeps its disks, and is run again after that
#   --disk SIZE        one more empty disk, as of truncate(1); --nvme SIZE and --sata SIZE: as a device of that kind; each may be repeated
#
# Ends as COMMAND does, and shows what it says. The guest has loopback and no other network, and forgets what is written outside /share.
# Its image is made once, in two or three minutes, of the Debian release of this machine, and kept in the folder of tools.

. "$(dirname "$0")/common.sh"

# What a command may rely on.
contents=(systemd systemd-sysv udev dbus iproute2 kmod procps e2fsprogs dmsetup nvme-cli util-linux strace
    openssl curl ca-certificates nginx-light linux-image-amd64 initramfs-tools)

share='' memory=1024 cpus=2 seconds=600 reboots=no disks=()
while [ $# -gt 0 ]; do
    case $1 in
        --share) share=$(realpath "$2") ;;
        --memory) memory=$2 ;;
        --cpus) cpus=$2 ;;
        --seconds) seconds=$2 ;;
        --reboots) reboots=$2 ;;
        --disk | --nvme | --sata) disks+=("${1#--}:$2") ;;
        --*) fail "unknown option $1" ;;
        *) break ;;
    esac
    shift 2
done
[ $# -gt 0 ] || fail "usage: $0 [OPTION...] COMMAND [ARGUMENT...]"

# shellcheck source=/dev/null
release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
[ -n "$release" ] || fail "this is no Debian: /etc/os-release names no release to make the guest of"
PATH=$PATH:/usr/sbin:/sbin

# shellcheck disable=SC2317 # called below, by another shell
# The unit that runs the command once all else is up, and ends the guest whatever becomes of it.
write_unit() {
    cat > "$1/etc/systemd/system/guest.service" <<'END'
[Unit]
Description=The command of guest.sh
After=multi-user.target
RequiresMountsFor=/share

[Service]
Type=oneshot
WorkingDirectory=/share
ExecStart=/bin/bash -c 'bash .guest/command > .guest/log 2>&1; echo $? > .guest/rc'
ExecStopPost=/bin/systemctl --no-block poweroff

[Install]
WantedBy=multi-user.target
END
    echo 'share /share 9p trans=virtio,version=9p2000.L,msize=262144,nofail 0 0' > "$1/etc/fstab"
    mkdir "$1/share"
    chroot "$1" systemctl -q enable guest.service
    chroot "$1" systemctl -q disable nginx.service
}

# Runs as root.
# shellcheck disable=SC2317
make_image() {
    local root
    root=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder is known now
    trap "rm -rf '$root'" EXIT
    (IFS=, && debootstrap --variant=minbase --include="${contents[*]}" "$release" "$root" "${OCA_DEBIAN_MIRROR:-http://deb.debian.org/debian}") \
        > "$image.log" 2>&1 || { tail -n 20 "$image.log"; fail "debootstrap failed; all it said is in $image.log"; }
    write_unit "$root"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    mkdir "$image.new"
    cp "$root"/boot/vmlinuz-* "$image.new/kernel"
    cp "$root"/boot/initrd.img-* "$image.new/initrd"
    truncate -s 4G "$image.new/root"
    mkfs.ext4 -q -F -d "$root" "$image.new/root"
    chmod 644 "$image.new"/*
    mv "$image.new" "$image"
}

recipe=$(declare -f write_unit make_image; declare -p contents release)
image=$tools/guest/$(sha256sum <<< "$recipe" | cut -c 1-16)

# Those of other versions of this script go; one that was begun and not finished as well.
build_image() {
    packages qemu-system-x86 debootstrap e2fsprogs
    [ ! -d "$image" ] || return 0
    say "making the guest's image (once)"
    as_root rm -rf "$tools/guest"
    mkdir -p "$tools/guest"
    as_root bash -c "set -euo pipefail; $recipe; $(declare -f fail; declare -p image PATH); make_image"
}

build_image >&2
scratch=$(mktemp -d)
qemu=
trap '[ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "$share" ]; then
    share=$scratch/share
    mkdir "$share"
fi
rm -rf "$share/.guest"
mkdir "$share/.guest"
{ echo 'export HOME=/root'; printf '%q ' "$@"; } > "$share/.guest/command"
: > "$share/.guest/log"

devices=()
for index in "${!disks[@]}"; do
    file=$scratch/disk$index
    truncate -s "${disks[index]#*:}" "$file"
    devices+=(-drive "file=$file,if=none,format=raw,cache=unsafe,id=disk$index")
    case ${disks[index]%%:*} in
        disk) devices+=(-device "virtio-blk-pci,drive=disk$index,serial=disk$index") ;;
        nvme) devices+=(-device "nvme,drive=disk$index,serial=nvme$index") ;;
        sata) devices+=(-device "ich9-ahci,id=ahci$index" -device "ide-hd,drive=disk$index,bus=ahci$index.0,serial=sata$index") ;;
    esac
done

# A /dev/kvm in a virtual machine whose processor cannot do it opens, and then runs nothing.
accelerator=tcg
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accelerator=kvm; fi

on_reboot=shutdown
[ "$reboots" = no ] || on_reboot=reset

# A flush of the guest waits for no disk of this machine (cache=unsafe): that would be this machine's slowness, and not the guest's.
# What is written to the root is kept in a file that goes with the guest (snapshot=on), so that guests can run beside each other.
TMPDIR=$scratch timeout "$seconds" qemu-system-x86_64 -accel $accelerator -cpu max -m "$memory" -smp "$cpus" \
    -kernel "$image/kernel" -initrd "$image/initrd" -append "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet" \
    -drive "file=$image/root,if=virtio,format=raw,cache=unsafe,snapshot=on" "${devices[@]}" \
    -virtfs "local,path=$share,mount_tag=share,security_model=none,multidevs=remap" \
    -nic none -nographic -action "reboot=$on_reboot" < /dev/null > "$share/.guest/console" 2>&1 &
qemu=$!
# Another boot begins the log anew.
tail -q -n +1 -f --pid="$qemu" "$share/.guest/log" 2> "$share/.guest/tail"
ended=0
wait "$qemu" || ended=$?
qemu=
[ "$ended" -ne 124 ] || fail "the guest was stopped after $seconds s; its console: $share/.guest/console
$(tail -n 20 "$share/.guest/console")"
[ -s "$share/.guest/rc" ] || fail "the guest ended without a result; the end of its console:
$(tail -n 20 "$share/.guest/console")"
exit "$(cat "$share/.guest/rc")"
