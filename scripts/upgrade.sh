#!/bin/bash
# Fifty upgrades under viewers, on each backend: of 100 000 requests or more, none may fail. Takes some minutes, and no root.
#
#   scripts/upgrade.sh [UPGRADES [REQUESTS]]
set -euo pipefail
cd "$(dirname "$0")/.."

OCA_UPGRADES=${1:-50} OCA_REQUESTS=${2:-100000} \
    cargo test --locked -p oca-daemon --test upgrade -- --exact --nocapture upgrades_under_viewers_fail_no_request
