#!/bin/bash
# a master, a worker, and the job from a shell that is no child of either: `standalone.sh MODE`
set -u
class="$SPARK_HOME/bin/spark-class"
port=${MASTER_PORT:-17077}
"$class" org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$port" --webui-port 0 > "$PIPE_WORK/master.log" 2>&1 & master=$!
"$class" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --webui-port 0 -c 1 -m 1g -d "$PIPE_WORK/worker" "spark://127.0.0.1:$port" \
    > "$PIPE_WORK/worker.log" 2>&1 & worker=$!
for _ in $(seq 120); do grep -q "Successfully registered" "$PIPE_WORK/worker.log" && break; sleep 0.5; done
spark-submit --master "spark://127.0.0.1:$port" --conf spark.executor.memory=512m --name users "$(dirname "$0")/job.py" "${1:-ok}"
status=$?
kill $worker $master; wait $worker $master 2> /dev/null
exit $status
