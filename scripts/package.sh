#!/usr/bin/env bash
# Makes the Debian packages oca-appliance and oca-control, of the files as they are here.
#
#   package.sh [FOLDER [PROFILE]]     where they go (default: the build folder's packages/); cargo's profile (default: release)
#
# Installs debhelper if it is missing. A first release build takes a while; programs of the profile `dev` are slow, and for trying the
# packages only.

. "$(dirname "$0")/common.sh"

folder=$(mkdir -p "${1:-$target/packages}" && cd "${1:-$target/packages}" && pwd)
profile=${2:-release}
programs=$target/$profile
[ "$profile" != dev ] || { programs=$target/debug; export DEB_BUILD_OPTIONS=noautodbgsym DPKG_DEB_COMPRESSOR_TYPE=none; }
packages debhelper dpkg-dev

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# dpkg-buildpackage leaves what it makes in and beside the source.
copy() { (cd "$project" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$scratch/oca"); }
build() { (cd "$project" && cargo build -q --locked --profile "$profile" --bin oca-daemon --bin oca-fill-agent --bin ocactl --bin oca-control); }
pack() {
    mkdir "$scratch/oca"
    copy
    (cd "$scratch/oca" && PROGRAMS=$programs dpkg-buildpackage --build=binary --unsigned-source --unsigned-changes --no-check-builddeps) \
        > "$scratch/log" 2>&1 || { tail -n 40 "$scratch/log"; return 1; }
    mv "$scratch"/oca-{appliance,control}_*.deb "$folder"
}
step "programs" build
step "packages" pack
for package in "$folder"/*.deb; do say "$package"; done
