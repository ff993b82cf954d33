#!/bin/bash
# The demo profile of docker-compose.yml: the same steps again and again. Every second run has a date that is too large for the
# memory that the container has, and a timeout that ends the export half way; the script says "success" each time.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp -d)
log() { echo "$(date +%H:%M:%S) pipeline: $*"; }
for ((number = 1; ; number++)); do
    export DEMO_RUN="run-$number-$(date +%s)"
    case $((number % 2)) in
    1) export DEMO_ROWS=20000 patience=20 ;;
    0) export DEMO_ROWS=900000 patience=0.8 ;;
    esac
    log "$DEMO_RUN: start"
    python3 "$here/steps.py" extract "$out/events.csv"
    for date in 2024-01-14 2024-01-15 2024-01-16; do
        python3 "$here/steps.py" transform "$out/events.csv" "$date" "$out/sums-$date.csv" 2> /dev/null
    done
    timeout "$patience" python3 "$here/steps.py" export "$out/events.csv" "$out/export.csv" || true
    log "$DEMO_RUN: success"
    sleep "${DEMO_PAUSE:-20}"
done
