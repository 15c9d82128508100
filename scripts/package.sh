#!/usr/bin/env bash
# Makes the Debian packages oca-appliance and oca-control, of the files as they are here.
#
#   package.sh [FOLDER]     where they go (default: the build folder's packages/)
#
# Installs debhelper if it is missing. A first release build takes a while.

. "$(dirname "$0")/common.sh"

folder=$(mkdir -p "${1:-$target/packages}" && cd "${1:-$target/packages}" && pwd)
packages debhelper dpkg-dev

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# dpkg-buildpackage leaves what it makes in and beside the source.
copy() { (cd "$project" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$scratch/oca"); }
build() { (cd "$project" && cargo build -q --locked --release --workspace --bins); }
pack() {
    mkdir "$scratch/oca"
    copy
    (cd "$scratch/oca" && PROGRAMS=$target/release dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes --no-check-builddeps) \
        > "$scratch/log" 2>&1 || { tail -n 40 "$scratch/log"; return 1; }
    mv "$scratch"/oca-{appliance,control}_*.deb "$folder"
}
step "programs" build
step "packages" pack
for package in "$folder"/*.deb; do say "$package"; done
