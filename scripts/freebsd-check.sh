#!/usr/bin/env bash
# For x86_64-unknown-freebsd, on Linux: links all programs, type-checks the rest of the workspace, tests included, and compares what
# `platform` declares by hand of FreeBSD's headers with the headers themselves, which zig carries.
# No FreeBSD kernel runs here: this shows that the code type-checks and links, not that it works there (scripts/freebsd-smoke.sh).

. "$(dirname "$0")/freebsd.sh"

[ $# -eq 0 ] || fail "usage: $0"

for_freebsd build --bins
"$wrappers/cc" -c -o "$freebsd_target/headers.o" -Wall -Werror "$project/platform/freebsd-headers.c"
say "what is declared by hand is as in the headers of ${zig_target#*-}"
for program in "$freebsd_target/$triple"/debug/*; do
    if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
    is_for_freebsd "$program" || fail "$program is not a program for FreeBSD"
    say "linked for FreeBSD: ${program##*/}"
done
for_freebsd check --all-targets
