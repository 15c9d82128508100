#!/usr/bin/env bash
# What an operator is told of routers, steering and the fleet, tried by real faults: a control endpoint, a site of two boxes, the router that
# tells them whom to serve and is told where they serve (BIRD), and a real Prometheus with the rules of docs/examples/prometheus. Each
# alert must come with its fault and go with it.
#
#   observe-routers.sh [PROFILE]     some six minutes; programs of cargo's profile (default: release). Needs root: in a network of its own

. "$(dirname "$0")/watched.sh"

if [ "${1:-}" != --apart ]; then
    [ "$(id -u)" -eq 0 ] || fail "needs root: it makes a network of its own"
    use_profile "${1:-release}"
    step "packages" packages bird2 curl iproute2 jq openssl prometheus python3
    step "build" build
    rm -r "$work"
    exec unshare --net "$0" --apart "$profile"
fi
use_profile "$2"

# For root alone in the PATH.
bird=/usr/sbin/bird
# Time for some sessions, and for a KEEPALIVE that is late.
lookback=40s

# Addresses of this network: where boxes ask the control endpoint, and Prometheus does; the router's, for what it tells and what it is told;
# and of each box two where it serves, and its ends of both sessions.
control_host=192.0.2.1
control_listen=$control_host:443
control_aside=127.0.0.1:443
telling=10.0.0.1
told=10.0.0.2
declare -A block=([first]=8 [second]=9)
control_more='
[[operator]]
name = "demo.example"
sites = ["demo.example"]
prefixes = ["198.51.100.0/24", "2001:db8::/32"]

[[operator]]
name = "other.example"
sites = ["other.example"]
prefixes = ["198.51.100.128/25"]
'
make_network() {
    local address of
    ip link set lo up
    for address in "$control_host" "$telling" "$told"; do ip addr add "$address/32" dev lo; done
    for of in "${block[@]}"; do
        for address in 192.0.2.{"$of"0,"$of"1} 10.0."$of".{1,2}; do ip addr add "$address/32" dev lo; done
    done
}

# The box that was away is waited for.
neighbor() {
    printf '[[bgp.neighbor]]\naddress = "%s"\nlocal_address = "%s"\nlocal_as = 64512\nremote_as = 64496\nrole = "%s"\n' "$@"
    printf 'hold_time = "%s s"\npassive = true\nmaximum_prefix = 20\n' "$hold_time"
}
hold_time=60
configure_box() {
    local of=${block[$1]}
    listen[$1]=192.0.2.${of}0:443
    listen_more="http = [\"192.0.2.${of}1:80\"]"
    more[$1]="
[steering]
service_addresses = [\"192.0.2.${of}0\", \"192.0.2.${of}1\"]
hint_lifetime = \"1 s\"

[bgp]
listen = [\"10.0.$of.1:179\", \"10.0.$of.2:179\"]
$(neighbor $telling "10.0.$of.1" listen)
$(neighbor $told "10.0.$of.2" announce)
"
    configure "$1"
}

publish() {
    mkdir "$work/media"
    echo title > "$work/media/title"
    control ingest "$work/media" --prefix /vod
}

start_router() {
    local box
    {
        cat <<END
router id $telling;
log stderr all;
protocol device {}
protocol static viewers { ipv4; route 198.51.100.0/25 blackhole; }
protocol static viewers6 { ipv6; route 2001:db8:1::/48 blackhole; }
protocol static leaked { disabled; ipv4; route 198.51.100.128/25 blackhole; }
protocol static many { disabled; ipv4; $(printf 'route 203.0.113.%d/32 blackhole; ' {1..17})}
filter configured { if source = RTS_STATIC then accept; reject; }
template bgp session {
    multihop;
    strict bind on;
    graceful restart on;
    connect delay time 1;
    connect retry time 1;
    error wait time 1, 2;
}
END
        for box in first second; do
            printf 'protocol bgp to_%s from session { local %s as 64496; neighbor 10.0.%s.1 as 64512; ipv4 { import none; export filter configured; }; ipv6 { import none; export filter configured; }; }\n' \
                $box $telling "${block[$box]}"
            printf 'protocol bgp of_%s from session { local %s as 64496; neighbor 10.0.%s.2 as 64512; ipv4 { import all; export none; }; }\n' \
                $box $told "${block[$box]}"
        done
    } > "$work/bird.conf"
    run_router
}
run_router() { start router "$bird" -f -c "$work/bird.conf" -s "$work/bird.ctl" -P "$work/bird.pid" "$@"; }
ask_router() { "${bird}c" -s "$work/bird.ctl" "$@" > "$work/bird.said"; }

# hear CLIENT: both boxes have told the control endpoint that they are to serve it; they are passed over, for they hold nothing.
hear() { steer "$1" /vod/title > "$work/steered" && jq -e '.passed_over | length == 2' "$work/steered" > "$work/heard"; }
all_is_well() {
    await control 120 hear 198.51.100.1
    await control 120 hear 2001:db8:1::1
    await prometheus 30 clears OcaRouteGaps
    await router 60 serves_at 192.0.2.80
}

# The routes differ from here on for as long as boxes take to tell them, so what is about gaps comes first.
drop_ipv6() { edit_router '/to_second/s/(ipv6 .*export) filter configured/\1 none/'; }
tell_ipv6() { edit_router '/to_second/s/export none/export filter configured/'; }
edit_router() {
    sed -i -E "$1" "$work/bird.conf"
    ask_router configure
}
tell_leak() { ask_router enable leaked; }
stop_leak() { ask_router disable leaked; }
tell_many() { ask_router enable many; }
stop_many() { ask_router disable many; }

kill_router() {
    kill -KILL "${running[router]}"
    wait "${running[router]}" 2>/dev/null || true
    unset "running[router]"
}
# It goes on from where it was.
restart_router() { run_router -R; }

sessions() { ctl first bgp neighbors --json | jq --arg of $telling '.neighbors[] | select(.address == $of) | .sessions'; }
is_session() { [ "$(sessions)" -ge "$1" ]; }
flap() {
    local before
    for _ in 1 2 3 4 5 6; do
        before=$(sessions)
        ask_router restart to_first
        await router 30 is_session $((before + 1))
    done
}
# What is over by itself.
stay() { :; }

# Two seconds longer than a KEEPALIVE may take, and shorter than the router waits for one: BIRD waits for three quarters of the hold time.
stall() {
    kill -STOP "${running[first.daemon]}"
    sleep $((hold_time / 3 + 2))
    kill -CONT "${running[first.daemon]}"
}

serves_at() { ask_router show route for "$1" && grep -qF "$1/32" "$work/bird.said"; }
is_left_at() { ! serves_at "$1"; }
lose_address() {
    ip addr del 192.0.2.80/32 dev lo
    await router 30 is_left_at 192.0.2.80
}
find_address() {
    ip addr add 192.0.2.80/32 dev lo
    await router 30 serves_at 192.0.2.80
}

cut_control() { ip addr del "$control_host/32" dev lo; }
reconnect_control() { ip addr add "$control_host/32" dev lo; }

alerts() {
    fault drop_ipv6 tell_ipv6 OcaRouteGaps
    fault tell_leak stop_leak OcaRouteLeak
    fault tell_many stop_many OcaRoutesNearMaximum
    fault kill_router restart_router OcaRouterSessionLost OcaRoutesStale
    fault flap stay OcaRouterSessionFlaps
    fault stall stay OcaKeepalivesLate
    fault lose_address find_address OcaServiceWithdrawn
    fault cut_control reconnect_control OcaLastStatesHold OcaReportsLostTogether
}

step "network" make_network
step "authority" make_authority
step "control endpoint" start_control
step "ingest" publish
step "router" start_router
for box in first second; do
    step "$box box" configure_box $box
    step "its daemon" start_daemon $box
done
step "Prometheus" start_prometheus
step "all is well" all_is_well
step "alerts" alerts
step "stopping" stop_all
say "ALL SEEN"
