#!/bin/bash
# a worker with two processes on a queue of files, four tasks, and its end
celery -A tasks worker --concurrency 2 --loglevel INFO > "$PIPE_WORK/worker.log" 2>&1 & worker=$!
for _ in $(seq 60); do grep -q "ready" "$PIPE_WORK/worker.log" && break; sleep 0.5; done
for n in 1 2 3 4; do celery -A tasks call tasks.add --args "[$n, 1]" > /dev/null; done
for _ in $(seq 60); do [ "$(grep -c succeeded "$PIPE_WORK/worker.log")" = 4 ] && break; sleep 0.5; done
kill $worker; wait $worker
