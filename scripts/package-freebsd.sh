#!/usr/bin/env bash
# Makes the FreeBSD packages oca-appliance and oca-control, of the files as they are here: for each a staging tree, the metadata and the list
# of files that pkg-create(8) wants. On FreeBSD it makes the packages of them; on Linux the programs are compiled across, and it says how
# to go on there.
#
#   package-freebsd.sh [FOLDER [PROFILE]]     where they go (default: the build folder's freebsd-packages/); cargo's profile (default: release)
#
# PROGRAMS=FOLDER: programs for this system that are built already, which write the man pages and completions.

. "$(dirname "$0")/freebsd.sh"

folder=$(mkdir -p "${1:-$target/freebsd-packages}" && cd "${1:-$target/freebsd-packages}" && pwd)
profile=${2:-release}
profile_folder=$profile
[ "$profile" != dev ] || profile_folder=debug
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$project/Cargo.toml")
bins=(--bin oca-daemon --bin oca-fill-agent --bin ocactl --bin oca-control)
is_native=no
[ "$(uname -s)" != FreeBSD ] || is_native=yes

build() {
    if [ "$is_native" = yes ]; then
        (cd "$project" && cargo build -q --locked --profile "$profile" "${bins[@]}")
        programs=$target/$profile_folder
        writers=$programs
        return
    fi
    for_freebsd build -q --profile "$profile" "${bins[@]}"
    programs=$freebsd_target/$triple/$profile_folder
    writers=${PROGRAMS:-$target/debug}
    [ -n "${PROGRAMS:-}" ] || (cd "$project" && cargo build -q --locked "${bins[@]}")
}

# What the files of this project say of Linux's places (protocol/src/paths.rs) and commands, said of FreeBSD's. man pages have `\-` for `-`.
for_its_places() {
    sed -E -e 's#^\# Linux: .*FreeBSD: #\# #; s# +\# FreeBSD: /.*##; s#Default: [^ ]+, on FreeBSD #Default: #' \
        -e 's#(^|[^a-z])/etc/oca#\1/usr/local/etc/oca#g; s#(^|[^a-z])/var/lib/oca#\1/var/db/oca#g; s#(^|[^a-z])/run/oca#\1/var/run/oca#g' \
        -e 's#/usr/lib/oca#/usr/local/lib/oca#g; s#apt install \./oca\\?-appliance_([0-9.]+)_amd64\.deb#pkg add oca-appliance-\1.pkg#' \
        -e 's#systemctl reload oca\\?-daemon#service oca_daemon reload#' "$@"
}

# put MODE TARGET SOURCE: into the staging tree.
put() { install -d "$(dirname "$root/$2")" && install -m "$1" "$3" "$root/$2"; }

# stage PACKAGE CONFIGURATION PROGRAM...: its programs, which come from the workspace's `members`.
stage() {
    local package=$1 config=$2 program page
    shift 2
    root=$folder/$package/root/usr/local
    rm -rf "${folder:?}/$package"
    for program in "$@"; do
        put 755 "bin/$program" "$programs/$program"
        [ "$is_native" = yes ] || is_for_freebsd "$programs/$program" || fail "$programs/$program is not a program for FreeBSD"
        mkdir "$scratch/$program"
        "$writers/$program" generate man "$scratch/$program"
        for page in "$scratch/$program"/*.1; do
            for_its_places "$page" | gzip -n9 > "$scratch/page"
            put 644 "share/man/man1/${page##*/}.gz" "$scratch/page"
        done
        completions "$program" bash "share/bash-completion/completions/$program"
        completions "$program" zsh "share/zsh/site-functions/_$program"
        completions "$program" fish "share/fish/vendor_completions.d/$program.fish"
    done
    for_its_places "$project/docs/man/$config.5" | gzip -n9 > "$scratch/page"
    put 644 "share/man/man5/$config.5.gz" "$scratch/page"
    for_its_places "$project/docs/examples/$config" > "$scratch/config"
    put 644 "etc/oca/$config.sample" "$scratch/config"
    for page in LICENSE-APACHE LICENSE-MIT; do put 644 "share/licenses/$package-$version/$page" "$project/$page"; done
    (cd "$project" && debian/third-party.sh "${members[@]}") > "$scratch/licences"
    put 644 "share/licenses/$package-$version/third-party" "$scratch/licences"
}
completions() {
    "$writers/$1" generate completions "$2" | for_its_places > "$scratch/script"
    put 644 "$3" "$scratch/script"
}

stage_appliance() {
    local name members=(oca-daemon fill-agent ocactl)
    stage oca-appliance oca.toml oca-daemon oca-fill-agent ocactl
    for name in oca_daemon oca_fill_agent; do put 755 "etc/rc.d/$name" "$project/rc.d/$name"; done
    put 644 etc/newsyslog.conf.d/oca.conf "$project/freebsd/newsyslog.conf"
    put 644 etc/cron.d/oca-smart "$project/freebsd/oca-smart.cron"
    put 755 libexec/oca-smart "$project/libexec/oca-smart"
    describe oca-appliance oca.toml oca "oca_fill_agent oca_daemon" /var/db/oca /var/log/oca
}
stage_control() {
    local members=(control-endpoint)
    stage oca-control oca-control.toml oca-control
    put 755 etc/rc.d/oca_control "$project/rc.d/oca_control"
    describe oca-control oca-control.toml oca-control oca_control /var/db/oca-control
}

# describe PACKAGE CONFIGURATION USER SERVICES STATE_FOLDER...: its metadata, and the list of its files. What it is stands in debian/control.
describe() {
    local package=$1 at=$folder/$1/metadata script name words
    mkdir "$at"
    words=$(awk -v RS= -v package="$package" '$0 ~ "^Package: " package "\n"' "$project/debian/control" | sed '1,/^Description: /{/^Description: /!d;s///;}')
    jq --arg version "$version" --arg comment "$(head -n 1 <<< "$words")" --arg desc "$(tail -n +2 <<< "$words" | sed -E 's/^ \.?//')" --arg is_native "$is_native" \
        '. + {$version, $comment, $desc} + if $is_native == "yes" then {} else {abi: "FreeBSD:14:amd64", arch: "freebsd:14:x86:64"} end' \
        "$project/freebsd/$package.json" > "$at/+MANIFEST"
    for script in pre-install post-install pre-deinstall; do
        name=${script^^}
        { printf 'config=%s\nuser=%s\nservices="%s"\n' "$2" "$3" "$4"; cat "$project/freebsd/$script.sh"; } > "$at/+${name//-/_}"
    done
    (cd "$root" && find . -type f | sed 's#^\./##' | sort) > "$folder/$package/plist"
    for name in "${@:5}"; do
        mkdir -p "$folder/$package/root$name"
        printf '@dir(%s,%s,0750) %s\n' "$3" "$3" "$name" >> "$folder/$package/plist"
    done
}

# What pkg_create of libpkg refuses to do without, and that the scripts are ones.
verify() {
    local package
    for package in oca-appliance oca-control; do
        jq -e '[.name, .origin, .version, .comment, .desc, .maintainer, .www, .prefix] | all(type == "string" and . != "")' "$folder/$package/metadata/+MANIFEST" > "$scratch/valid"
        for script in "$folder/$package/metadata"/+P* "$folder/$package/root/usr/local/etc/rc.d"/*; do sh -n "$script"; done
    done
}

create() {
    local package command
    for package in oca-appliance oca-control; do
        command=(pkg create -o "$folder" -m "$folder/$package/metadata" -p "$folder/$package/plist" -r "$folder/$package/root")
        if [ "$is_native" = yes ]; then
            "${command[@]}"
            say "$folder/$package-$version.pkg"
        else
            say "on FreeBSD, in this folder: ${command[*]//$folder/.}"
        fi
    done
}

[ "$is_native" = yes ] || packages file jq
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
step "programs" build
step "oca-appliance" stage_appliance
step "oca-control" stage_control
step "metadata" verify
create
