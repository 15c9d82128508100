#!/usr/bin/env bash
# Installs what building, testing and measuring need on Debian 12 or later. Safe to run again: quick when all is there.
#
#   setup.sh          everything
#   setup.sh build    only what a release build needs: a C compiler and Rust
#
# Needs root (or sudo without a password) only where a package is missing. Rust: the cargo that is there, else rustup's, else Debian's.

. "$(dirname "$0")/common.sh"

rust_least=1.94
deny_version=0.20.2
zig_version=0.16.0

# at_least VERSION WANTED
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# Is there a cargo whose compiler is new enough?
rust_found() {
    local version
    version=$(rustc --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    have cargo && at_least "$version" "$rust_least"
}

install_rust() {
    rust_found && return 0
    packages ca-certificates curl
    local installer
    installer=$(mktemp)
    if curl --proto '=https' -fsS --connect-timeout 10 --retry 2 -o "$installer" \
        "https://static.rust-lang.org/rustup/dist/$(uname -m)-unknown-linux-gnu/rustup-init"; then
        chmod +x "$installer"
        "$installer" -y -q --no-modify-path --profile minimal -c rustfmt -c clippy || say "rustup failed; trying Debian's Rust"
    fi
    rm -f "$installer"
    rust_found || packages rustc-web cargo-web
    rust_found || fail "no Rust $rust_least or later: neither rustup (static.rust-lang.org) nor Debian's rustc-web could be installed"
}

install_zig() {
    [ "$("$tools/ziglang/ziglang/zig" version 2>/dev/null)" = "$zig_version" ] && return 0
    say "installing zig $zig_version from PyPI into $tools"
    rm -rf "$tools/ziglang"
    mkdir -p "$tools"
    python3 -m pip install -q --disable-pip-version-check --no-warn-conflicts --target "$tools/ziglang" "ziglang==$zig_version"
}

# Compiled with little optimisation: it runs for a second, and would take three times as long to build otherwise.
install_deny() {
    have cargo-deny && return 0
    say "compiling cargo-deny $deny_version (some minutes, once)"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_TARGET_DIR=$target/cargo-deny \
        cargo install -q --locked --debug "cargo-deny@$deny_version"
    rm -rf "$target/cargo-deny"
}

packages ca-certificates gcc libc6-dev
step "Rust" install_rust
[ "${1:-}" = build ] && exit 0

packages aria2 bird2 bsdutils curl exabgp ffmpeg file frr g++ gobgpd groff-base iproute2 lighttpd lighttpd-mod-openssl man-db nginx-light openssl prometheus python3-pip shellcheck socat strace systemd util-linux \
    rustc-web cargo-web rust-web-src
step "zig" install_zig
step "cargo-deny" install_deny
