"""Airflow with its LocalExecutor and a real scheduler; what is compared is its own database and what the processes say."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.frameworks.harness import Bench, Figures, by_name, healthy_runs, note_healthy

_STATES = {"success": "success", "failed": "failure"}


def airflow(version: int, place: Path) -> Bench:
    bench = Bench(f"airflow{version}", place, "airflow")
    home = place / "airflow"
    home.mkdir()
    bench.env |= {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(bench.folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4", "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }  # fmt: skip
    if version == 2:
        bench.env |= {
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
        }  # fmt: skip
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
        found |= {(dag_id, run, task, index, n): "failure" for n in range(1, tries)}
    return found


@pytest.mark.parametrize("version", [3, 2])
def test_tasks_attempts_and_their_processes(version: int, place: Path) -> None:
    bench = airflow(version, place)
    report = bench.run("python", "drive.py", "etl:r1")
    figures = Figures("airflow", f"{version} LocalExecutor")
    names = {"task": "task", "attempt": "attempt", "map_index": "map_index", "run_id": "run"}
    figures.processes(report, bench.truth(), "airflow", names)
    tasks = report.of("airflow", "task")
    figures.records(attempts(bench, "etl"), by_name(tasks, "pipeline", "run_id", "task", "map_index", "attempt"))
    assert {w["grade"] for w in tasks} == {"certain"}
    figures.note = "`forgiving` runs a child that is killed and ignores it: a success for Airflow, lost work for the kernel"
    figures.check()
    lost = [w for w in tasks if w["task"] == "forgiving"]
    assert lost[0]["outcome"] == "failure"  # the kernel's word: its child was killed; Airflow has it as a success


@pytest.mark.parametrize("version", [3, 2])
def test_healthy_runs_raise_no_alarm(version: int, place: Path) -> None:
    bench = airflow(version, place)
    report = bench.run("python", "drive.py", *(f"healthy:h{n}" for n in healthy_runs()), timeout=1800)
    assert not report.alarms("airflow"), "\n".join(report.alarms("airflow"))
    found = by_name(report.of("airflow", "task"), "pipeline", "run_id", "task", "map_index", "attempt")
    assert found == attempts(bench, "healthy")
    note_healthy(f"airflow {version}, LocalExecutor")
