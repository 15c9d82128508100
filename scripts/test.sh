#!/usr/bin/env bash
# Everything that must hold before a change lands, in the order of its price. The last line says that all of it passed.

. "$(dirname "$0")/common.sh"
cd "$project"
begun=$SECONDS

lint_scripts() {
    local scripts=(scripts/*.sh .ci/run debian/*.sh debian/*.{postinst,prerm,postrm}) script
    shellcheck "${scripts[@]}" freebsd/*.sh libexec/*
    for script in rc.d/*; do
        [ -f "$script" ] || continue
        sh -n "$script"
        # rc.subr reads the variables that an rc.d script sets, and FreeBSD's sh has `local`.
        shellcheck -s sh -e SC1091,SC2034,SC3043 "$script"
    done
}

# The programs that the units start are not installed here: /bin/true stands in for them in a copy.
verify_units() {
    local copy said
    copy=$(mktemp -d)
    cp systemd/*.service systemd/*.socket systemd/*.timer systemd/*.target "$copy" 2>/dev/null || true
    [ -n "$(ls -A "$copy")" ] || { say "no units to look at"; rmdir "$copy"; return 0; }
    sed -i -E 's#^(Exec[A-Za-z]*=[-@:+!]*)/[^ ]+#\1/bin/true#' "$copy"/*
    said=$(systemd-analyze verify --man=no "$copy"/* 2>&1) || true
    rm -rf "$copy"
    # Words about other units of this machine are not ours.
    said=$(printf '%s' "$said" | grep -F -e "$copy" -e oca || true)
    [ -z "$said" ] || { say "$said"; return 1; }
}

# What a unit that was taken over could reach, by systemd's own measure; 20 is its 2.0.
verify_exposure() {
    local said
    said=$(systemd-analyze security --no-pager --offline=yes --threshold=20 systemd/*.service) || { say "$said"; return 1; }
}

# The users of the packages can be made.
verify_users() {
    local root
    root=$(mktemp -d)
    mkdir "$root/etc"
    systemd-sysusers --root="$root" "$project"/systemd/*.sysusers 2> "$root/said" || { cat "$root/said"; rm -rf "$root"; return 1; }
    rm -rf "$root"
}

# The rules are right, fire and clear; what they and the dashboard name is a name in the code (scripts/observe.sh asks the programs).
prometheus_rules() {
    local folder=docs/examples/prometheus name
    promtool check config "$folder/prometheus.yml"
    promtool test rules "$folder/oca.rules.test.yml"
    grep -ohE '\boca_[a-z0-9_]+' "$folder/oca.rules.yml" "$folder/grafana-dashboard.json" | sort -u | sed -E 's/_bucket$//' | while read -r name; do
        grep -rqF "\"$name\"" --include='*.rs' oca-daemon/src fill-agent/src control-endpoint/src || { say "no metric is called $name"; return 1; }
    done
}

# Advisories need RustSec's database from the network; without it that part is left out, and said so.
deny() {
    cargo deny --log-level error check bans licenses sources
    if timeout 10 git ls-remote -q https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then
        cargo deny --log-level error check advisories
    else
        say "NOT CHECKED: advisories (RustSec's database cannot be reached from here)"
    fi
}

run_tests() {
    if have cargo-nextest; then
        cargo nextest run --locked --workspace --all-features --no-fail-fast --status-level fail --final-status-level slow
    else
        cargo test -q --locked --no-fail-fast --workspace --all-features --lib --bins --tests
    fi
    cargo test -q --locked --workspace --all-features --doc
}

# The pages that the packages ship, some by the programs that the tests have built; as Debian's lintian asks man(1). A backslash is one
# too many: of a quote that was escaped for nothing, which --help shows as well.
man_pages() {
    local folder program page said
    folder=$(mktemp -d)
    for program in oca-daemon oca-fill-agent ocactl oca-control; do "$target/debug/$program" generate man "$folder"; done
    for page in "$folder"/*.1 docs/man/*.5; do
        said=$(LC_ALL=C.UTF-8 MANROFFSEQ='' MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 > /dev/null)
        said+=$(grep -nE '\\{2}' "$page" || true)
        [ -z "$said" ] || { say "${page##*/}: $said"; rm -rf "$folder"; return 1; }
    done
    rm -rf "$folder"
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc -q --locked --keep-going --workspace --all-features --no-deps --document-private-items; }

# A type check only: scripts/fuzz.sh runs them.
fuzz_targets() {
    cargo fmt --manifest-path fuzz/Cargo.toml -- --check
    cargo check -q --locked --no-default-features --manifest-path fuzz/Cargo.toml
}

step "set-up" scripts/setup.sh
step "format" cargo fmt --all -- --check
step "scripts" lint_scripts
step "units" verify_units
step "exposure" verify_exposure
step "users" verify_users
step "rules" prometheus_rules
step "dependencies" deny
step "clippy" cargo clippy -q --locked --workspace --all-targets --all-features -- -D warnings
step "fuzz targets" fuzz_targets
step "documentation" documentation
step "tests" run_tests
step "man pages" man_pages
step "FreeBSD" scripts/freebsd-check.sh
say "ALL PASSED in $((SECONDS - begun)) s"
