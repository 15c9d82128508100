# shellcheck shell=sh disable=SC2154 # scripts/package-freebsd.sh puts $user before it
# The user that the programs run as; pw(8) gives it the next free number.
set -- pw ${PKG_ROOTDIR:+-R "$PKG_ROOTDIR"}
"$@" groupshow "$user" > /dev/null 2>&1 || "$@" groupadd "$user"
"$@" usershow "$user" > /dev/null 2>&1 ||
    "$@" useradd "$user" -g "$user" -c "Open cache appliance" -d "/var/db/$user" -s /usr/sbin/nologin
