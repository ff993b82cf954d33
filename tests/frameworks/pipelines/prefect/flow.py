import os
import subprocess
import sys
import time

from prefect import flow, task
from prefect.runtime import flow_run

sys.path.insert(0, os.environ["TRUTH_DIR"])
from truth import here

WORK = os.environ["PIPE_WORK"]
CHILD = "import json, os; open(os.environ['TRUTH'], 'a').write(json.dumps({'pid': os.getpid(), 'run': %r}) + chr(10))"


@task
def extract():
    time.sleep(0.3)
    with open(f"{WORK}/prefect_extract.csv", "w") as out:
        out.writelines(f"{i}\n" for i in range(5000))


@task
def shell_sort():
    subprocess.run(
        ["sort", "-rn", f"{WORK}/prefect_extract.csv", "-o", f"{WORK}/prefect_sorted.csv"],
        check=True,
    )
    subprocess.run([sys.executable, "-c", CHILD % flow_run.id], check=True)


@task(retries=1, retry_delay_seconds=1)
def fails():
    subprocess.run(["sh", "-c", "exit 7"], check=True)


@flow(name="etl", log_prints=True)
def etl(healthy: bool = False):
    here(run=flow_run.id)
    extract()
    shell_sort()
    if not healthy:
        fails.submit().wait()
    return "done"


if __name__ == "__main__":
    etl(healthy="healthy" in sys.argv)
