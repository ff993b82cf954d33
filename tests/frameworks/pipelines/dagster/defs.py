import os
import signal
import subprocess
import sys
import time

from dagster import Definitions, In, Nothing, Out, RetryPolicy, job, multiprocess_executor, op

sys.path.insert(0, os.environ["TRUTH_DIR"])
from truth import here

WORK = os.environ["PIPE_WORK"]


def say(context):
    here(run=context.run_id, step=context.op_handle.name, attempt=context.retry_number + 1)


@op(out=Out(Nothing))
def extract(context):
    say(context)
    time.sleep(0.3)
    with open(f"{WORK}/dagster_extract.csv", "w") as out:
        out.writelines(f"{i}\n" for i in range(5000))


@op(ins={"start": In(Nothing)}, out=Out(Nothing))
def shell_sort(context):
    say(context)
    subprocess.run(
        ["sort", "-rn", f"{WORK}/dagster_extract.csv", "-o", f"{WORK}/dagster_sorted.csv"],
        check=True,
    )


@op(ins={"start": In(Nothing)}, retry_policy=RetryPolicy(max_retries=1, delay=0.5))
def fails(context):
    say(context)
    subprocess.run(["sh", "-c", "exit 7"], check=True)


@op(ins={"start": In(Nothing)})
def killed(context):
    say(context)
    os.kill(os.getpid(), signal.SIGKILL)


@job(executor_def=multiprocess_executor)
def etl():
    done = shell_sort(extract())
    fails(done)
    killed(done)


@job(executor_def=multiprocess_executor)
def healthy():
    shell_sort(extract())


defs = Definitions(jobs=[etl, healthy])
