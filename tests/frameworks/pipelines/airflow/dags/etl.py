"""Shell, Python, forks, retries, a killed child, mapped and (3.x) deferred tasks. Every process says whose it is."""

import datetime as dt
import os
import subprocess
import sys
import time

sys.path.insert(0, os.environ["TRUTH_DIR"])
from truth import here

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import DAG, TaskGroup, task

    SECOND = False
except ImportError:  # 2.x
    from airflow import DAG
    from airflow.decorators import task
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import PythonOperator
    from airflow.utils.task_group import TaskGroup

    SECOND = True

SAY = 'say() { echo "{\\"pid\\": $BASHPID, \\"task\\": \\"$AIRFLOW_CTX_TASK_ID\\", \\"attempt\\": $AIRFLOW_CTX_TRY_NUMBER}" >> $TRUTH; }; say; '
CHILD = (
    "import json, os; open(os.environ['TRUTH'], 'a').write("
    "json.dumps({'pid': os.getpid(), 'task': os.environ['AIRFLOW_CTX_TASK_ID']}) + chr(10))"
)


def extract(ti):
    here(task="extract", attempt=ti.try_number, run=ti.run_id)
    with open(os.environ["PIPE_WORK"] + "/extract.csv", "w") as out:
        out.writelines(f"{i},user{i}\n" for i in range(20000))
    child = os.fork()  # without exec: it has no name of its own
    if child == 0:
        here(task="extract", attempt=ti.try_number)
        os._exit(0)
    os.waitpid(child, 0)
    subprocess.run([sys.executable, "-c", CHILD], check=True)
    subprocess.run(
        ["setsid", "--fork", sys.executable, "-c", CHILD], check=True
    )  # a session of its own, re-parented
    time.sleep(0.5)


def forgiving():
    here(task="forgiving", attempt=1)
    subprocess.run(["bash", "-c", SAY + "kill -9 $$"], check=False)


with DAG("etl", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False) as dag:
    first = BashOperator(
        task_id="shell",
        bash_command=SAY
        + "( say; sleep 0.2 ); seq 1 50000 | sort -n | tail -1 > $PIPE_WORK/shell.txt",
    )
    second = PythonOperator(task_id="extract", python_callable=extract)
    third = BashOperator(
        task_id="retried",
        bash_command=SAY + "sleep 0.2; exit $(( AIRFLOW_CTX_TRY_NUMBER == 1 ? 7 : 0 ))",
        retries=1,
        retry_delay=dt.timedelta(seconds=1),
    )
    fourth = PythonOperator(task_id="forgiving", python_callable=forgiving)

    with TaskGroup("load") as load:

        @task
        def one(day, ti=None):
            here(task="load.one", attempt=ti.try_number, map_index=ti.map_index)
            subprocess.run(["bash", "-c", SAY + "true"], check=True)
            time.sleep(0.5)

        one.expand(day=["2024-01-14", "2024-01-15"])
    last = BashOperator(task_id="fails", bash_command=SAY + "exit 3")
    first >> second >> third >> fourth >> load >> last
    if not SECOND:
        from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor

        TimeDeltaSensor(task_id="deferred", delta=dt.timedelta(seconds=2), deferrable=True)

with DAG("healthy", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    produce = BashOperator(
        task_id="produce",
        bash_command=SAY + "seq 1 20000 > $PIPE_WORK/healthy-$AIRFLOW_CTX_DAG_RUN_ID.txt",
    )

    def count(run_id):
        here(task="count", attempt=1)
        subprocess.run(["wc", "-l", f"{os.environ['PIPE_WORK']}/healthy-{run_id}.txt"], check=True)

    produce >> PythonOperator(task_id="count", python_callable=count)
