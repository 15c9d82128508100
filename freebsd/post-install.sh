# shellcheck shell=sh disable=SC2154 # scripts/package-freebsd.sh puts $config before it
# The operator's copy of the configuration; one that is there stays.
at=${PKG_ROOTDIR%/}/usr/local/etc/oca/$config
[ -e "$at" ] || cp -p "$at.sample" "$at"
