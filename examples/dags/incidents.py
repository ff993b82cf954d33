"""The two pipelines that go wrong. Nothing in them knows of kwitness."""

import datetime as dt

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

START = {"start_date": dt.datetime(2024, 1, 1), "schedule": None, "catchup": False}

with DAG("user_pipeline", **START):
    BashOperator(
        task_id="transform_user_data",
        bash_command=(
            "PATH=$SPARK_VENV/bin:$PATH spark-submit --master 'local-cluster[1,1,1024]' --conf spark.executor.memory=512m "
            "--conf spark.task.maxFailures=1 --name transform_users $SPARK_JOB hog"
        ),
    )

with DAG("user_export", **START):
    export = BashOperator(
        task_id="dbt_run",
        bash_command=(
            # no pipefail: the exit status of the task is that of tee
            "cd $DBT_PROJECT && bash -c 'echo $$ > $PIPE_WORK/dbt.pid; exec $DBT_VENV/bin/dbt run --profiles-dir . "
            '--vars "{rows: 4000000}"\' 2>&1 | tee -a $PIPE_WORK/dbt.log; echo dbt step finished'
        ),
    )
    check = BashOperator(
        task_id="validate_data",
        bash_command="$GX_VENV/bin/python $GX_SCRIPT $PIPE_WORK/users_export.csv 4000000 $PIPE_WORK/project",
    )
    export >> check
