#!/bin/bash
# Stands in for a container runtime, as $JAVA_HOME/bin/java: executors, and only these, go into the memory cgroup $EXECUTOR_CGROUP.
case " $* " in
    *" org.apache.spark.executor.CoarseGrainedExecutorBackend "*) echo $$ > "$EXECUTOR_CGROUP/cgroup.procs" ;;
esac
exec "$REAL_JAVA" "$@"
