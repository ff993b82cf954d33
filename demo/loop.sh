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
    # a script of its own, as schedulers start them; that one of its dates failed, nobody hears from it
    bash -c 'for date in 2024-01-14 2024-01-15 2024-01-16; do python3 "$1" transform "$2/events.csv" "$date" "$2/sums-$date.csv"; done; true' \
        transform "$here/steps.py" "$out" 2> /dev/null
    timeout "$patience" python3 "$here/steps.py" export "$out/events.csv" "$out/export.csv" || true
    log "$DEMO_RUN: success"
    sleep "${DEMO_PAUSE:-20}"
done
