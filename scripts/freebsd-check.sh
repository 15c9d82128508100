#!/usr/bin/env bash
# Type-checks the whole workspace, tests included, for x86_64-unknown-freebsd on Linux; with --link it links the programs as well.
# What `platform` declares by hand of FreeBSD's headers is compared with the headers themselves, which zig carries.
# No FreeBSD kernel runs here: this shows that the code type-checks and links, not that it works there (scripts/freebsd-smoke.sh).

. "$(dirname "$0")/freebsd.sh"

case "${1:-}" in
    '') link=no ;;
    --link) link=yes ;;
    *) fail "usage: $0 [--link]" ;;
esac

for_freebsd check --all-targets
"$wrappers/cc" -c -o /dev/null -Wall -Werror "$project/platform/freebsd-headers.c"
say "what is declared by hand is as in the headers of ${zig_target#*-}"
if [ "$link" = yes ]; then
    for_freebsd build --bins
    for program in "$freebsd_target/$triple"/debug/*; do
        if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
        is_for_freebsd "$program" || fail "$program is not a program for FreeBSD"
        say "linked for FreeBSD: ${program##*/}"
    done
fi
