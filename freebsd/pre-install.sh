# shellcheck shell=sh disable=SC2154 # scripts/package-freebsd.sh puts $user and $services before it
# The user that the programs run as; pw(8) gives it the next free number.
set -- pw ${PKG_ROOTDIR:+-R "$PKG_ROOTDIR"}
"$@" groupshow "$user" > /dev/null 2>&1 || "$@" groupadd "$user"
"$@" usershow "$user" > /dev/null 2>&1 ||
    "$@" useradd "$user" -g "$user" -c "Open cache appliance" -d "/var/db/$user" -s /usr/sbin/nologin

# The program that is replaced is kept for `ocactl upgrade --rollback`.
at=${PKG_ROOTDIR%/}/usr/local
case $services in
    *oca_daemon*) [ ! -x "$at/bin/oca-daemon" ] || { mkdir -p "$at/lib/oca/previous" && cp -p "$at/bin/oca-daemon" "$at/lib/oca/previous"; } ;;
esac
