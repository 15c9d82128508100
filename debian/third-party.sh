#!/usr/bin/env bash
# The libraries that go into the named workspace members, each with its licence; every text once, as its authors ship it.
#
#   third-party.sh MEMBER...

set -euo pipefail

declare -A first=()
members=("${@/#/-p}")
cargo tree -q --locked --edges normal --prefix none --format '{p}|{l}' "${members[@]}" | grep -v -e ' (/' -e '^$' | sed 's/ (\*)$//' | sort -u |
    while IFS='|' read -r package licence; do
        name=${package%% *} version=${package##* v}
        version=${version%% *}
        printf '\n%s %s: %s\n' "$name" "$version" "$licence"
        for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$name-$version"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE}*; do
            [ -f "$file" ] || continue
            sum=$(sha256sum < "$file")
            if [ -n "${first[$sum]:-}" ]; then
                printf '    %s: as of %s\n' "${file##*/}" "${first[$sum]}"
            else
                first[$sum]="$name $version"
                printf '    %s:\n\n' "${file##*/}"
                sed 's/^/        /' "$file"
            fi
        done
    done
