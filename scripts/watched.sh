# shellcheck shell=bash disable=SC2034
# What the scripts share that watch boxes with a real Prometheus, and break things to see the alerts; to be sourced.

. "$(dirname "${BASH_SOURCE[0]}")/fleet.sh"

examples=$project/docs/examples/prometheus

# What Prometheus scrapes must be known before it starts.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# What is looked at of the past, instead of minutes and hours.
lookback=10s

# start_prometheus AGENT...: looks at all daemons that run, at the control endpoint and at these agents (addresses of their metrics).
# The rules as they are, but that nothing has to last, and little is looked at of the past: a trial has no half hours.
start_prometheus() {
    mkdir "$work/prometheus"
    sed -E "s/^( *for:) .*/\1 2s/; s/\[[0-9]+[mhd]\]/[$lookback]/g; s/(oca_report_age_seconds >) 300/\1 10/" "$examples/oca.rules.yml" > "$work/prometheus/oca.rules.yml"
    cat > "$work/prometheus/prometheus.yml" <<END
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [oca.rules.yml]
scrape_configs:
  - job_name: oca-daemon
    static_configs: [{ targets: [$(list "${admin[@]}")], labels: { site: demo.example } }]
  - job_name: oca-fill-agent
    static_configs: [{ targets: [$([ $# -eq 0 ] || list "$@")], labels: { site: demo.example } }]
  - job_name: oca-control
    scheme: https
    tls_config: { ca_file: "$work/ca.pem", server_name: localhost }
    static_configs: [{ targets: ["${control_aside:-$control_address}"] }]
END
    prometheus=127.0.0.1:$(free_port)
    start prometheus prometheus --log.level=warn --config.file="$work/prometheus/prometheus.yml" --storage.tsdb.path="$work/prometheus/data" \
        --web.listen-address="$prometheus"
    await prometheus 60 curl -fs -o "$work/ready" "http://$prometheus/-/ready"
}
query() { curl -fs --data-urlencode "query=$1" "http://$prometheus/api/v1/query"; }

fires() { curl -fs "http://$prometheus/api/v1/alerts" | jq -e --arg name "$1" '[.data.alerts[] | select(.labels.alertname == $name and .state == "firing")] | length > 0' > "$work/firing"; }
clears() { ! fires "$1"; }
# fault BREAK MEND ALERT...: the alerts come with the fault, and go with it.
fault() {
    local break=$1 mend=$2 name
    shift 2
    for name; do clears "$name" || fail "$name fires although all is well"; done
    "$break"
    for name; do await prometheus 90 fires "$name"; done
    "$mend"
    for name; do await prometheus 90 clears "$name"; done
    say "  $*"
}
