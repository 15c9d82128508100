# shellcheck shell=sh disable=SC2154 # scripts/package-freebsd.sh puts $services and $config before it
# An upgrade leaves what runs; a removal ends it, and takes the program before it away. A configuration that nobody changed goes.
if [ -z "$PKG_UPGRADE" ] && [ "${PKG_ROOTDIR:-/}" = / ]; then
    for service in $services; do
        if service "$service" onestatus > /dev/null 2>&1; then service "$service" onestop; fi
    done
fi
case "$PKG_UPGRADE $services" in
    " "*oca_daemon*) rm -rf "${PKG_ROOTDIR%/}/usr/local/lib/oca" ;;
esac
at=${PKG_ROOTDIR%/}/usr/local/etc/oca/$config
if cmp -s "$at.sample" "$at"; then rm -f "$at"; fi
