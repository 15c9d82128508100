# shellcheck shell=bash disable=SC2034
# What the scripts share; to be sourced. Needs nothing but bash and coreutils.

set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Tools that no Debian package holds (the C compiler for FreeBSD) are kept here, outside the build folder, so that `cargo clean` keeps them.
tools=${OCA_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/oca-tools}
target=${CARGO_TARGET_DIR:-$project/target}
# A toolchain that rustup has just put there is found without a new shell; Debian's comes after it.
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "${0##*/}: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# step NAME COMMAND...: runs it, says how long it took. The first command in it that fails ends the script, with the step's name:
# so it must not stand in an `if` or before `||`, where bash would go on after a failure.
step() {
    local begun=$SECONDS
    step_name=$1
    shift
    printf '== %s\n' "$step_name"
    "$@"
    printf '== %s: ok, %d s\n' "$step_name" $((SECONDS - begun))
    step_name=
}
step_name=
set -o errtrace
trap '[ $BASH_SUBSHELL -ne 0 ] || [ -z "$step_name" ] || printf "%s: step \"%s\" failed\n" "${0##*/}" "$step_name" >&2' ERR

# as_root COMMAND...: directly, or through sudo without asking for a password.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        fail "needs root for: $*
Run that once as root, then this script again as any user."
    fi
}

# packages NAME...: installs the Debian packages of the list that are not there yet.
packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || fail "these packages are missing, and there is no apt-get to install them: ${missing[*]}"
    say "installing: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}
