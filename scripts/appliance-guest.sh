#!/usr/bin/env bash
# An appliance as an operator has it: the packages are installed on a Debian guest with two NVMe and two SATA disks, systemd starts
# everything, the box fills itself and serves; then disks hang and are pulled out under it, the power is cut, and it boots with one disk
# absent and one that hangs; a disk is replaced, the daemon gets stuck; at last the packages are upgraded and removed. Prints a table; fails if any line of it does.
#
#   appliance-guest.sh [PROFILE]     some fifteen minutes, and a build by cargo's profile (default: release); the guest's image is made
#                                    first if there is none (guest.sh)
#
# Behaviour only: speed in this guest means nothing.

. "$(dirname "$0")/common.sh"

# The same program in a later version: other bytes behind its end do not matter to it.
next_package() {
    dpkg-deb -R "$share"/packages/oca-appliance_*.deb "$share/next"
    sed -i 's/^Version: .*/Version: 99.0/' "$share/next/DEBIAN/control"
    echo next >> "$share/next/usr/bin/oca-daemon"
    dpkg-deb -Znone --root-owner-group -b "$share/next" "$share/next.deb" > /dev/null
    rm -r "$share/next"
}

# What Debian's own eyes see. Packages of the profile dev are not compressed.
lint_packages() {
    packages lintian
    lintian --fail-on error,warning --suppress-tags uses-no-compression-for-data-tarball,uses-no-compression-for-control-tarball "$share"/packages/*.deb
}

[ "${1:-}" = inside ] || {
    share=$(mktemp -d "${TMPDIR:-/tmp}/oca-appliance.XXXXXX")
    trap 'rm -rf "$share"' EXIT
    mkdir "$share/scripts"
    cp "$project/scripts/common.sh" "$project/scripts/appliance-guest.sh" "$share/scripts"
    step "packages" "$project/scripts/package.sh" "$share/packages" "${1:-release}"
    step "lintian" lint_packages
    step "the next package" next_package
    step "guest" "$project/scripts/guest.sh" --share "$share" --memory 2048 --seconds 2400 --reboots yes \
        --nvme 512M --nvme 512M --sata 512M --sata 512M scripts/appliance-guest.sh inside
    exit 0
}

# From here on: in the guest. What must outlive a cut of the power lies in /share.
work=/root/appliance
media=/srv/media
objects=(0 1 2 3 4 5 6 7 8 9)

# row NAME COMMAND...: one line of the table. What a command that fails has said comes below it.
row() {
    local begun=$SECONDS
    if "${@:2}" > "$work/said" 2>&1; then
        printf '%-82s ok %5d s\n' "$1" $((SECONDS - begun))
    else
        echo "$1" >> failed
        printf '%-82s FAILED %d s\n' "$1" $((SECONDS - begun))
        { tail -n 20 "$work/said"; journalctl -q -n 12 -u oca-daemon -u oca-fill-agent -u oca-control -o short-precise --no-hostname; } 2> /dev/null | sed 's/^/    /'
    fi
}

# within SECONDS COMMAND...: until it succeeds.
within() {
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -lt $end ] || { say "waited in vain: ${*:2}"; return 1; }
        sleep 0.3
    done
}

installs() {
    dpkg -i packages/oca-appliance_*.deb packages/oca-control_*.deb &&
        ! systemctl -q is-active oca-daemon.service && ! systemctl -q is-enabled oca-daemon.service &&
        getent passwd oca || return 1
    local program
    for program in oca-daemon oca-fill-agent ocactl oca-control; do
        man_page "$program" && [ -s "/usr/share/bash-completion/completions/$program" ] || return 1
    done
}
man_page() { zcat "/usr/share/man/man1/$1.1.gz" | grep -q '^\.TH'; }

# What a bench needs to hang a disk, and to have one absent or hung at boot: one of the SATA disks lies behind the device mapper.
prepares_faults() {
    mkdir -p "$work"
    cat > "$work/disks" <<'END'
#!/bin/bash
udevadm settle
modprobe dm-mod
sata=/dev/disk/by-id/ata-QEMU_HARDDISK_sata2
dmsetup create disk2 --table "0 $(blockdev --getsz $sata) linear $sata 0"
[ ! -e /root/appliance/absent ] || for disk in /sys/class/nvme/nvme*; do
    [ "$(tr -d ' ' < "$disk/serial")" != nvme0 ] || echo 1 > "$disk/device/remove"
done
END
    chmod +x "$work/disks"
    cat > /etc/systemd/system/fault-disks.service <<END
[Unit]
DefaultDependencies=no
After=systemd-udevd.service systemd-udev-trigger.service
Before=local-fs-pre.target
Wants=local-fs-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$work/disks

[Install]
WantedBy=sysinit.target
END
    cat > /etc/systemd/system/fault-hang.service <<END
[Unit]
ConditionPathExists=$work/hung
After=srv-oca-disk2.mount
Before=oca-daemon.service

[Service]
Type=oneshot
ExecStart=dmsetup suspend --noflush --nolockfs disk2

[Install]
WantedBy=multi-user.target
END
    systemctl daemon-reload
    systemctl enable fault-disks.service fault-hang.service
    systemctl start fault-disks.service
}

device_of() {
    case $1 in
        0 | 1) readlink -f /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_nvme"$1" ;;
        2) echo /dev/mapper/disk2 ;;
        3) readlink -f /dev/disk/by-id/ata-QEMU_HARDDISK_sata3 ;;
    esac
}

# A file system for each disk, mounted by name, and never required at boot. What is emulated needs more time to appear than a disk.
mounts() {
    local disk name=LABEL
    for disk in 0 1 2 3; do
        mkfs.ext4 -q -F -L "disk$disk" "$(device_of $disk)" || return 1
        mkdir -p "/srv/oca/disk$disk"
        name=LABEL=disk$disk
        [ $disk -ne 2 ] || name=$(device_of 2)
        echo "$name /srv/oca/disk$disk ext4 noatime,nofail,x-systemd.device-timeout=30s 0 2" >> /etc/fstab
    done
    udevadm settle
    systemctl daemon-reload
    mount -a
    for disk in 0 1 2 3; do { mountpoint "/srv/oca/disk$disk" && chown oca: "/srv/oca/disk$disk"; } || return 1; done
}

starts_control() {
    local at
    mkdir -p "$media"
    for at in "${objects[@]}"; do head -c 4000000 /dev/urandom > "$media/$at.bin"; done
    chmod -R a+rX "$media"
    oca-control keygen /etc/oca || return 1
    chown oca-control: /etc/oca/control-1.key
    oca-control check || return 1
    systemctl enable --now oca-control.service
    systemctl is-active oca-control.service
}

# Half of it goes to the hot tier.
registers() {
    as_control ingest "$media" --prefix /vod &&
        as_control appliance add c001.guest.example --site guest.example --cluster guest --tier hot=20MB --tier capacity=300MB > /etc/oca/token &&
        chown oca: /etc/oca/token && chmod 640 /etc/oca/token
}
as_control() { setpriv --reuid oca-control --regid oca-control --clear-groups oca-control "$@"; }

starts_appliance() {
    local disk
    cat > /etc/oca/oca.toml <<END
[appliance]
id = "c001.guest.example"

[listen]
http = ["0.0.0.0:80", "[::]:80"]
admin = "127.0.0.1:9580"

[workers]
memory = "16 MiB"

[[tier]]
name = "nvme"
role = "hot"
stripe_width = 1
devices = ["/srv/oca/disk0", "/srv/oca/disk1"]

[[tier]]
name = "sata"
role = "capacity"
devices = ["/srv/oca/disk2", "/srv/oca/disk3"]

[steering]
capacity = "1 Gbit/s"

[control]
url = "http://127.0.0.1:9590/"
keys = ["/etc/oca/control-1.pub"]
token_file = "/etc/oca/token"

[fill]
window = "00:00-24:00"
rate = "800 Mbit/s"
manifest_interval = "2 s"
require_synchronised_clock = false
END
    for disk in 0 1 2 3; do as_appliance ocactl device add "/srv/oca/disk$disk" || return 1; done
    as_appliance ocactl check || return 1
    systemctl enable --now oca-daemon.socket oca-daemon.service oca-fill-agent.service
    within 30 ready
}
as_appliance() { setpriv --reuid oca --regid oca --clear-groups "$@"; }
ready() { curl -fs -o /dev/null --max-time 5 http://127.0.0.1:9580/readyz; }

# The manifest is built after the box has reported for the first time.
fills() {
    within 60 reported || return 1
    as_control build || return 1
    within 300 holds_all
}
reported() { ocactl status --json | grep -q '"answered": *[0-9]'; }
holds_all() {
    local at
    for at in "${objects[@]}"; do curl -fs --max-time 5 -o /dev/null -r 0-0 "http://127.0.0.1/vod/$at.bin" || return 1; done
}

whole() { curl -fsS --max-time 60 "http://127.0.0.1/vod/$1.bin" | cmp - "$media/$1.bin"; }
serves() { local at; for at in "${objects[@]}"; do whole "$at" || return 1; done; }

exposed() {
    local unit said
    for unit in oca-daemon oca-fill-agent oca-control; do
        said=$(systemd-analyze security --no-pager "$unit.service")
        awk '$1 == "✗"' <<< "$said"
        tail -n 1 <<< "$said"
        awk -v said="$(tail -n 1 <<< "$said")" 'BEGIN { match(said, /[0-9]+\.[0-9]+/); exit !(substr(said, RSTART, RLENGTH) <= 2.0) }' || return 1
    done
}

# The doctor finds nothing that keeps this box from serving, and what goes to a supporter holds no token.
is_examined() {
    local bundle=$work/bundle.tar
    ocactl doctor || [ $? -eq 1 ] || return 1
    ocactl support-bundle --output "$bundle" && tar -tf "$bundle" && ! tar -xOf "$bundle" | grep -F -f /etc/oca/token
}

# Which paths have a part on a disk, and which have none.
sort_out() {
    local at
    : > "$work/here"
    : > "$work/elsewhere"
    for at in "${objects[@]}"; do
        if ocactl content stat "/vod/$at.bin" | grep -q "/srv/oca/$1"; then echo "$at" >> "$work/here"; else echo "$at" >> "$work/elsewhere"; fi
    done
    say "on $1: $(tr '\n' ' ' < "$work/here"); elsewhere: $(tr '\n' ' ' < "$work/elsewhere")"
    [ -s "$work/here" ] && [ -s "$work/elsewhere" ]
}

# viewers FILE: asks for what lies elsewhere until the file is gone; every answer that is not whole is noted.
viewers() {
    local at
    while [ -e "$1" ]; do
        while read -r at; do
            whole "$at" >> "$1.errors" 2>&1 || echo "$at" >> "$1.errors"
            echo . >> "$1.asked"
        done < "$work/elsewhere"
    done
}
# Its exit code says whether all are well.
says_of() { { ocactl device ls || true; } | grep -E "/srv/oca/$1 .*($2)|^$1 .*($2)"; }

# beside DISK COMMAND...: what the command does to the disk is said within 30 s, and viewers of the others see nothing of it.
beside() {
    local disk=$1 watching result=0
    sort_out "$disk" || return 1
    rm -f "$work/watch"*
    : > "$work/watch"
    viewers "$work/watch" &
    watching=$!
    within 30 test -s "$work/watch.asked" && "${@:2}" && within 30 asked_and_said "$disk" || result=1
    local before
    before=$(wc -l < "$work/watch.asked")
    within 60 more_than "$before" || result=1
    rm "$work/watch"
    wait "$watching"
    say "$(wc -l < "$work/watch.asked") answers beside it"
    cat "$work/watch.errors"
    [ $result -eq 0 ] && [ ! -s "$work/watch.errors" ]
}
more_than() { [ "$(wc -l < "$work/watch.asked")" -gt $(($1 + 4)) ]; }
# Somebody wants what lies there, as on any evening.
asked_and_said() {
    curl -s --max-time 1 -o /dev/null "http://127.0.0.1/vod/$(head -n 1 "$work/here").bin" &
    says_of "$1" 'failed|suspect|missing'
}

hang() { dmsetup suspend --noflush --nolockfs disk2; }
resumes() { dmsetup resume disk2 && { within 120 says_of disk2 'ok' || { ocactl device ls; false; }; } && serves; }

# ends_beside COMMAND...: each ends beside a disk that hangs, and so does what reads from it; the agent is restarted in less than a minute.
ends_beside() {
    local command begun
    for command in "$@"; do
        begun=$SECONDS
        rm -f "$work/ended"
        { $command | cat > "$work/answer"; echo "${PIPESTATUS[0]}" > "$work/ended"; } &
        within 120 test -s "$work/ended" || { say "does not end: $command"; return 1; }
        say "$command: $(cat "$work/ended") after $((SECONDS - begun)) s"
    done
    begun=$SECONDS
    systemctl restart oca-fill-agent.service || { journalctl -q -u oca-fill-agent -o cat -n 40 _COMM=oca-fill-agent; return 1; }
    say "the agent's restart: $((SECONDS - begun)) s"
    [ $((SECONDS - begun)) -lt 60 ]
}
# One that hangs in the disk ends only for the watchdog, which waits two minutes; then comes what a restart takes.
agent_is_killed() {
    local before
    before=$(main_pid oca-fill-agent)
    kill -KILL "$before"
    within 240 is_another_than "$before" oca-fill-agent && within 30 ocactl fill status
}
# As if somebody had pulled it out.
pull_out() {
    local disk
    for disk in /sys/class/nvme/nvme*; do
        [ "$(tr -d ' ' < "$disk/serial")" != nvme0 ] || echo 1 > "$disk/device/remove"
    done
    [ ! -e /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_nvme0 ]
}

# What lay there is said to be away, or comes from a copy; nobody waits for it.
is_away() {
    local at status
    while read -r at; do
        status=$(curl -s --max-time 20 -o "$work/body" -w '%{http_code}' "http://127.0.0.1/vod/$at.bin")
        say "$at: $status"
        [ "$status" = 503 ] || [ "$status" = 404 ] || cmp "$work/body" "$media/$at.bin" || return 1
    done < "$work/here"
}
restarts() {
    local begun=$SECONDS
    systemctl restart oca-daemon.service && within 15 ready
    local result=$?
    say "after $((SECONDS - begun)) s"
    [ $result -eq 0 ] && [ $((SECONDS - begun)) -le 15 ] && serves_elsewhere
}
serves_elsewhere() { local at; while read -r at; do whole "$at" || return 1; done < "$work/elsewhere"; }

# systemd has unmounted what went away while it ran.
put_back() {
    ! mountpoint -q /srv/oca/disk0 || umount -l /srv/oca/disk0
    echo 1 > /sys/bus/pci/rescan
    within 30 test -e /dev/disk/by-id/nvme-QEMU_NVMe_Ctrl_nvme0 || return 1
    udevadm settle
    mountpoint -q /srv/oca/disk0 || mount /srv/oca/disk0 || return 1
    within 120 says_of disk0 'ok' && within 30 serves
}

# The next boot is without the first NVMe, and with a disk that hangs once it is mounted.
cuts_the_power() {
    sort_out 'disk[02]' || return 1
    touch "$work/absent" "$work/hung"
    sync -f "$work"
    viewers "$work/watch" &
    say "cut at $SECONDS s"
}

# In microseconds since the kernel's start.
boots() {
    local since
    within 90 ready || return 1
    since=$(systemctl show -p ActiveEnterTimestampMonotonic --value oca-daemon.service)
    say "active $((since / 1000000)) s after the kernel began"
    [ $((since / 1000000)) -le 90 ] && serves_elsewhere && says_of disk0 'missing' && within 60 asked_and_said disk2
}

# A new disk in the place of one that is gone for good, while the daemon runs in its sandbox: what lay there is fetched again.
replaces() {
    sort_out disk3 || return 1
    as_appliance ocactl device offline /srv/oca/disk3 && within 30 umount /srv/oca/disk3 &&
        mkfs.ext4 -q -F -L disk3 "$(device_of 3)" && mount /srv/oca/disk3 && chown oca: /srv/oca/disk3 &&
        as_appliance ocactl device replace /srv/oca/disk3 &&
        within 120 says_of disk3 'ok' && within 120 serves && [ -n "$(find /srv/oca/disk3/objects -type f)" ]
}

# As a daemon that does nothing any more, its watcher included.
is_stuck() {
    local before
    before=$(main_pid)
    kill -STOP "$(pgrep -n -x oca-daemon)"
    within 60 is_another_than "$before" && within 30 ready && serves && journalctl -q -u oca-daemon | grep 'Watchdog timeout'
}
# is_another_than PID [UNIT]
is_another_than() { [ "$(main_pid "${2:-oca-daemon}")" != "$1" ] && [ "$(main_pid "${2:-oca-daemon}")" != 0 ]; }
main_pid() { systemctl show -p MainPID --value "${1:-oca-daemon}.service"; }
upgrades() {
    local before
    before=$(main_pid)
    cp /usr/bin/oca-daemon "$work/before"
    echo '# mine' >> /etc/oca/oca.toml
    dpkg -i next.deb || return 1
    [ "$(main_pid)" = "$before" ] && grep -q '# mine' /etc/oca/oca.toml && ready && serves &&
        ! cmp -s /usr/bin/oca-daemon "$work/before" && cmp /usr/lib/oca/previous/oca-daemon "$work/before"
}

# With TLS from now on: what a reload does not follow is taken live in the same way.
goes_live() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=media.example -addext subjectAltName=DNS:media.example \
        -keyout "$work/media.key" -out "$work/media.pem"
    install -d -m 750 -g oca /etc/oca/tls
    install -m 640 -g oca "$work"/media.* /etc/oca/tls
    sed -i 's/^http = .*/&\nhttps = ["0.0.0.0:443"]/' /etc/oca/oca.toml
    printf '\n[tls]\ncertificates = [{ cert = "/etc/oca/tls/media.pem", key = "/etc/oca/tls/media.key" }]\n' >> /etc/oca/oca.toml
    ocactl upgrade && serves_program /usr/bin/oca-daemon && over_tls -o /dev/null -r 0-0 https://media.example/vod/0.bin
}
over_tls() { curl -fsS --max-time 120 --cacert "$work/media.pem" --resolve media.example:443:127.0.0.1 "$@"; }
serves_program() { [ "$(readlink "/proc/$(pgrep -n -x oca-daemon)/exe")" = "$1" ]; }

# What a viewer draws slowly over TLS when the daemon before takes over again arrives whole, and others are served all the while.
rolls_back() {
    local before watching slow rolled=0
    before=$(main_pid)
    printf '%s\n' "${objects[@]}" > "$work/elsewhere"
    rm -f "$work/watch"*
    : > "$work/watch"
    viewers "$work/watch" &
    watching=$!
    over_tls --limit-rate 200k -o "$work/slow" https://media.example/vod/1.bin &
    slow=$!
    { within 30 test -s "$work/slow" && within 30 test -s "$work/watch.asked" && ocactl upgrade --rollback && kill -0 $slow; } || rolled=1
    rm "$work/watch"
    wait $watching
    cat "$work/watch.errors"
    wait $slow && cmp "$work/slow" "$media/1.bin" && [ $rolled -eq 0 ] && [ ! -s "$work/watch.errors" ] || return 1
    [ "$(main_pid)" = "$before" ] && serves_program /usr/lib/oca/previous/oca-daemon && over_tls https://media.example/vod/2.bin | cmp - "$media/2.bin"
}
removes() {
    dpkg -r oca-appliance
    ! pgrep -x oca-daemon && [ -d /srv/oca/disk1/objects ] && [ -e /etc/oca/oca.toml ] && [ -d /var/lib/oca/catalog ] && [ ! -e /usr/lib/oca ]
}
purges() {
    dpkg -P oca-appliance | tee "$work/purge"
    grep -q 'kept /var/lib/oca' "$work/purge" && [ ! -e /etc/oca/oca.toml ] && [ -d /srv/oca/disk1/objects ]
}

mkdir -p "$work"
if [ ! -e rebooted ]; then
    say "kernel $(uname -r)"
    row "packages are installed; nothing starts by itself" installs
    row "two NVMe and two SATA disks" prepares_faults
    row "their file systems" mounts
    row "control endpoint, by systemd" starts_control
    row "content and appliance registered" registers
    row "appliance, by systemd: ready" starts_appliance
    row "fills itself" fills
    row "serves what it was filled with" serves
    row "systemd-analyze security: at most 2.0" exposed
    row "ocactl doctor, ocactl support-bundle" is_examined
    row "a disk hangs: shown within 30 s, nobody else sees an error" beside disk2 hang
    row "what lies on it is said to be away, or comes from a copy" is_away
    row "restarts beside it within 15 s" restarts
    row "whatever looks at it ends; the agent restarts within a minute" ends_beside "ocactl device ls" "ocactl check" "ocactl doctor" \
        "ocactl content stat /vod/0.bin" "ocactl content verify" "ocactl catalog check" "ocactl support-bundle --output $work/beside.tar" \
        "as_appliance oca-daemon check" "as_appliance oca-fill-agent check"
    row "an agent that is killed there is followed by another" agent_is_killed
    row "it goes on, and is taken back" resumes
    row "an NVMe is pulled out: shown within 30 s, nobody else sees an error" beside disk0 pull_out
    row "what lay on it is said to be away, or comes from a copy" is_away
    row "restarts beside it within 15 s" restarts
    row "it is put back, and taken back without a restart" put_back
    row "before the power is cut" cuts_the_power
    touch rebooted
    echo b > /proc/sysrq-trigger
    sleep 60
    fail "the kernel did not reboot"
fi
row "boots with a disk absent and one that hangs: serves within 90 s" boots
rm -f "$work/absent" "$work/hung"
row "whatever looks at the hung one ends; the agent restarts within a minute" ends_beside "ocactl device ls" "ocactl doctor"
row "the hung one goes on" resumes
row "the absent one is put back" put_back
row "a new disk takes the place of another under the running daemon" replaces
row "a daemon that is stuck: systemd's watchdog starts another" is_stuck
row "a new package restarts nothing, keeps configuration, content, and the program before" upgrades
row "ocactl upgrade: the new program serves, and TLS as well" goes_live
row "ocactl upgrade --rollback under viewers, one of them on TLS: nobody notices" rolls_back
row "removal keeps content and configuration" removes
row "purge says what it keeps" purges
[ ! -s failed ] || fail "$(wc -l < failed) FAILED"
say "ALL HELD"
