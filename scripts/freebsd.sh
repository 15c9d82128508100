# shellcheck shell=bash disable=SC2034
# Compiling for FreeBSD on Linux; to be sourced.
#
# The standard library for that target is compiled from Debian's sources (rust-web-src) with Debian's compiler (rustc-web): compiler and
# sources must be of one version. C code in dependencies (LMDB, BLAKE3) goes through zig, which carries FreeBSD's headers and libc.

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

triple=x86_64-unknown-freebsd
zig_target=x86_64-freebsd.14.0-none
wrappers=$tools/freebsd
zig=$tools/ziglang/ziglang/zig
# A folder of its own: another compiler and other flags, which would otherwise push the everyday build out.
freebsd_target=$target/freebsd

# wrapper NAME COMMAND: a compiler as cc-rs and rustc expect it. Their --target and -m64 mean nothing to zig, which gets its own;
# Rust's libc crate names four libraries of which nothing here uses a symbol, and which zig does not carry.
wrapper() {
    cat > "$wrappers/$1.new" <<END
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do
    case \$argument in
        --target=*|-m64|-lkvm|-lmemstat|-lprocstat|-ldevstat) ;;
        *) arguments+=("\$argument") ;;
    esac
done
exec '$zig' $2 -target $zig_target "\${arguments[@]}"
END
    chmod +x "$wrappers/$1.new"
    mv "$wrappers/$1.new" "$wrappers/$1"
}

# for_freebsd COMMAND [ARGUMENT...]: cargo's, of the whole workspace.
for_freebsd() {
    local part command=$1
    shift
    [ -x "$zig" ] || fail "no zig in $tools: run scripts/setup.sh"
    for part in /usr/bin/rustc /usr/bin/cargo /usr/lib/rustlib/src/rust/library; do
        [ -e "$part" ] || fail "no $part (Debian's rustc-web, cargo-web, rust-web-src): run scripts/setup.sh"
    done
    mkdir -p "$wrappers"
    wrapper cc cc
    wrapper c++ c++
    printf "#!/bin/sh\nexec '%s' ar \"\$@\"\n" "$zig" > "$wrappers/ar"
    chmod +x "$wrappers/ar"
    (
        cd "$project"
        export CC_x86_64_unknown_freebsd=$wrappers/cc CXX_x86_64_unknown_freebsd=$wrappers/c++ AR_x86_64_unknown_freebsd=$wrappers/ar
        export CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER=$wrappers/cc
        export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$freebsd_target
        /usr/bin/cargo "$command" --locked --workspace --target "$triple" -Z build-std=std,panic_abort "$@"
    )
}

# is_for_freebsd FILE
is_for_freebsd() { file -b "$1" | grep -q 'ELF.*FreeBSD'; }
