"""Spark local, local-cluster and standalone; compared with what its processes say and,
for executors, with its own work folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.frameworks.harness import Bench, Figures, Report, healthy_runs, note_healthy

CLUSTER = ("--master", "local-cluster[2,1,1024]", "--conf", "spark.executor.memory=512m")


def spark(place: Path) -> Bench:
    bench = Bench("spark", place, "spark")
    java = Path("/usr/bin/java")
    if not java.exists():
        missing("frameworks", "there is no Java")
    home = next(bench.venv.glob("lib/python3*/site-packages/pyspark"))
    bench.env |= {
        "JAVA_HOME": str(java.resolve().parent.parent),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    return bench


def compare(bench: Bench, report: Report, how: str, executors: int) -> None:
    figures = Figures("spark", how)
    figures.processes(
        report, bench.truth(), "spark", {"run_id": "app"} if executors else {}, kind="job"
    )
    workers = [line for line in bench.truth() if line["role"] == "worker"]
    if executors:
        figures.processes(report, workers, "spark", {"run_id": "app"}, kind="executor")
    (application,) = {line["app"] for line in bench.truth()}
    found = {(w["run_id"], w["task"]): w["outcome"] for w in report.of("spark", "executor")}
    figures.records({(application, f"executor {n}"): "success" for n in range(executors)}, found)
    (job,) = report.of("spark", "job")
    figures.records({("users",): "success"}, {(job["task"],): job["outcome"]})
    figures.note = (
        "run id is the application's once an executor names it"
        if executors
        else "no executor: the application id is nowhere"
    )
    figures.check()
    assert all(
        w["trace_id"] == job["trace_id"] for w in report.of("spark")
    )  # one trace, also without a common ancestor
    parts = {p["partition"] for p in report.facts["processes"]} - {""}
    assert "partition_date=2024-01-15" in parts
    assert not report.alarms(), "\n".join(report.alarms())


def test_local(place: Path) -> None:
    bench = spark(place)
    report = bench.run("spark-submit", "--master", "local[2]", "--name", "users", "job.py")
    compare(bench, report, "local", 0)


def test_started_from_python(place: Path) -> None:
    bench = spark(place)
    report = bench.run("python", "job.py")
    compare(bench, report, "local, started from Python", 0)


def test_local_cluster(place: Path) -> None:
    bench = spark(place)
    report = bench.run("spark-submit", *CLUSTER, "--name", "users", "job.py")
    compare(bench, report, "local-cluster", 2)


def test_standalone(place: Path) -> None:
    bench = spark(place)
    (bench.data / "worker").mkdir()
    report = bench.run("bash", "standalone.sh")
    compare(bench, report, "standalone", 1)
    applications = sorted(p.name for p in (bench.data / "worker").iterdir())
    assert [w["run_id"] for w in report.of("spark", "job")] == applications


@pytest.mark.parametrize(
    "master", [("--master", "local[2]"), CLUSTER], ids=["local", "local-cluster"]
)
def test_healthy_runs_raise_no_alarm(master: tuple[str, ...], place: Path) -> None:
    bench = spark(place)
    for _ in healthy_runs():
        report = bench.run("spark-submit", *master, "--name", "users", "job.py")
        assert not report.alarms(), "\n".join(report.alarms())
        assert os.path.exists(bench.data / "events/_SUCCESS")
    note_healthy(f"spark {master[1]}")
