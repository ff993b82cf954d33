"""Real pipelines inside a binding: a dbt run with Great Expectations behind it,
and a local Spark job, with and without kwitness.

Needs a virtual environment with `dbt-core<1.12 dbt-duckdb great-expectations pyspark` and Java,
named by KWITNESS_BENCH_VENV; without it the figures are left out, and the document says so.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench.overhead import BINDING, Watcher

PIPELINES = Path(__file__).parent / "pipelines"


def commands(venv: Path, work: Path) -> dict[str, list[list[str]]]:
    dbt = [
        str(venv / "bin" / "dbt"),
        "run",
        "--profiles-dir",
        ".",
        "--log-path",
        str(work / "logs"),
        "--target-path",
        str(work / "target"),
    ]
    return {
        "e dbt + Great Expectations": [
            dbt,
            [
                str(venv / "bin" / "python"),
                str(PIPELINES / "validate.py"),
                str(work / "buckets.csv"),
            ],
        ],
        "f Spark, local[2]": [
            [str(venv / "bin" / "python"), str(PIPELINES / "job.py"), str(work / "spark")]
        ],
    }


def run(steps: list[list[str]], work: Path) -> tuple[float, float]:
    """Wall and CPU seconds of all steps, children and their children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), os.times().elapsed
    env = BINDING | {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "BENCH_WORK": str(work),
        "GX_ANALYTICS_ENABLED": "false",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    for step in steps:
        done = subprocess.run(
            step, cwd=PIPELINES / "dbt", env=env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{step[:2]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return os.times().elapsed - start, cpu


def real(rounds: int = 3) -> dict[str, float]:
    """Fastest over fastest, by CPU and by wall time; every round runs both ways,
    in changing order."""
    venv = Path(os.environ.get("KWITNESS_BENCH_VENV", ""))
    if not (venv / "bin" / "dbt").exists():
        return {}
    out: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        for label, steps in commands(venv, work).items():
            watcher = Watcher()
            times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
            run(steps, work)  # caches, compiled Python
            for number in range(rounds):
                for on in (number % 2 == 0, number % 2 == 1):
                    if on:
                        with watcher.attached("calls"):
                            times[on].append(run(steps, work))
                    else:
                        times[on].append(run(steps, work))
            for index, what in enumerate(("wall", "cpu")):
                out[f"{label} | {what} ratio"] = min(t[index] for t in times[True]) / min(
                    t[index] for t in times[False]
                )
            out[f"{label} | seconds"] = min(t[0] for t in times[False])
            out[f"{label} | our CPU seconds"] = watcher.cost["cpu_seconds"] / rounds
            out[f"{label} | events"] = watcher.cost["events"] / rounds
            out[f"{label} | lost"] = watcher.cost["lost"]
        shutil.rmtree(work / "spark", ignore_errors=True)
    return out
