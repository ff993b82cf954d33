"""Starts a whole Airflow, runs DAGs to their ends, stops it: `drive.py [--wait FILE] DAG:RUN…`. Polls the database, which is
also what the test compares with. `--wait`: runs begin when that file is there."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["AIRFLOW_HOME"])
PATIENCE = 400


def rows(query, *values):
    try:
        with sqlite3.connect(f"file:{HOME}/airflow.db?mode=ro", uri=True, timeout=10) as base:
            return base.execute(query, values).fetchall()
    except sqlite3.Error:
        return []


def until(question, what):
    for _ in range(PATIENCE * 2):
        if question():
            return
        time.sleep(0.5)
    raise SystemExit(f"airflow: {what} did not happen")


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def main():
    arguments = sys.argv[1:]
    wait = Path(arguments.pop(0)) if arguments[:1] == ["--wait"] and arguments.pop(0) else None
    runs = [a.split(":") for a in arguments]
    airflow = [sys.executable, "-m", "airflow"]
    log = (HOME / "service.log").open("wb")
    version = (
        subprocess.run([*airflow, "version"], capture_output=True, text=True, check=True)
        .stdout.strip()
        .splitlines()[-1]
    )
    subprocess.run([*airflow, "db", "migrate"], stdout=log, stderr=log, check=True)
    service = subprocess.Popen(
        [*airflow, "standalone" if version.startswith("3") else "scheduler"],
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        dags = {dag for dag, _ in runs}
        until(
            lambda: dags <= {d for (d,) in rows("select dag_id from dag")}, "reading the DAG files"
        )
        for dag in dags:
            subprocess.run([*airflow, "dags", "unpause", dag], stdout=log, stderr=log, check=True)
        if wait:
            (HOME / "ready").touch()
            until(wait.exists, "the order to begin")
        for dag, run in runs:
            subprocess.run(
                [*airflow, "dags", "trigger", dag, "--run-id", run],
                stdout=log,
                stderr=log,
                check=True,
            )
            until(
                lambda dag=dag, run=run: rows(
                    "select 1 from dag_run where dag_id = ? and run_id = ? and state in ('success', 'failed')",
                    dag,
                    run,
                ),
                f"the end of {dag} {run}",
            )
        time.sleep(2)
    finally:
        # standalone does not pass a SIGTERM on to its four children: these end first
        for pid in children(service.pid) if version.startswith("3") else []:
            os.kill(pid, signal.SIGTERM)
        for _ in range(40):
            if service.poll() is not None:
                break
            time.sleep(0.5)
            service.send_signal(signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)  # what is left: its log server
        service.wait()


main()
