#!/bin/bash
# a plain script pipeline without pipefail: its first stage is killed, and it says "done"
say() { echo "{\"pid\": $BASHPID, \"job\": \"nightly\"}" >> "$TRUTH"; }
say
(say; for i in $(seq 2000); do echo "$i"; done; kill -9 $BASHPID) | sort -n > "$PIPE_WORK/plain_sorted.csv"
wc -l "$PIPE_WORK/plain_sorted.csv"
echo "nightly done"
