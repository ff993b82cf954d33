#!/bin/bash
# A nightly export as people write them. Two of its steps go wrong, and it says so to nobody.
#   $1  directory for its files      $2  memory cgroup for the transform step, limit already set
set -u
PYTHON=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
out=$1 cgroup=$2
log() { echo "$(date +%H:%M:%S) pipeline: $*"; }

log "extract: start"
"$PYTHON" "$here/steps.py" extract "$out/events.csv"
log "extract: done, $(wc -l < "$out/events.csv") rows"

log "transform: start"
# the sums of each date are computed in a worker of its own; a worker that fails is left out
for date in 2024-01-14 2024-01-15 2024-01-16; do
    (echo $BASHPID > "$cgroup/cgroup.procs" && exec "$PYTHON" "$here/steps.py" transform "$out/events.csv" "$date" "$out/sums-$date.csv") 2> /dev/null &
done
wait 2> /dev/null
log "transform: done"

log "export: start"
timeout 0.8 "$PYTHON" "$here/steps.py" export "$out/events.csv" "$out/export.csv" || true
log "export: done, $(cat "$out"/sums-*.csv | sort -u | wc -l) sums"
log "finished: success"
