#!/usr/bin/env python3
"""One of three incidents under kwitness: `run.py silent-oom | slots | torn-file [--report FILE]`.
Root; see README.md here."""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PIPELINES = ROOT / "tests/frameworks/pipelines"
KWITNESS = str(ROOT / ".venv/bin/kwitness")
LIMIT = 1200 << 20
NEIGHBOUR = """
import sys, time
held = []
while len(open(sys.argv[1]).read().split()) < 2:
    time.sleep(0.5)
for _ in range(30):
    held.append(bytearray(b"x" * (10 << 20)))
    time.sleep(1)
time.sleep(600)
"""  # somebody else's job, which begins when the executor is there


def install(*names):
    """Environments of the frameworks, made once."""
    done = subprocess.run(
        [str(ROOT / "tools/frameworks.sh"), *names], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(zip(names, done.stdout.split(), strict=True))


def memory_cgroup():
    """One of our own with a limit, on cgroup v1 or v2."""
    v1, v2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    first = (v1 / "memory.limit_in_bytes").exists()
    group = (v1 if first else v2) / f"kwitness-example-{os.getpid()}"
    if not first:
        (v2 / "cgroup.subtree_control").write_text("+memory")
    group.mkdir()
    (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(LIMIT))
    return group


def observed(arguments, command, env, name=None):
    """kwitness around a command; what it prints is the result."""
    options = (
        ["--report", arguments.report, "--facts", f"{arguments.report}.facts"]
        if arguments.report
        else []
    )
    options += ["--name", name] if name else []
    record = os.environ.get("KWITNESS_RECORD")  # a file, to replay later
    do = ["record", "-o", record] if record else ["run"]
    return subprocess.run(
        [KWITNESS, *do, *options, "--", *command], env={**os.environ, **env}, check=False
    ).returncode


def airflow(venv, work):
    home = work / "airflow"
    home.mkdir()
    return {
        "PATH": f"{venv}/bin:/usr/bin:/bin",
        "HOME": str(work),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__CORE__PARALLELISM": "2",
    }


def silent_oom(arguments, work):
    venvs = install("airflow3", "spark")
    group = memory_cgroup()
    java = work / "java/bin"
    java.mkdir(parents=True)
    shutil.copy(HERE / "limited_java.sh", java / "java")
    real = Path(
        shutil.which("java") or sys.exit("no java here: apt install openjdk-17-jre-headless")
    ).resolve()
    env = airflow(venvs["airflow3"], work) | {
        "SPARK_VENV": venvs["spark"],
        "SPARK_JOB": str(PIPELINES / "spark/job.py"),
        "JAVA_HOME": str(java.parent),
        "REAL_JAVA": str(real),
        "EXECUTOR_CGROUP": str(group),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_HOME": str(next(Path(venvs["spark"]).glob("lib/python3*/site-packages/pyspark"))),
    }
    neighbour = subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", NEIGHBOUR, str(group / "cgroup.procs")]
    )
    try:
        (group / "cgroup.procs").write_text(str(neighbour.pid))
        return observed(
            arguments,
            [
                f"{venvs['airflow3']}/bin/python",
                str(PIPELINES / "airflow/drive.py"),
                "user_pipeline:r1",
            ],
            env,
        )
    finally:
        neighbour.kill()
        neighbour.wait()
        for _ in range(100):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.1)


def evict(work):
    """Stands in for a node drain: tells dbt to end when its export has grown past 20 MB."""
    export, pid = work / "users_export.csv", work / "dbt.pid"
    for _ in range(6000):
        if export.exists() and export.stat().st_size > 20_000_000:
            os.kill(int(pid.read_text()), signal.SIGTERM)
            return
        time.sleep(0.02)


def torn_file(arguments, work):
    venvs = install("airflow3", "dbt", "gx")
    shutil.copytree(PIPELINES / "dbt", work / "shop")
    env = airflow(venvs["airflow3"], work) | {
        "DBT_VENV": venvs["dbt"],
        "DBT_PROJECT": str(work / "shop"),
        "GX_VENV": venvs["gx"],
        "GX_SCRIPT": str(PIPELINES / "great_expectations/validate.py"),
    }
    threading.Thread(target=evict, args=(work,), daemon=True).start()
    return observed(
        arguments,
        [f"{venvs['airflow3']}/bin/python", str(PIPELINES / "airflow/drive.py"), "user_export:r1"],
        env,
    )


def slots(arguments, work):
    venvs = install("boto")
    python = f"{venvs['boto']}/bin/python"
    ports, servers = [], []
    token = work / "web-identity-token"
    token.write_text("a token of the platform")
    for delay in ("0", "8"):  # S3, and a slow STS
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(str(probe.getsockname()[1]))
        log = subprocess.DEVNULL
        servers.append(
            subprocess.Popen(
                [python, str(HERE / "slots/slow_s3.py"), ports[-1], delay], stdout=log, stderr=log
            )
        )
    try:
        return observed(
            arguments,
            [python, str(HERE / "slots/read_events.py"), *ports, str(token)],
            {},
            "read_events",
        )
    finally:
        for server in servers:
            server.kill()
            server.wait()


def main():
    incidents = {"silent-oom": silent_oom, "slots": slots, "torn-file": torn_file}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("incident", choices=incidents)
    parser.add_argument(
        "--report", metavar="FILE", help="write the report as JSON, and the facts beside it"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(
        prefix="kwitness-example-", ignore_cleanup_errors=True
    ) as folder:
        os.environ["PIPE_WORK"] = folder
        incidents[arguments.incident](arguments, Path(folder))


main()
