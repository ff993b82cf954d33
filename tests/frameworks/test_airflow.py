"""Airflow with its LocalExecutor and a real scheduler; what is compared is its own database and
what the processes say."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.collector import Collector, free_port
from tests.frameworks.harness import Bench, Figures, by_name, healthy_runs, note_healthy

ROOT = Path(__file__).parent.parent.parent
_STATES = {"success": "success", "failed": "failure"}


def airflow(version: int, place: Path) -> Bench:
    bench = Bench(f"airflow{version}", place, "airflow")
    home = place / "airflow"
    home.mkdir()
    bench.env |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(bench.folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }
    if version == 2:
        bench.env |= {
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
        }
    return bench


def attempts(bench: Bench, dag: str) -> dict[tuple[object, ...], str]:
    """(dag, run, task, map index, attempt) → outcome, of every attempt that its database knows."""
    with sqlite3.connect(f"file:{bench.env['AIRFLOW_HOME']}/airflow.db?mode=ro", uri=True) as base:
        last = base.execute(
            "select dag_id, run_id, task_id, map_index, try_number, state from task_instance "
            "where dag_id = ? and state in ('success', 'failed')",
            (dag,),
        ).fetchall()
    found = {tuple(row[:5]): _STATES[row[5]] for row in last}
    for dag_id, run, task, index, tries, _ in last:
        # 2.x can begin to count at 2: an attempt that was made has a log
        logs = Path(bench.env["AIRFLOW_HOME"]) / f"logs/dag_id={dag_id}/run_id={run}/task_id={task}"
        folder = logs / f"map_index={index}" if index >= 0 else logs
        found |= {
            (dag_id, run, task, index, n): "failure"
            for n in range(1, tries)
            if (folder / f"attempt={n}.log").exists()
        }
    return found


@pytest.mark.parametrize("version", [3, 2])
def test_tasks_attempts_and_their_processes(version: int, place: Path) -> None:
    bench = airflow(version, place)
    report = bench.run("python", "drive.py", "etl:r1")
    figures = Figures("airflow", f"{version} LocalExecutor")
    names = {"task": "task", "attempt": "attempt", "map_index": "map_index", "run_id": "run"}
    figures.processes(report, bench.truth(), "airflow", names)
    tasks = report.of("airflow", "task")
    figures.records(
        attempts(bench, "etl"), by_name(tasks, "pipeline", "run_id", "task", "map_index", "attempt")
    )
    assert {w["grade"] for w in tasks} == {"certain"}
    figures.note = (
        "`forgiving` runs a child that is killed and ignores it: a success for Airflow, "
        "lost work for the kernel"
    )
    figures.check()
    lost = [w for w in tasks if w["task"] == "forgiving"]
    assert (
        lost[0]["outcome"] == "failure"
    )  # the kernel's word: its child was killed; Airflow has it as a success


@pytest.mark.parametrize("version", [3, 2])
def test_healthy_runs_raise_no_alarm(version: int, place: Path) -> None:
    bench = airflow(version, place)
    report = bench.run(
        "python", "drive.py", *(f"healthy:h{n}" for n in healthy_runs()), timeout=1800
    )
    assert not report.alarms("airflow"), "\n".join(report.alarms("airflow"))
    found = by_name(
        report.of("airflow", "task"), "pipeline", "run_id", "task", "map_index", "attempt"
    )
    assert found == attempts(bench, "healthy")
    note_healthy(f"airflow {version}, LocalExecutor")


def test_the_service_beside_a_running_airflow(place: Path, collector: Collector) -> None:
    """It comes when everything runs already, and tells of each attempt while it goes on."""
    bench = airflow(3, place)
    go, seen = place / "go", set[str]()
    command = ["python", "drive.py", "--wait", str(go), "etl:s1"]
    service = Path(bench.env["AIRFLOW_HOME"])
    with (place / "drive.log").open("wb") as log:
        driver = subprocess.Popen(command, cwd=bench.folder, env=bench.env, stdout=log, stderr=log)
    try:
        while not (service / "ready").exists():
            assert driver.poll() is None, (place / "drive.log").read_text()[-2000:]
            time.sleep(0.5)
        with observing(place, collector) as port:
            go.touch()
            while driver.poll() is None:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/tree", timeout=5) as page:
                    seen |= {
                        line.strip().partition("  ")[0]
                        for line in page.read().decode().splitlines()
                    }
                time.sleep(0.2)
    finally:
        driver.terminate()
        driver.wait(60)
    collector.stop()
    starts = [r for r in collector.logs() if r["values"]["event.name"] == "pipeline.task.start"]
    mine = [r for r in starts if r["values"]["pipeline.system.name"] == "airflow"]
    found = {
        (
            v["pipeline.name"],
            v["pipeline.run.id"],
            v["pipeline.task.name"],
            int(v.get("pipeline.task.map_index", -1)),
            int(v["pipeline.task.attempt"]),
        ): ""
        for v in (r["values"] for r in mine)
    }
    figures = Figures("airflow", "3, service started later")
    figures.records(dict.fromkeys(attempts(bench, "etl"), ""), found)
    lag = max(int(r["observedTimeUnixNano"]) - int(r["timeUnixNano"]) for r in mine) / 1e9
    figures.note = f"an attempt's start was told at most {lag:.2f} s after it"
    figures.check()
    assert {v["values"]["pipeline.mapping.grade"] for v in mine} == {"probable"}
    assert all(
        "package of airflow was not seen" in v["values"]["pipeline.mapping.evidence"] for v in mine
    )
    assert {"airflow task extract of etl", "airflow task load.one[0] of etl"} <= seen
    assert not collector.violations()


@contextlib.contextmanager
def observing(place: Path, collector: Collector) -> Iterator[int]:
    """`kwitness serve`, ready; gives the port of its pages."""
    port = free_port()
    settings = place / "kwitness.toml"
    settings.write_text(f"[admin]\nport = {port}\n")
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.http}"}
    service = subprocess.Popen(
        [sys.executable, "-m", "receiver", "serve", "-c", str(settings)], cwd=ROOT, env=env
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                    break
            except OSError:
                assert service.poll() is None
                time.sleep(0.1)
        yield port
    finally:
        service.terminate()
        service.wait(30)
